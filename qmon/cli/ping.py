"""`qmon ping`: does the guest answer, asked on its own wire."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.asking import SENDS, leave, netdev_option, nobody, speaker_options
from qmon.cli.context import Context
from qmon.errors import ExitCode

if TYPE_CHECKING:
    from qmon.wire.finding import Found
    from qmon.wire.neighbour import Neighbour
    from qmon.wire.opening import Place
    from qmon.wire.pinging import Outcome, Plan, Reply


@dataclass(frozen=True, slots=True)
class _Asked:
    address: str | None
    netdev: str | None
    source: str | None
    yes: bool
    six: bool
    plan: Plan
    json: bool


@click.command(
    epilog=SENDS
    + "\n\n\b\nExamples:\n  qmon ping\n  qmon ping -c 3 --netdev u1 10.0.2.15\n  qmon ping --arp -c 1\n\n"
    "Exit status: 0 if it answered, 1 if not."
)
@click.argument("address", required=False, metavar="[ADDRESS]")
@netdev_option
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="End after N requests.")
@click.option(
    "-i",
    "interval_s",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two.",
)
@click.option(
    "-W",
    "timeout_s",
    type=click.FloatRange(min=0.01),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the last answer.",
)
@click.option("-6", "six", is_flag=True, help="Ask by IPv6.")
@click.option(
    "--arp", is_flag=True, help="Ask only whether the driver lives: ARP, with -6 neighbour discovery."
)
@speaker_options
@out.output_option
@click.pass_obj
def ping(
    context: Context,
    *,
    address: str | None,
    netdev: str | None,
    count: int | None,
    interval_s: float,
    timeout_s: float,
    six: bool,
    arp: bool,
    source: str | None,
    yes: bool,
    output: str,
) -> int:
    """Ping the guest from the host, whatever its network: without root, a forward or an agent.

    A guest whose ADDRESS is not known is looked for first. Without -c it goes on until Ctrl-C.
    """
    from qmon.wire.pinging import Kind, Plan

    six = six or (address is not None and ":" in address)
    kind = Kind.ARP if arp else Kind.ICMPV6 if six else Kind.ICMP
    plan = Plan(kind, count, interval_s, timeout_s)
    return out.run(_ping(context, _Asked(address, netdev, source, yes, six, plan, output == "json")))


async def _ping(context: Context, asked: _Asked) -> int:
    from qmon.wire.guest import find_guest, speaking_to_guest
    from qmon.wire.opening import open_place

    async with (
        open_place(context.target(), asked.netdev, may_send=leave(asked.yes)) as place,
        speaking_to_guest(place, asked.source, asked.address) as us,
    ):
        guest = await find_guest(place, us, asked.address, six=asked.six)
        if guest is None:
            nobody(place.netdev.id, asked.address)
            if asked.json:
                out.document({"replies": [], "sent": 0, "received": 0})
            return ExitCode.FAILED
        if not asked.json:
            out.data(_heading(place, us, guest))
        outcome = await _until_enough(place, us, guest, asked)
    _tell(place, guest, outcome, asked)
    return ExitCode.DONE if outcome.received else ExitCode.FAILED


async def _until_enough(place: Place, us: Neighbour, guest: Found, asked: _Asked) -> Outcome:
    from qmon.wire.pinging import Pinger

    pinger = Pinger(place.wire, us, guest, asked.plan)
    try:
        return await pinger.run(lambda reply: None if asked.json else _line(reply))
    except asyncio.CancelledError:
        # Ctrl-C is how ping ends.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return pinger.outcome


def _heading(place: Place, us: Neighbour, guest: Found) -> str:
    nic = place.nic
    where = f"{place.netdev.id}, {nic.id}" if nic else place.netdev.id
    asking = us.address6 if ":" in guest.address else us.address
    return f"PING {guest.address} ({guest.mac}) on {where}, from {asking} ({us.mac})"


def _line(reply: Reply) -> None:
    again = " (DUP!)" if reply.again else ""
    if reply.ttl is None:
        text = f"{reply.mac} has {reply.address}: seq={reply.seq} time={reply.rtt_ms:.3g} ms{again}"
    else:
        ttl = "ttl" if reply.kind == "icmp" else "hlim"
        text = (
            f"{reply.length} bytes from {reply.address}: icmp_seq={reply.seq} {ttl}={reply.ttl} "
            f"time={reply.rtt_ms:.3g} ms{again}"
        )
    out.data(text)
    out.flush()


def _tell(place: Place, guest: Found, outcome: Outcome, asked: _Asked) -> None:
    if asked.json:
        out.document(
            {
                "replies": [_record(place, reply) for reply in outcome.replies],
                "sent": outcome.sent,
                "received": outcome.received,
            }
        )
        return
    lost = 100 * (1 - outcome.received / outcome.sent) if outcome.sent else 0
    out.data(f"\n--- {guest.address} ping statistics ---")
    out.data(f"{outcome.sent} sent, {outcome.received} received, {lost:.3g}% lost")
    times = [reply.rtt_ms for reply in outcome.replies if not reply.again]
    if times:
        mean, spread = statistics.fmean(times), statistics.pstdev(times)
        out.data(f"rtt min/avg/max/mdev = {min(times):.3f}/{mean:.3f}/{max(times):.3f}/{spread:.3f} ms")


def _record(place: Place, reply: Reply) -> dict[str, object]:
    return {
        "netdev": place.netdev.id,
        "nic": place.nic.id if place.nic else None,
        "mac": reply.mac,
        "address": reply.address,
        "kind": reply.kind,
        "seq": reply.seq,
        "rtt_ms": round(reply.rtt_ms, 3),
    }
