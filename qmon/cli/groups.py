"""Groups of commands: their lists in the help, and what is said of a word that is no command.

Must never know a command. Click's own group cuts what commands do at the line's end, with three dots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

import click


class CommandGroup(click.Group):
    """A group that lists its commands in whole sentences, and suggests one for a word that is none."""

    meant: Mapping[str, str] = {}

    def about(self, ctx: click.Context, name: str) -> str | None:
        """Return what a command does, in one sentence; None for one that is not listed."""
        command = self.get_command(ctx, name)
        if command is None or command.hidden:
            return None
        first = (command.short_help or command.help or "").partition("\n\n")[0]
        return " ".join(first.split())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        rows = [
            (name, about) for name in self.list_commands(ctx) if (about := self.about(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; click.UsageError with a suggestion if it names none."""
        word = args[0]
        if ctx.resilient_parsing or word.startswith("-") or self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        close = (
            [self.meant[word]] if word in self.meant else get_close_matches(word, self.list_commands(ctx), 1)
        )
        said = f"There is no command {word!r}."
        if close:
            said += f" Did you mean {close[0]!r}?"
        elif ctx.parent is None and re.search("[/:]", word):
            said += f" A VM is named by an option: {ctx.command_path} --vm {word}"
        raise click.UsageError(said, ctx)
