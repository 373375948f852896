"""The entry point: `qmon [--vm VM] COMMAND`.

Owns the table of commands, each loaded only when it is named, and the turning of errors into messages
and exit codes. Must never import a command's modules before it is asked for: start-up time is a feature.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from io import StringIO
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from qmon import __version__
from qmon.cli import output, streams
from qmon.cli.completing import complete_netdev, complete_vm
from qmon.cli.context import Context
from qmon.cli.groups import CommandGroup
from qmon.cli.limit import limit_option
from qmon.errors import ExitCode, QmonError

# Name, where it lives, what it does: the help of the whole is printed without importing any of them.
_COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("ls", "qmon.cli.ls:ls", "VMs running here, and how each can be reached."),
    ("info", "qmon.cli.info:info", "The VM's networks (network) or its user-mode connections (usernet)."),
    ("netdev", "qmon.cli.netdev:netdev", "List, add and remove network backends."),
    ("nic", "qmon.cli.nic:nic", "List, add and remove NICs; set their link up or down."),
    ("plug", "qmon.cli.plug:plug", "Add a netdev and a NIC on it, both or neither."),
    ("unplug", "qmon.cli.plug:unplug", "Remove a NIC and its netdev."),
    ("replace", "qmon.cli.replace:replace", "Put another netdev under a NIC."),
    ("cable", "qmon.cli.cable:cable", "Join two running VMs by a NIC in each, without root."),
    ("uncable", "qmon.cli.cable:uncable", "Take such a cable away."),
    ("forward", "qmon.cli.forward:forward", "Host ports forwarded into the guest: list, add, remove."),
    ("ssh", "qmon.cli.ssh:ssh", "Run ssh into the guest, through a forward made for it."),
    ("tap", "qmon.cli.tap:tap", "Taps of this host: list, make, remove."),
    ("bridge", "qmon.cli.bridge:bridge", "Bridges of this host: list, make, remove."),
    ("ping-range", "qmon.cli.ping_range:ping_range", "Whether the guest may ping the outside; let it."),
    ("dump", "qmon.cli.dump:dump", "Capture a netdev's packets: lines, or a file for Wireshark."),
    ("read", "qmon.cli.read:read", "Print a capture file."),
    ("view", "qmon.cli.view:view", "Look through a capture file in the dashboard's packet views."),
    ("wireshark", "qmon.cli.wireshark:wireshark", "Watch a netdev live in Wireshark."),
    ("extcap", "qmon.cli.extcap:extcap", "Put running VMs into Wireshark's own list of interfaces."),
    ("ping", "qmon.cli.ping:ping", "Ping the guest, whatever its network; without root."),
    ("knock", "qmon.cli.knock:knock", "Try the guest's ports, without a forward."),
    ("send", "qmon.cli.send:send", "Put frames on the wire: a capture, bytes, packets of scapy."),
    ("scapy", "qmon.cli.scapy:scapy", "scapy's own shell on the wire of the guest."),
    ("addr", "qmon.cli.addr:addr", "The guest's addresses, as seen or asked; no agent is needed."),
    ("ask", "qmon.cli.ask:ask", "Ask the network as the guest would, with no guest at all."),
    ("hmp", "qmon.cli.monitor:hmp", "Send one line to the human monitor."),
    ("qmp", "qmon.cli.monitor:qmp", "Send one QMP command."),
    ("events", "qmon.cli.monitor:events", "Print the VM's QMP events as they come."),
    ("run", "qmon.cli.run:run", "Start a VM and watch it from its first packet."),
    ("demo", "qmon.cli.demo:demo", "A tiny VM with real traffic, and the dashboard on it."),
    (
        "completion",
        "qmon.cli.completion:completion",
        "Print the code that makes a shell complete qmon's words.",
    ),
)

# Words that others use for what is called otherwise here.
_MEANT = {"capture": "dump", "tcpdump": "dump", "record": "dump", "tshark": "read", "list": "ls", "ps": "ls"}
_MEANT |= {"network": "info network", "usernet": "info usernet", "link": "nic up", "monitor": "hmp"}


class LazyGroup(CommandGroup):
    """A group whose commands are imported when they are named, not when they are listed."""

    meant = _MEANT

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return [name for name, _, _ in _COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command, or None for a name that is not ours."""
        for name, place, _ in _COMMANDS:
            if name == cmd_name:
                module, _, attribute = place.partition(":")
                command = getattr(import_module(module), attribute)
                assert isinstance(command, click.Command)
                return command
        return None

    def about(self, ctx: click.Context, name: str) -> str | None:  # noqa: ARG002
        """Return what a command does, from the table alone."""
        return next((about for one, _, about in _COMMANDS if one == name), None)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table; options and their values as click does."""
        if not incomplete[:1].isalnum() and incomplete:
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=about) for name, _, about in _COMMANDS if name.startswith(incomplete)
        ]


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command: the dashboard. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no "
    "such VM or cannot attach, 124 a deadline passed.\n\n\b\nExamples:\n"
    "  qmon demo\n"
    "  qmon ls\n"
    "  qmon --vm web info network\n"
    "  qmon --vm /tmp/my-vm.qmp dump -i u1 port 53",
)
@click.option(
    "--vm",
    "vms",
    multiple=True,
    metavar="VM",
    shell_complete=complete_vm,
    help="The VM: its name, pid:N, a monitor socket's path, unix:PATH or HOST:PORT. Default: $QMON_VM, else "
    "the only VM running here. Repeats for dump and wireshark.",
)
@click.option(
    "--netdev",
    "netdevs",
    multiple=True,
    metavar="ID",
    shell_complete=complete_netdev,
    help="Dashboard: tap only this netdev (repeats).",
)
@click.option("--no-capture", is_flag=True, help="Dashboard: tap nothing when it opens.")
@click.option(
    "--no-confirm",
    is_flag=True,
    envvar="QMON_NO_CONFIRM",
    help="Dashboard (of run and demo too): q quits at once, also with packets that are not saved. "
    "Always so with QMON_NO_CONFIRM=1.",
)
@limit_option
@click.version_option(__version__, prog_name="qmon", message="%(prog)s %(version)s")
@click.pass_context
def qmon(
    ctx: click.Context,
    *,
    vms: tuple[str, ...],
    netdevs: tuple[str, ...],
    no_capture: bool,
    no_confirm: bool,
    limit_bytes: int | None,
) -> None:
    """Show and shape the network of a running QEMU VM."""
    ctx.obj = Context(vms, confirm=not no_confirm)
    if ctx.invoked_subcommand is None:
        from qmon.cli.dashboard import dashboard

        dashboard(ctx.obj, netdevs=netdevs, capture=not no_capture, limit_bytes=limit_bytes)
    elif netdevs or no_capture or limit_bytes:
        raise click.UsageError(
            "--netdev, --limit and --no-capture before the command are the dashboard's; "
            f"put --netdev and --limit after '{ctx.invoked_subcommand}'"
        )


def main() -> NoReturn:
    """Run the command line and exit with the code its end deserves."""
    streams.set_up()
    code = _flushed(_guarded())
    try:
        sys.stderr.flush()
    except OSError:
        streams.give_up(2)
    sys.exit(code)


def _guarded() -> int:
    """Run the command and return its exit code, having said what went wrong."""
    try:
        result = _invoked()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    except Exception as problem:  # noqa: BLE001 - what is not known is raised again.
        return _told(problem)
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else ExitCode.DONE


def _told(problem: Exception) -> int:
    """Say what went wrong and return the exit code for it; a bug is raised again."""
    if isinstance(problem, ExceptionGroup):
        # Tasks that ran side by side: what the first of them met is the reason.
        return _told(problem.exceptions[0])
    if isinstance(problem, click.exceptions.Abort):
        return 130
    if isinstance(problem, click.ClickException):
        said = StringIO()
        problem.show(said)
        output.talk(said.getvalue())
        return problem.exit_code
    if isinstance(problem, QmonError):
        output.error(problem.message, problem.hint)
        return problem.exit_code
    if isinstance(problem, BrokenPipeError):
        return ExitCode.DONE
    if isinstance(problem, OSError):
        _say_system_error(problem)
        return ExitCode.FAILED
    raise problem


def _say_system_error(problem: OSError) -> None:
    reason = problem.strerror or str(problem)
    if problem.filename == streams.STDOUT:
        why = "it is closed" if problem.errno == errno.EBADF else reason
        output.error(f"cannot write {streams.STDOUT}: {why}", None)
    else:
        output.error(f"{problem.filename}: {reason}" if problem.filename else reason, None)


def _invoked() -> object:
    if "_QMON_COMPLETE" in os.environ:  # A shell asks for completions: click's own affair.
        return qmon.main(prog_name="qmon")
    # Not click's main(), which ends with 1 when the reader of stdout has left.
    try:
        with qmon.make_context("qmon", sys.argv[1:]) as ctx:
            return qmon.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code


def _flushed(code: int) -> int:
    """Hand over the last of the output; return the code, or a failure's if it could not be handed over."""
    try:
        output.flush()
    except OSError as problem:
        if code == ExitCode.DONE and not isinstance(problem, BrokenPipeError):
            _say_system_error(problem)
            code = ExitCode.FAILED
        streams.give_up(1)
    return code
