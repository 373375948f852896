"""What every command that changes a VM has in common: `--dry-run`, `-o`, and how it tells what was done.

Must never change anything itself: commands hand in what will be sent, or what came of it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qmon.cli import output as out
from qmon.network.release import UNPLUG_S

if TYPE_CHECKING:
    from qmon.monitor.commands import Command

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Manner:
    """How a change is to be made: only shown (`dry_run`), and told as a sentence or as `json`."""

    dry_run: bool
    output: str

    def show(self, steps: Iterable[Command]) -> None:
        """Print what would be sent: QMP messages, one a line, or one document."""
        messages = [step.as_qmp() for step in steps]
        if self.output == "json":
            out.document({"commands": messages})
            return
        for message in messages:
            out.data(json.dumps(message), harmless=True)

    def show_each(self, vms: Iterable[tuple[str, Iterable[Command]]]) -> None:
        """Print what would be sent to each of several VMs; as lines, each VM's after a comment that names it."""
        if self.output == "json":
            content = [{"vm": vm, "commands": [step.as_qmp() for step in steps]} for vm, steps in vms]
            out.document({"vms": content})
            return
        for vm, steps in vms:
            out.data(f"# {vm}")
            self.show(steps)

    def tell(self, said: str, content: Mapping[str, object], warnings: Iterable[str] = ()) -> None:
        """Say what was done, or print it as a document; warnings are said in either case."""
        told = tuple(warnings)
        for warning in told:
            out.talk(f"warning: {warning}")
        if self.output == "json":
            out.document({**content, "warnings": list(told)})
        else:
            out.talk(said)


def timeout_option(command: F) -> F:
    """Give a click command that waits for the guest `--timeout S`, passed as `timeout_s`."""
    option = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=UNPLUG_S,
        show_default=True,
        metavar="S",
        help="How many seconds to wait for the guest.",
    )
    return option(command)


def change_options(command: F) -> F:
    """Give a click command `--dry-run` and `-o table|json`, passed as one `manner`."""

    @functools.wraps(command)
    def with_manner(*args: Any, dry_run: bool, output: str, **options: Any) -> Any:
        return command(*args, manner=Manner(dry_run, output), **options)

    dry_run = click.option(
        "--dry-run", is_flag=True, help="Print the QMP commands that would be sent; send none of them."
    )
    return out.output_option(dry_run(with_manner))  # type: ignore[return-value]
