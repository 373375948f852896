"""Which keys do something where the user is, for the help and the list of actions.

Must never know a screen: the bindings themselves say what there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from textual.binding import ActiveBinding
from textual.screen import Screen

from qmon.tui.panes.key_bar import key_name

# Textual's own, and moving about: they say nothing that is not known or said elsewhere.
_UNSAID = (
    *("app.focus_next", "app.focus_previous", "screen.copy_text", "app.help_quit", "quit", "tab"),
    *("move", "first", "last", "actions", "text_"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as people write it, and what it does; `everywhere` rather than only in the pane that has the focus."""

    name: str
    what: str
    everywhere: bool
    active: ActiveBinding


def keys_of(screen: Screen[Any]) -> Iterator[Key]:
    """Yield the keys of a screen and of what has the focus there, most local first, each deed once."""
    said: set[str] = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        what = binding.tooltip or binding.description
        if not what or not active.enabled or what in said or binding.action.startswith(_UNSAID):
            continue
        said.add(what)
        name = binding.key_display or key_name(binding.key)
        yield Key(name, what, active.node in (screen, screen.app), active)
