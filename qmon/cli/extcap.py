"""`qmon extcap`: what Wireshark runs to list VMs and to capture from them, and how it gets there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qmon.cli import output, recording
from qmon.cli.limit import limit_option
from qmon.errors import ExitCode, QmonError, UsageError

if TYPE_CHECKING:
    from qmon.packets.filters.selector import Selector


@click.command(
    epilog="\b\nExamples:\n  qmon extcap --install\n  tshark -D",
)
@click.option("--install", is_flag=True, help="Put VMs into Wireshark's list of interfaces.")
@click.option("--uninstall", is_flag=True, help="Take them out again.")
@click.option("--extcap-interfaces", "listing", is_flag=True, help="Wireshark's: list what can be captured.")
@click.option(
    "--extcap-dlts", "link_types", is_flag=True, help="Wireshark's: list an interface's link types."
)
@click.option("--extcap-config", "config", is_flag=True, help="Wireshark's: list an interface's options.")
@click.option("--capture", is_flag=True, help="Wireshark's: capture from --extcap-interface into --fifo.")
@click.option("--extcap-interface", "interface", metavar="NAME", help="The interface that is meant.")
@click.option("--extcap-capture-filter", "capture_filter", metavar="FILTER", help="Wireshark's own filter.")
@click.option("--fifo", metavar="PATH", help="Where Wireshark reads.")
@click.option(
    "--vm", default="own", metavar="VM", help="Of the dialog: whose packets, 'own' for the interface's."
)
@click.option(
    "--netdev", default="", metavar="IDS", help="Of the dialog: with commas between; empty for all."
)
@click.option(
    "--filter", "words", default="", metavar="FILTER", help="Of the dialog: a pcap-filter expression."
)
@click.option(
    "--snaplen", type=click.IntRange(1, 262_144), default=262_144, help="Of the dialog: bytes kept."
)
@click.option("--direction", type=click.Choice(["both", "in", "out"]), default="both", help="Of the dialog.")
@limit_option
@click.option("--extcap-version", hidden=True)
@click.option("--extcap-reload-option", hidden=True)
@click.option("--extcap-control-in", hidden=True)
@click.option("--extcap-control-out", hidden=True)
def extcap(install: bool, uninstall: bool, listing: bool, interface: str | None, **asked: Any) -> int:
    """Put running VMs into Wireshark's own list of interfaces.

    After `qmon extcap --install` the netdevs of every VM that runs are listed by Wireshark and by `tshark -D`,
    to be started and stopped like any other interface. All other options are for Wireshark to give.
    """
    if install or uninstall:
        _set_up(install=install, uninstall=uninstall)
    elif listing:
        _answer_listing()
    elif interface is None:
        raise UsageError(
            "nothing to do", hint="qmon extcap --install puts running VMs into Wireshark's interface list"
        )
    elif asked["link_types"]:
        _answer_link_types()
    elif asked["config"]:
        _answer_config(interface)
    elif asked["capture"]:
        return _capture(interface, asked)
    elif asked["capture_filter"] is not None:
        _answer_filter(asked["capture_filter"])
    else:
        raise UsageError("--extcap-interface needs one of --capture, --extcap-config or --extcap-dlts")
    return ExitCode.DONE


def _set_up(*, install: bool, uninstall: bool) -> None:
    from qmon.export import extcap_install

    if install and uninstall:
        raise UsageError("--install and --uninstall contradict each other")
    if install:
        installed = extcap_install.install()
        output.talk(f"installed {installed.launcher}; Wireshark lists:")
        for line in installed.interfaces:
            output.data(line)
        return
    removed = extcap_install.uninstall()
    for launcher in removed:
        output.talk(f"removed {launcher}")
    if not removed:
        output.talk("there was nothing to remove")


def _answer_listing() -> None:
    from qmon.export.extcap import interfaces, joined
    from qmon.export.extcap_vms import listed_vms

    output.data(joined(interfaces(listed_vms())), harmless=True)


def _answer_link_types() -> None:
    from qmon.export.extcap import joined, link_types

    output.data(joined(link_types()), harmless=True)


def _answer_config(interface: str) -> None:
    from qmon.export.extcap import joined, options
    from qmon.export.extcap_vms import listed_vms

    output.data(joined(options(listed_vms(answer_s=0), interface)), harmless=True)


def _answer_filter(expression: str) -> None:
    """Say what is wrong with a filter; no word means that it is right."""
    from qmon.packets.filters.words import selector_of

    try:
        selector_of(expression)
    except QmonError as problem:
        output.data(problem.message)


def _capture(interface: str, asked: dict[str, Any]) -> int:
    if asked["fifo"] is None:
        raise UsageError("--capture needs --fifo")
    try:
        return output.run(_captured(interface, asked))
    except Exception:
        _let_go(asked["fifo"])
        raise


def _let_go(fifo: str) -> None:
    """Open a FIFO for a moment, so that who waits at it (dumpcap) finds its end; none that nobody reads."""
    with suppress(OSError):
        if Path(fifo).is_fifo():
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))


async def _captured(interface: str, asked: dict[str, Any]) -> int:
    """Capture into Wireshark's FIFO until Wireshark stops us, or the VM is over."""
    from qmon.capture.vm import LIMIT_BYTES, CaptureOptions
    from qmon.export.capture_file import FileOptions, open_file
    from qmon.export.extcap import chosen
    from qmon.export.extcap_vms import listed_vms
    from qmon.export.live import Wanted, open_live
    from qmon.export.record import record
    from qmon.monitor.address import Pid

    # Nobody waits for this list: the VM may take its time to answer.
    pid, netdev = chosen(listed_vms(answer_s=2), interface, asked["vm"])
    netdevs = (
        (netdev,) if netdev else tuple(filter(None, (one.strip() for one in asked["netdev"].split(","))))
    )
    wanted = Wanted(
        () if pid is None else [Pid(pid)],
        netdevs,
        all=not netdevs,
        options=CaptureOptions(snaplen=asked["snaplen"], limit_bytes=asked["limit_bytes"] or LIMIT_BYTES),
    )
    chosen_filter = _filter(asked)
    async with open_live(wanted, output.talk) as live:
        options = FileOptions((live.comment,), live.names, asked["snaplen"])
        sink = await open_file(asked["fifo"], form="pcapng", options=options)
        totals = await record(live.sources, sink, filter=chosen_filter, on_note=recording.say_note)
    return recording.close(totals) if totals.error else ExitCode.DONE


def _filter(asked: dict[str, Any]) -> Selector | None:
    """Return the selector that Wireshark's box, the dialog's and its direction make together."""
    from qmon.packets.batch import Direction
    from qmon.packets.filters.selector import AllOf, OneWay

    parts: list[Selector | None] = [
        recording.filter_of([asked[box] or ""]) for box in ("capture_filter", "words")
    ]
    if asked["direction"] != "both":
        parts.append(OneWay(Direction[asked["direction"].upper()]))
    given = tuple(part for part in parts if part is not None)
    return AllOf(given) if given else None
