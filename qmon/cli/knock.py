"""`qmon knock`: which of the guest's ports are open, asked on its own wire."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.asking import SENDS, leave, netdev_option, nobody, speaker_options
from qmon.cli.context import Context
from qmon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmon.wire.knocking import Knocked, Port


@dataclass(frozen=True, slots=True)
class _Asked:
    address: str | None
    ports: tuple[Port, ...]
    netdev: str | None
    source: str | None
    yes: bool
    six: bool


@click.command(
    epilog=SENDS + "\n\n\b\nExamples:\n  qmon knock 22 80 443 8000-8010 53/udp\n  qmon knock 10.0.2.15 22\n\n"
    "open and closed are the guest's own answers; unreachable is what a firewall says; silent is no answer at all: a "
    "firewall that drops, or with UDP a service that does not understand an empty question. Exit status: 0 if every "
    "port could be asked, 1 if nobody is there."
)
@click.argument("words", nargs=-1, required=True, metavar="[ADDRESS] PORT…")
@netdev_option
@click.option("-6", "six", is_flag=True, help="Ask by IPv6.")
@speaker_options
@out.output_option
@click.pass_obj
def knock(
    context: Context,
    *,
    words: tuple[str, ...],
    netdev: str | None,
    six: bool,
    source: str | None,
    yes: bool,
    output: str,
) -> int:
    """Try ports of the guest, without a forward: open, closed, unreachable or silent.

    Connections that open are reset at once. A guest whose ADDRESS is not known is looked for first.
    """
    from qmon.wire.knocking import parse_ports

    address = _address(words[0])
    ports = parse_ports(words[1:] if address else words)
    if not ports:
        raise UsageError("which ports?", hint="As in: qmon knock 22 80 53/udp")
    six = six or (address is not None and ":" in address)
    return out.run(_knock(context, _Asked(address, ports, netdev, source, yes, six), output))


def _address(word: str) -> str | None:
    try:
        # A number alone is a port.
        return None if word.isdecimal() else str(ipaddress.ip_address(word))
    except ValueError:
        return None


async def _knock(context: Context, asked: _Asked, output: str) -> int:
    from qmon.wire.guest import find_guest, speaking_to_guest
    from qmon.wire.knocking import knock as knock_at
    from qmon.wire.opening import open_place

    async with (
        open_place(context.target(), asked.netdev, may_send=leave(asked.yes)) as place,
        speaking_to_guest(place, asked.source, asked.address) as us,
    ):
        guest = await find_guest(place, us, asked.address, six=asked.six)
        found = () if guest is None else await knock_at(place.wire, us, guest, asked.ports)
    if guest is None:
        nobody(place.netdev.id, asked.address)
    if output == "json":
        address = guest.address if guest else None
        out.document({"ports": [_record(place.netdev.id, address, one) for one in found]})
    elif guest is not None:
        _show(found)
    return ExitCode.FAILED if guest is None else ExitCode.DONE


def _show(found: Sequence[Knocked]) -> None:
    rows = [
        (
            f"{one.port.number}/{one.port.protocol}",
            one.state,
            None if one.rtt_ms is None else f"{one.rtt_ms:.2f} ms",
        )
        for one in found
    ]
    out.table(("PORT", "STATE", "TIME"), rows)


def _record(netdev: str, address: str | None, one: Knocked) -> dict[str, object]:
    return {
        "netdev": netdev,
        "address": address,
        "port": one.port.number,
        "protocol": one.port.protocol,
        "state": one.state,
        "rtt_ms": None if one.rtt_ms is None else round(one.rtt_ms, 3),
    }
