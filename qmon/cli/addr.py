"""`qmon addr`: which addresses the guest has, as seen or, if wanted, asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.asking import SENDS, leave, speaker_options
from qmon.cli.context import Context

if TYPE_CHECKING:
    from qmon.capture.following import FollowedVm
    from qmon.network.model import Netdev, Network, Nic
    from qmon.packets.analysis.addresses import KnownAddress

# Where nothing is known, the wire is listened to for so long.
_LISTEN_S = 1.0


@click.command(
    epilog="Without --ask nothing is sent: addresses are those that any qmon has seen in DHCP, ARP, neighbour "
    "discovery and traffic since the VM was started; where nothing is known, the wire is listened to for a second. "
    "With --ask: " + SENDS + "\n\n\b\nExamples:\n  qmon addr\n  qmon addr --ask -o json"
)
@click.option("--netdev", "netdevs", multiple=True, metavar="ID", help="Only on this netdev; repeats.")
@click.option(
    "--ask", is_flag=True, help="Send: ask for every address of the guest's network, and all IPv6 nodes."
)
@speaker_options
@out.output_option
@click.pass_obj
def addr(
    context: Context, *, netdevs: tuple[str, ...], ask: bool, source: str | None, yes: bool, output: str
) -> None:
    """The guest's addresses, IPv4 and IPv6, of every NIC, and how each is known; no agent is needed."""
    found = out.run(_addr(context, netdevs, source, ask=ask, yes=yes))
    if output == "json":
        out.document({"guests": found})
        return
    rows = [
        (guest["nic"], guest["netdev"], guest["mac"], one["address"], one["source"], _ago(one["seen"]))
        for guest in found
        for one in guest["addresses"]  # type: ignore[attr-defined]
    ]
    if rows:
        out.table(("NIC", "NETDEV", "MAC", "ADDRESS", "KNOWN BY", "SEEN"), rows)
    else:
        out.talk("No address of this guest is known." + ("" if ask else " --ask asks it."))


async def _addr(
    context: Context, netdevs: tuple[str, ...], source: str | None, *, ask: bool, yes: bool
) -> list[dict[str, object]]:
    from qmon.capture.following import FollowedVm
    from qmon.capture.vm import CaptureOptions
    from qmon.errors import Refused
    from qmon.network.inspect import inspect
    from qmon.wire.opening import choose

    async with FollowedVm(context.target(), CaptureOptions(events=False)) as vm:
        if vm.session is None:
            raise Refused(f"the monitor disconnected right after attaching: {vm.monitor_note}")
        network = await inspect(vm.session)
        meant = [choose(network, one) for one in netdevs] or _plugged(network)
        if not ask and not any(_known(vm, network, one) for one in meant):
            await _listen(vm, meant)
        asked = await _ask(context, vm, meant, source, yes=yes) if ask else {}
        return [
            _record(vm, netdev, nic, asked) for netdev in meant for nic in _nics(network, netdev) if nic.mac
        ]


def _plugged(network: Network) -> list[Netdev]:
    from qmon.capture.describe import present_netdevs

    found = [network.netdev(one) for one in present_netdevs(network)]
    return [one for one in found if one is not None and _nics(network, one)]


def _nics(network: Network, netdev: Netdev) -> tuple[Nic, ...]:
    from qmon.wire.opening import nics_on

    return nics_on(network, netdev)


def _known(vm: FollowedVm, network: Network, netdev: Netdev) -> bool:
    return any(vm.addresses.of(netdev.id, nic.mac) for nic in _nics(network, netdev) if nic.mac)


async def _listen(vm: FollowedVm, netdevs: list[Netdev]) -> None:
    from qmon.errors import Refused

    for one in netdevs:
        try:
            await vm.tap(one.id)
        except Refused as problem:
            out.talk(f"qmon: {problem}")
    deadline = time.monotonic() + _LISTEN_S
    while time.monotonic() < deadline:
        await vm.wait(0.1)
        vm.poll()


async def _ask(
    context: Context, vm: FollowedVm, netdevs: list[Netdev], source: str | None, *, yes: bool
) -> Mapping[tuple[str, str], set[str]]:
    """Ask on each wire; return what answered, by netdev and MAC. The answers are learnt as well."""
    from qmon.errors import Refused, UsageError
    from qmon.packets.analysis.addresses import Source
    from qmon.wire.guest import ask_all, speaking_to_guest
    from qmon.wire.opening import open_place

    answered: dict[tuple[str, str], set[str]] = {}
    for netdev in netdevs:
        try:
            async with (
                open_place(context.target(), netdev.id, may_send=leave(yes)) as place,
                speaking_to_guest(place, source, None) as us,
            ):
                found = await ask_all(place, us)
        except (Refused, UsageError) as problem:
            if len(netdevs) == 1:
                raise
            out.talk(f"qmon: {problem}")
            continue
        for one in found:
            answered.setdefault((netdev.id, one.mac), set()).add(one.address)
            vm.addresses.learn(netdev.id, one.mac, one.address, Source.ASKED, time.time_ns())
    return answered


def _record(
    vm: FollowedVm, netdev: Netdev, nic: Nic, asked: Mapping[tuple[str, str], set[str]]
) -> dict[str, object]:
    mac = (nic.mac or "").lower()
    answered = asked.get((netdev.id, mac), set())
    return {
        "nic": nic.id,
        "netdev": netdev.id,
        "mac": nic.mac,
        "addresses": [_address(one, one.address in answered) for one in vm.addresses.of(netdev.id, mac)],
    }


def _address(one: KnownAddress, answered: bool) -> dict[str, object]:
    seconds, rest = divmod(one.seen_ns, 1_000_000_000)
    # What a server gave out says more than an answer; a packet that only says so, less.
    source = "asked" if answered and one.source != "dhcp" else one.source
    return {"address": one.address, "source": source, "seen": f"{seconds}.{rest:09}"}


def _ago(seen: object) -> str:
    seconds = time.time() - float(str(seen))
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{max(seconds, 0) / size:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} d ago"
