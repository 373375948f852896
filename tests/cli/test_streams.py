"""Every command with each standard descriptor closed, full, left by its reader, or no terminal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from qmon.cli import main as command_line
from tests.lab import start_vm
from tests.lab.qemus import Qemu

FIXTURES = Path(__file__).parents[2] / "fixtures"
CAPTURE = next(iter(sorted(FIXTURES.glob("*/captures/user-linux.pcap"))))
EVERY_COMMAND = [name for name, _, _ in command_line._COMMANDS]
NETWORK = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")

FULL = "cannot write standard output: No space left on device"
CLOSED = "cannot write standard output: it is closed"

# Redirection by a shell, the exit code of a command that prints, and what its stderr says (None: it cannot be heard).
CONDITIONS: dict[str, tuple[str, int, str | None]] = {
    "no stdin": ("<&-", 0, ""),
    "no stdout": (">&-", 1, CLOSED),
    "no stderr": ("2>&-", 0, None),
    "nothing at all": ("<&- >&- 2>&-", 1, None),
    "full stdout": (">/dev/full", 1, FULL),
    "full stderr": ("2>/dev/full", 0, None),
    "a reader that leaves": ("| head -c 1 >/dev/null", 0, ""),
    "a reader that has left": ("", 0, ""),
}


def run(words: Sequence[str], redirection: str) -> "subprocess.CompletedProcess[str]":
    """Run qmon with its descriptors redirected, or else on a pipe without a reader; the exit code is qmon's."""
    command = [
        "bash",
        "-c",
        f'set -o pipefail; "$@" {redirection}',
        "bash",
        sys.executable,
        "-m",
        "qmon",
        *words,
    ]
    read_end, write_end = os.pipe()
    os.close(read_end)
    stdout = subprocess.DEVNULL if redirection else write_end
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write_end)
    return done


def wrong(words: Sequence[str], condition: str, *, prints: bool = True) -> str | None:
    """Return what is not as it should be; None if all is."""
    redirection, code, said = CONDITIONS[condition]
    done = run(words, redirection)
    if not prints:
        code, said = 0, None
    fine = (
        done.returncode == code and (said is None or said in done.stderr) and "Traceback" not in done.stderr
    )
    return None if fine else f"{' '.join(words)} {redirection}: {done.returncode} {done.stderr}"


@pytest.mark.parametrize("condition", ["no stdout", "full stdout", "a reader that has left"])
@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_the_help_of_every_command(name: str, condition: str) -> None:
    assert wrong([name, "--help"], condition) is None


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(
    "words",
    [
        ["ls", "-o", "json"],
        ["read", str(CAPTURE)],
        ["read", "-o", "jsonl", str(CAPTURE)],
        ["read", "-w", "-", str(CAPTURE)],
        ["extcap", "--extcap-interfaces"],
    ],
    ids=lambda words: words[0],
)
def test_commands_that_need_no_vm(words: list[str], condition: str) -> None:
    assert wrong(words, condition) is None


def test_wrong_words_are_wrong_words_where_nobody_hears_it() -> None:
    for redirection in ("2>&-", "2>/dev/full"):
        assert run(["read"], redirection).returncode == 2


PRINTING = (
    ["info", "network"],
    ["info", "usernet", "-o", "json"],
    ["netdev", "ls"],
    ["netdev", "types"],
    ["netdev", "options", "user"],
    ["nic", "ls"],
    ["nic", "models"],
    ["forward", "ls", "-o", "json"],
    ["forward", "add", "0:80"],
    ["hmp", "info", "status"],
    ["qmp", "query-status"],
    ["dump", "-c", "2"],
    ["dump", "-c", "2", "-o", "jsonl"],
    ["dump", "-c", "2", "-w", "-"],
)
SILENT = (
    ["netdev", "add", "user,id=u2"],
    ["netdev", "rm", "u2"],
    ["dump", "-c", "2", "-w", "{tmp}/x.pcapng"],
    ["nic", "down", "nic1"],
)


@pytest.mark.parametrize("condition", [one for one in CONDITIONS if one != "a reader that leaves"])
async def test_commands_on_a_vm(condition: str, qemu_one: Qemu, tmp_path: Path) -> None:
    async with start_vm(qemu_one, guest="ipxe", name="streams") as vm:
        named = ["--vm", vm.qmp[0]]

        def all_wrong() -> list[str]:
            silent = [[word.format(tmp=tmp_path) for word in words] for words in SILENT]
            found = [wrong([*named, *words], condition) for words in PRINTING]
            found += [wrong([*named, *words], condition, prints=False) for words in silent]
            if condition == "no stdout":
                found.append(wrong([*named, "events"], condition))
            return [one for one in found if one is not None]

        # Beside the event loop: it reads the VM's console, without which the VM would stand still.
        assert await asyncio.to_thread(all_wrong) == []
        assert "filter-dump" not in await vm.hmp_raw("info network")


async def test_a_reader_that_leaves_is_noticed_while_nothing_comes(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *NETWORK) as vm:
        await vm.qmp_raw("stop")
        for words in (["dump"], ["dump", "-o", "jsonl"], ["dump", "-w", "-"], ["events"]):
            done = await asyncio.to_thread(run, ["--vm", vm.qmp[0], *words], "")
            assert done.returncode == 0, (words, done.stderr)
        assert "filter-dump" not in await vm.hmp_raw("info network")


def test_the_reader_of_a_file_is_waited_for(tmp_path: Path) -> None:
    """A pipe holds 64 kB: more than that waits in qmon until the reader goes on, and then comes whole."""
    many = tmp_path / "many.pcap"
    content = CAPTURE.read_bytes()
    many.write_bytes(content[:24] + content[24:] * 50)
    assert many.stat().st_size > 1 << 19
    whole = subprocess.run(
        [sys.executable, "-m", "qmon", "read", str(many), "-F", "pcap", "-w", "-"],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    ).stdout
    with subprocess.Popen(
        [sys.executable, "-m", "qmon", "read", str(many), "-F", "pcap", "-w", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        first = os.read(child.stdout.fileno(), 1)
        # For longer than a live capture would wait for its reader.
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1.5)
        assert first + child.stdout.read() == whole
        assert child.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "qmon --help"),
        (["demo"], "--headless"),
        (["run", "--", "qemu-system-x86_64"], "-w FILE"),
        (["view", str(CAPTURE)], "qmon read"),
    ],
    ids=["dashboard", "demo", "run", "view"],
)
@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        ("</dev/null", "standard input is not one"),
        ("<&-", "standard input is not one"),
        (f"<{CAPTURE}", "standard input is a file"),
        ("2>{log}", "standard error is a file"),
        ("2> >(cat >{log})", "standard error is a pipe"),
    ],
)
def test_a_front_end_says_which_stream_is_no_terminal(
    words: list[str], hint: str, redirection: str, said: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    line = " ".join([sys.executable, "-m", "qmon", *words])
    script = f"bash -c '{line} {redirection.format(log=log)}; code=$?; wait; exit $code'"
    done = subprocess.run(["script", "-qec", script, "/dev/null"], capture_output=True, text=True, timeout=60)
    heard = log.read_text() or done.stdout
    assert done.returncode == 2, heard
    assert said in heard
    assert hint in heard
