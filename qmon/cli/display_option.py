"""`-Y`, `-T` and `-e`: Wireshark's display filters and fields on the command line.

Owns the spelling. Must never hold what a filter or a field is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a field, the last word of what is typed."""
    from qmon.packets.fields.registry import completions

    begun = re.search(r"[\w.-]*\Z", incomplete)
    start = begun[0] if begun else ""
    before = incomplete[: len(incomplete) - len(start)]
    return [before + name for name in completions(start)]


def display_option(command: F) -> F:
    """Give a command `-Y EXPR`, passed as `display`."""
    option = click.option(
        "-Y",
        "display",
        metavar="EXPR",
        default="",
        help="Only packets that match a display filter, Wireshark's language.",
        shell_complete=_names,
    )
    return option(command)


def fields_options(command: F) -> F:
    """Give a command that is a `FieldsCommand` `-T fields -e NAME…`, passed as `names`."""
    form = click.option(
        "-T",
        "_form",
        type=click.Choice(["fields"]),
        expose_value=False,
        help="Print the fields named by -e NAME.",
    )
    names = click.option(
        "--field", "names", multiple=True, metavar="NAME", hidden=True, shell_complete=_names
    )
    return form(names(command))


class FieldsCommand(click.Command):
    """A command whose `-e` is tcpdump's; with `-T fields` it takes the name of a field, as tshark's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        if any(word == "-T" or word == "-Tfields" for word in args):
            args = ["--field" if word == "-e" else word for word in args]
            if "--field" not in args:
                raise click.UsageError("which fields? -T fields -e ip.src -e ip.dst", ctx)
        return super().parse_args(ctx, args)
