"""`qmon scapy`: scapy's interactive shell on a VM's wire."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from qmon.cli.asking import netdev_option
from qmon.cli.context import Context

_BOUND = (
    "sr, sr1, srp, srp1, send, sendp and sniff are bound to the wire; wire is its socket, with wire.mac and "
)


@click.command(
    epilog="This command sends what you tell it to, from whichever address your packets say; at most 100 frames a "
    "second unless --pps says more.\n\n\b\nExamples, in the shell:\n  sr1(IP(dst='10.0.2.15')/ICMP())\n"
    "  srp1(Ether(src=wire.mac, dst='ff:ff:ff:ff:ff:ff')/ARP(pdst='10.0.2.15', hwsrc=wire.mac, psrc=wire.address))\n"
    "  sendp(Ether(dst=wire.peer_mac)/fuzz(IP()/UDP()), count=100)\n  sniff(count=10)"
)
@netdev_option
@click.option(
    "--toward",
    type=click.Choice(["guest", "network"]),
    default="guest",
    show_default=True,
    help="To the guest as from its network, or to the network as from the guest.",
)
@click.option(
    "--pps", type=click.FloatRange(min=0.01), default=100.0, show_default=True, metavar="N", help="At most."
)
@click.option("--yes", is_flag=True, help="Allow to send toward a network where other machines may be.")
@click.pass_obj
def scapy(context: Context, *, netdev: str | None, toward: str, pps: float, yes: bool) -> None:
    """Open scapy's own shell with sr1, srp, sendp and sniff working on the guest's wire; without root."""
    from qmon.wire.scapy_socket import open_socket

    target = context.target()
    with open_socket(str(target) if target else None, netdev, toward=toward, pps=pps, yes=yes) as wire:
        library = import_module("scapy.all")
        names = bound(wire, library)
        banner = f"On {wire.iface}, toward the {toward}: {_BOUND}wire.address to ask from."
        library.conf.fancy_banner = False
        # No start-up files: what they do is for the host's own interfaces.
        with suppress(SystemExit):  # How a shell is left.
            library.interact(mydict=names, argv=["scapy", "-C", "-P"], mybanner=banner)


def bound(wire: Any, library: Any) -> dict[str, Any]:
    """Return scapy's functions for sending and hearing, on this wire instead of the host's interfaces."""

    def send(x: Any, *, inter: float = 0, count: int | None = None, loop: int = 0, **_: Any) -> None:
        packets = [x] if isinstance(x, library.Packet) else list(x)
        every = [wire.linked(one) for packet in packets for one in packet]
        library.sendp(every, socket=wire, inter=inter, count=count, loop=loop, verbose=0)

    def sniff(*arguments: Any, **named: Any) -> Any:
        return library.sniff(*arguments, opened_socket=wire, **named)

    def sr(x: Any, *arguments: Any, **named: Any) -> Any:
        return wire.sr(x, *arguments, **_for_this_wire(named))

    def sr1(x: Any, *arguments: Any, **named: Any) -> Any:
        return wire.sr1(x, *arguments, **_for_this_wire(named))

    return {
        "wire": wire,
        "send": send,
        "sendp": send,
        "sniff": sniff,
        "sr": sr,
        "srp": sr,
        "sr1": sr1,
        "srp1": sr1,
    }


def _for_this_wire(named: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in named.items()
        if key not in ("iface", "filter", "nofilter", "promisc", "type")
    }
