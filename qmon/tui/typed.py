"""Keys in the order they were typed, each for what the keys before it have opened.

Textual hands a key to whatever has the focus when it comes, while what the key before it does may still be on its way
through the queues of widgets, or wait for a dialog that a worker is about to open. Owns the keys that wait until then.
Must never hold one for ever: after `PATIENCE_S` it goes where keys go.

A key goes on once
* the one before it has landed: its way through the widgets is over, and that of what it set off (`_under_way`); those
  that only write or move need not wait for each other where they go the same way (`_on_target`);
* the screen on top is there, and a dialog that was announced (`expect`) has come and takes keys (`_expected`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ScreenStackError
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input

from qmon.tui.dialogs.box import Dialog
from qmon.tui.rows import RowView

if TYPE_CHECKING:
    from textual.app import App

PATIENCE_S = 2.0
_MOVES = frozenset({"j", "k", "up", "down", "pageup", "pagedown", "ctrl+d", "ctrl+u", "ctrl+f", "ctrl+b"})
_WRITES = frozenset({"backspace", "delete", "left", "right"})
_LOOK_AGAIN_S = 0.02
# A key's own way up to the app; of what its action posted; and of what that set off in turn.
_WAYS_UP = 3


class TypedKeys:
    """The keys of one app; `hand_on` gives one to Textual. To be used from the app's own task only."""

    def __init__(self, app: App[Any], hand_on: Callable[[events.Key], Awaitable[None]]) -> None:
        self._app = app
        self._hand_on = hand_on
        self._waiting: deque[events.Key] = deque()
        self._since = 0.0
        self._under_way: events.Key | None = None
        self._on_target: Widget | None = None
        self._expected: object | None = None
        self._looking = False

    def __repr__(self) -> str:
        return f"<TypedKeys {len(self._waiting)} waiting, {'a' if self._expected else 'no'} dialog expected>"

    async def take(self, key: events.Key) -> None:
        """Take a key from the terminal, and hand on what may go."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(key)
        await self._go()

    def expect(self) -> object:
        """Keep keys for a dialog that is about to open; return a token for `settle`."""
        self._expected = object()
        return self._expected

    def settle(self, token: object) -> None:
        """Expect no dialog any more, unless somebody else does since."""
        if self._expected is token:
            self._expected = None

    async def _go(self) -> None:
        while self._waiting and self._may_go():
            key = self._waiting.popleft()
            self._since = time.monotonic()
            self._under_way = key
            target = self._app.focused or self._app.screen
            self._on_target = target if _only_writes_or_moves(key, target) else None
            await self._hand_on(key)
            self._climb(target, target, key, _WAYS_UP)
        if self._waiting and not self._looking:
            self._looking = True
            self._app.set_timer(_LOOK_AGAIN_S, self._look_again)

    async def _look_again(self) -> None:
        self._looking = False
        await self._go()

    def _may_go(self) -> bool:
        try:
            screen = self._app.screen
        except ScreenStackError:
            return False
        if time.monotonic() - self._since > PATIENCE_S:
            self._under_way = self._expected = None
            return True
        if not screen.is_mounted or not (self._under_way is None or self._goes_along()):
            return False
        if isinstance(screen, Dialog):
            return screen.takes_keys
        return self._expected is None

    def _goes_along(self) -> bool:
        target = self._app.focused
        return (
            target is not None
            and target is self._on_target
            and _only_writes_or_moves(self._waiting[0], target)
        )

    def _climb(self, node: MessagePump | None, start: MessagePump, key: events.Key, ways: int) -> None:
        """Follow the key from widget to widget, behind everything that is in their queues."""
        while node is not None and node is not self._app:
            if node.call_later(self._climb, node._parent, start, key, ways):
                return
            node = node._parent  # This one is gone.
        self._app.call_later(self._at_the_top, start, key, ways - 1)

    async def _at_the_top(self, start: MessagePump, key: events.Key, ways: int) -> None:
        if ways:
            self._climb(start, start, key, ways)
        elif key is self._under_way:
            self._under_way = None
            await self._go()


def _only_writes_or_moves(key: events.Key, target: Widget) -> bool:
    """Tell whether a key leaves the focus where it is, whatever it finds there."""
    if isinstance(target, Input):
        return key.is_printable or key.key in _WRITES
    return isinstance(target, RowView) and key.key in _MOVES
