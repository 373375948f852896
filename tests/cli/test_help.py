"""The help of every command: whole sentences, and examples one a line."""

import re
from collections.abc import Iterator

import click
import pytest

from qmon.cli.main import qmon


def every(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every(below, click.Context(below, parent=context, info_name=name, terminal_width=80))


COMMANDS = list(every(qmon, click.Context(qmon, info_name="qmon", terminal_width=80)))


EXAMPLES = re.compile(r"\n  Examples[^\n]*:\n")


def examples(text: str) -> list[str]:
    """The lines under "Examples:", without their indentation."""
    _, *after = EXAMPLES.split(text, maxsplit=1)
    return [line.removeprefix("    ") for line in after[0].partition("\n\n")[0].splitlines()] if after else []


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_no_sentence_is_cut(context: click.Context) -> None:
    _, _, text = context.get_help().partition("\n")
    assert not re.search(r"(?m)(?<![A-Z\]])\.\.\.$|[a-z,]…$", text)
    for line in EXAMPLES.split(text)[0].splitlines():
        assert len(line) <= 80, line


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_examples_stand_one_a_line(context: click.Context) -> None:
    text = context.get_help()
    if isinstance(context.command, click.Group) or (context.parent and context.parent.parent is None):
        assert examples(text), "no examples"
    assert "Example" not in EXAMPLES.sub("", text)
    for line in examples(text):
        assert not line.startswith(" ")
        assert line.count("qmon ") == 1 or "qmon " not in line


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_a_group_tells_what_its_commands_do(context: click.Context) -> None:
    if isinstance(context.command, click.Group):
        text = " ".join(context.get_help().split())
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            assert command.help
            about = context.command.about(context, name)  # type: ignore[attr-defined]
            assert about
            assert " ".join(about.split()) in text
