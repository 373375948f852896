"""`qmon hmp`, `qmon qmp` and `qmon events`: the monitor itself."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from qmon.cli import output as out
from qmon.cli import streams
from qmon.cli.context import Context
from qmon.errors import ExitCode, Interrupted, Refused, UsageError
from qmon.monitor.arguments import qmp_arguments
from qmon.monitor.events import Event
from qmon.monitor.hmp import is_failure
from qmon.network.dangers import danger_of, danger_of_line
from qmon.text import clock, plain


def _force_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--force",
        is_flag=True,
        help="Send even what is known to end this VM, or to hold it up, without asking.",
    )(command)


def _ask_first(danger: str | None) -> None:
    """Have the user confirm what is known to be dangerous; `Refused` if they do not, or cannot be asked."""
    if danger is None:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"not sent: {danger}", hint="--force, before the command, sends it.")
    if not click.confirm(f"{danger}. Send it?", err=True):
        raise Refused("not sent")


@click.command(
    # What follows the first word is the human monitor's, options too.
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog="The human monitor does not report failure: replies known as failures go to stderr, with exit status 1."
    "\n\n\b\nExamples:\n"
    "  qmon hmp info block\n"
    "  qmon hmp info registers -a",
)
@click.argument("words", metavar="LINE", nargs=-1, required=True, type=click.UNPROCESSED)
@_force_option
@out.output_option
@click.pass_obj
def hmp(context: Context, words: tuple[str, ...], force: bool, output: str) -> int:
    """Send one line to the human monitor and print what it answers.

    Options of qmon's own come before LINE.
    """
    return out.run(_hmp(context, " ".join(words), force, output))


async def _hmp(context: Context, line: str, force: bool, output: str) -> int:
    if "\n" in line or "\0" in line:
        raise UsageError("the human monitor takes one line at a time")
    async with context.attach() as session:
        _ask_first(None if force else await danger_of_line(session, line))
        reply = await session.hmp(line)
    failed = is_failure(reply)
    if output == "json":
        out.document({"reply": reply, "failed": failed})
    elif failed:
        out.talk(reply)
    elif reply:
        out.data(reply)
    return ExitCode.FAILED if failed else ExitCode.DONE


@click.command(
    epilog="\b\nExamples:\n"
    "  qmon qmp query-status\n"
    "  qmon qmp set_link name=nic1 up=false\n"
    """  qmon qmp qom-get '{"path": "/machine", "property": "type"}'"""
)
@click.argument("command", metavar="CMD")
@click.argument("arguments", metavar="[ARGS]", nargs=-1)
@_force_option
@out.output_option
@click.pass_obj
def qmp(context: Context, command: str, arguments: tuple[str, ...], force: bool, output: str) -> None:
    """Send one QMP command and print what it returns, as JSON.

    ARGS is one JSON object, or words of the form name=value; a value that is JSON is taken as such, any other
    is a string. With -o json it comes as the member `return` of a document.
    """
    out.run(_qmp(context, command, qmp_arguments(arguments), force, output))


async def _qmp(
    context: Context, command: str, arguments: dict[str, object], force: bool, output: str
) -> None:
    async with context.attach() as session:
        _ask_first(None if force else await danger_of(session, command, arguments))
        reply = await session.execute(command, arguments)
    if output == "json":
        out.document({"return": reply})
    else:
        out.data(json.dumps(reply, indent=2), harmless=True)


@click.command(
    epilog="Ends with Ctrl-C, or with the VM.\n\n\b\nExamples:\n  qmon events\n  qmon events -o jsonl | jq .event"
)
@out.stream_option
@click.pass_obj
def events(context: Context, output: str) -> int:
    """Print the VM's QMP events as they come."""
    return out.run(_events(context, output), until_reader_leaves=True)


async def _events(context: Context, output: str) -> int:
    from qmon.export.byte_sink import ByteSink, ReaderLeft

    # Printed without blocking: a reader that takes nothing must not keep a signal from being heard.
    sink = ByteSink.on_descriptor(out.lines_stdout(), streams.STDOUT)
    async with context.attach() as session:
        stream = session.events()
        out.talk("listening for the VM's events; Ctrl-C ends it")
        ended = False
        try:
            async for event in stream:
                ended = ended or event.name == "SHUTDOWN"
                sink.write(f"{_event_line(event, output)}\n".encode(sys.stdout.encoding, "backslashreplace"))
                await sink.empty(None)
        except (asyncio.CancelledError, ReaderLeft):
            return ExitCode.DONE
        finally:
            if stream.dropped:
                out.talk(f"{stream.dropped} events came faster than they could be printed, and were dropped")
        reason = await session.wait_lost()
    if ended:
        out.talk("the VM has ended")
        return ExitCode.DONE
    raise Interrupted(f"the monitor disconnected: {reason}")


def _event_line(event: Event, output: str) -> str:
    if output == "jsonl":
        time = f"{event.time_ns // 10**9}.{event.time_ns % 10**9:09}"
        return out.compact({"time": time, "event": event.name, "data": dict(event.data)})
    details = " ".join(f"{key}={json.dumps(value)}" for key, value in event.data.items())
    return plain(f"{clock(event.time_ns)} {event.name} {details}".rstrip())
