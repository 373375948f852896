"""stdout is data, stderr is talk, and signals end a command in order."""

import json
import subprocess
import sys

import pytest

from qmon.cli import output


def test_table_aligns_and_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["ID", "NAME"], [["1", "web\x1b[2J"], ["10", None]])
    assert capsys.readouterr().out == "ID  NAME\n1   web\\x1b[2J\n10  -\n"


def test_document_starts_with_its_schema_version(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"vms": []})
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["schema_version", "vms"]
    assert printed["schema_version"] == 1


def test_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.data(output.compact({"text": "a\nb"}))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == {"schema_version": 1, "text": "a\nb"}


def test_talk_goes_to_stderr_and_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    output.talk("a\x1b[31m")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "a\\x1b[31m\n")


_CHILD = """
import asyncio, sys
from qmon.cli import output
async def wait():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("ended", flush=True)
        if {orderly}:
            return 7
        raise
sys.exit(output.run(wait()))
"""


@pytest.mark.parametrize("number", [2, 15, 1], ids=["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("orderly", [True, False])
def test_signals_cancel_once(number: int, orderly: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD.format(orderly=orderly)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        assert child.stdout.readline() == b"ended\n"
        assert child.wait(10) == (7 if orderly else 128 + number)


_SLOW_CHILD = """
import asyncio, sys
from qmon.cli import output
async def wait():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("ending", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print("ended", flush=True)
        return 0
sys.exit(output.run(wait()))
"""


def test_a_second_signal_does_not_cut_the_ending_short() -> None:
    command = [sys.executable, "-c", _SLOW_CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(1)
        assert child.stdout.readline() == b"ending\n"
        child.send_signal(15)
        child.send_signal(2)
        child.stdin.close()
        assert child.stdout.readline() == b"ended\n"
        assert child.wait(10) == 0


def test_an_interrupt_counts_also_where_a_script_s_shell_had_it_ignored() -> None:
    script = f"trap '' INT HUP; exec {sys.executable} -c \"$0\""
    with subprocess.Popen(["sh", "-c", script, _CHILD.format(orderly=True)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(1)
        child.send_signal(2)
        assert child.stdout.readline() == b"ended\n"
        assert child.wait(10) == 7
