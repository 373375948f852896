"""`-Y`, `-T` and `-e`: Wireshark's display filters and fields on the command line.

Owns the spelling. Must never hold what a filter or a field is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def display_option(command: F) -> F:
    """Give a command `-Y EXPR`, passed as `display`."""
    option = click.option(
        "-Y",
        "display",
        metavar="EXPR",
        default="",
        help="Only packets that match a display filter, Wireshark's language.",
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
    names = click.option("--field", "names", multiple=True, metavar="NAME", hidden=True)
    return form(names(command))


class FieldsCommand(click.Command):
    """A command whose `-e` is tcpdump's; with `-T fields` it takes the name of a field, as tshark's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        if any(word == "-T" or word == "-Tfields" for word in args):
            args = ["--field" if word == "-e" else word for word in args]
            if "--field" not in args:
                raise click.UsageError(
                    "-T fields prints the fields that -e names: -T fields -e ip.src -e ip.dst", ctx
                )
        return super().parse_args(ctx, args)
