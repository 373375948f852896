"""What the commands that put frames on a wire have in common: their options, and the question before the first frame.

Must never attach or send: that is `wire.opening`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from qmon.wire.opening import MaySend

F = TypeVar("F", bound=Callable[..., Any])

SENDS = (
    "This command sends frames: as a made-up neighbour with a MAC of its own (02:71:6d:…) and an address that nobody "
    "uses, at most 100 a second. Captures by qmon mark them."
)


def netdev_option(command: F) -> F:
    """Give a command `--netdev ID`, the one it is about."""
    return click.option("--netdev", metavar="ID", help="On which netdev; needed where the VM has several.")(
        command
    )


def speaker_options(command: F) -> F:
    """Give a command `--source` and `--yes`."""
    yes = click.option(
        "--yes", is_flag=True, help="Send toward a network where other machines may be, without asking first."
    )
    source = click.option(
        "--source",
        metavar="ADDR[,MAC]",
        help="Ask from this address instead of a made-up one. Nobody else may use it: that is not checked.",
    )
    return source(yes(command))


def leave(yes: bool) -> MaySend:
    """Return who is asked for leave to send toward a network: --yes, or the user where there is a terminal."""

    async def may_send(question: str) -> bool:
        from qmon.monitor.aside import aside

        if yes or not sys.stdin.isatty():
            return yes
        # Not on the event loop: other qmons may be using the monitor through this one.
        return await aside(lambda: click.confirm(question, default=False, err=True), timeout_s=None)

    return may_send


def nobody(netdev: str, address: str | None) -> None:
    """Say that the guest does not answer at all."""
    from qmon.cli import output

    whom = address or "any address of the guest's network"
    output.error(
        f"nobody on {netdev} answers for {whom}",
        "The guest's driver may not be loaded, its interface down, or its address another one.",
    )
