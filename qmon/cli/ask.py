"""`qmon ask`: questions to the network that a VM is on, as its guest would ask them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qmon.cli import output as out
from qmon.cli.asking import SENDS, leave, netdev_option, speaker_options
from qmon.cli.context import Context
from qmon.cli.groups import CommandGroup
from qmon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from qmon.wire.neighbour import Neighbour
    from qmon.wire.opening import Place
    from qmon.wire.questions import Answer

    Question = Callable[[Place, Neighbour], Awaitable[Answer]]

F = TypeVar("F", bound=Callable[..., Any])
_EXIT = "Exit status: 0 if anything answered, a refusal too; 1 if nothing did."


@click.group(
    cls=CommandGroup,
    epilog=SENDS + f"\n\n{_EXIT}\n\n\b\nExamples:\n  qmon ask dhcp\n  qmon ask dns debian.org\n"
    "  qmon ask tcp 10.0.2.2:8000\n  qmon ask ping 10.0.2.2 --netdev u1",
)
def ask() -> None:
    """Ask the network as the guest would, even with no guest at all: is it the guest or the network?"""


def _options(command: F) -> F:
    timeout = click.option(
        "-W",
        "timeout_s",
        type=click.FloatRange(min=0.1),
        default=2.0,
        show_default=True,
        metavar="S",
        help="Seconds to wait for an answer.",
    )
    return netdev_option(timeout(speaker_options(out.output_option(command))))


@ask.command(epilog=f"Sends a DHCPDISCOVER with the NIC's own MAC. {_EXIT}")
@netdev_option
@click.option("-W", "timeout_s", type=click.FloatRange(min=0.1), default=2.0, show_default=True, metavar="S")
@click.option("--yes", is_flag=True, help="Send toward a network where other machines may be.")
@out.output_option
@click.pass_obj
def dhcp(context: Context, *, netdev: str | None, timeout_s: float, yes: bool, output: str) -> int:
    """Which address, router and name servers would the guest be offered?

    Only the question is sent: the offer is not taken. It carries the MAC of the guest's NIC, for a server may reserve
    the address for whoever asked.
    """
    return out.run(_ask_dhcp(context, netdev, timeout_s, yes, output))


async def _ask_dhcp(context: Context, netdev: str | None, timeout_s: float, yes: bool, output: str) -> int:
    from qmon.wire.opening import open_place
    from qmon.wire.questions import ask_dhcp

    async with open_place(context.target(), netdev, may_send=leave(yes)) as place:
        await place.allow_network("May qmon ask its DHCP server for an offer, as the guest's NIC?")
        answer = await ask_dhcp(place, timeout_s=timeout_s)
    return _tell(answer, netdev=place.netdev.id, output=output)


@ask.command(epilog=f"Sends a router solicitation. {_EXIT}")
@_options
@click.pass_obj
def ra(context: Context, /, **options: Any) -> int:
    """Is there an IPv6 router, and which prefixes and name servers does it advertise?"""
    from qmon.wire.questions import ask_ra

    return _run(context, options, lambda place, us, limit_s: ask_ra(place, us, timeout_s=limit_s))


@ask.command(epilog=f"Sends an ARP request, or for an IPv6 address a neighbour solicitation. {_EXIT}")
@click.argument("address")
@_options
@click.pass_obj
def arp(context: Context, /, *, address: str, **options: Any) -> int:
    """Who has ADDRESS?"""
    from qmon.wire.questions import ask_arp

    checked = _checked_address(address)
    return _run(
        context,
        options,
        lambda place, us, limit_s: ask_arp(place, us, checked, timeout_s=limit_s),
        about=checked,
    )


@ask.command(epilog=f"Sends an echo request. {_EXIT}")
@click.argument("host")
@_options
@click.pass_obj
def ping(context: Context, /, *, host: str, **options: Any) -> int:
    """Does HOST, a name or an address, answer a ping?

    Through user networking it takes the host's leave: sysctl net.ipv4.ping_group_range.
    """
    from qmon.wire.questions import ask_ping

    return _run(
        context,
        options,
        lambda place, us, limit_s: ask_ping(place, us, host, timeout_s=limit_s),
        about=host,
    )


@ask.command(epilog=f"Sends DNS questions over UDP. {_EXIT}")
@click.argument("name")
@click.option(
    "--server", metavar="ADDR", help="The name server. Default: the one that the guest would be told."
)
@_options
@click.pass_obj
def dns(context: Context, /, *, name: str, server: str | None, **options: Any) -> int:
    """Which addresses has NAME? Of an address: which names?"""
    from qmon.wire.questions import ask_dns

    checked = _checked_address(server) if server else None
    return _run(
        context,
        options,
        lambda place, us, limit_s: ask_dns(place, us, name, server=checked, timeout_s=limit_s),
        about=checked,
    )


@ask.command(
    epilog=f"Sends a SYN; behind user networking this opens a connection from the host, which is reset at once. {_EXIT}"
)
@click.argument("host_port", metavar="HOST:PORT")
@_options
@click.pass_obj
def tcp(context: Context, /, *, host_port: str, **options: Any) -> int:
    """Does anybody listen at HOST:PORT?

    Behind user networking a real connection from the host is opened for it, and reset at once.
    """
    from qmon.wire.questions import ask_tcp

    host, port = _host_port(host_port)
    return _run(
        context,
        options,
        lambda place, us, limit_s: ask_tcp(place, us, host, port, timeout_s=limit_s),
        about=host,
    )


def _checked_address(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"'{text}' is not an address") from None


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"'{text}' is not HOST:PORT", hint="As in 10.0.2.2:8000, or [fec0::2]:8000.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _run(
    context: Context,
    options: Mapping[str, Any],
    question: Callable[[Place, Neighbour, float], Awaitable[Answer]],
    *,
    about: str | None = None,
) -> int:
    return out.run(_ask(context, options, question, about))


async def _ask(
    context: Context,
    options: Mapping[str, Any],
    question: Callable[[Place, Neighbour, float], Awaitable[Answer]],
    about: str | None,
) -> int:
    from qmon.wire.knowing import learn_subnet
    from qmon.wire.opening import open_place, speaking

    async with open_place(context.target(), options["netdev"], may_send=leave(options["yes"])) as place:
        await place.allow_network("May qmon send its question there?")
        await learn_subnet(place)
        async with speaking(place, options["source"], about=about) as us:
            answer = await question(place, us, options["timeout_s"])
    return _tell(answer, netdev=place.netdev.id, output=options["output"])


def _tell(answer: Answer, *, netdev: str, output: str) -> int:
    if output == "json":
        rtt_ms = None if answer.rtt_ms is None else round(answer.rtt_ms, 3)
        out.document(
            {
                "question": answer.question,
                "netdev": netdev,
                "answered": answer.answered,
                "rtt_ms": rtt_ms,
                "answer": answer.answer,
            }
        )
    elif answer.rtt_ms is not None:
        for key, value in answer.answer.items():
            out.data(f"{key.removesuffix('_s')}: {_shown(key, value)}")
        out.talk(f"answered after {answer.rtt_ms:.2f} ms")
    if answer.remark:
        out.talk(f"qmon: {answer.remark}" if answer.answered else f"qmon: no answer: {answer.remark}")
    return ExitCode.DONE if answer.answered else ExitCode.FAILED


def _shown(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return f"{value} s" if key.endswith("_s") else str(value)
