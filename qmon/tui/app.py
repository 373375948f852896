"""The dashboard's app: theme, keys that work everywhere, and an orderly end.

Owns nothing else: screens are told what they show, panes draw it.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterable
from pathlib import PurePath
from typing import Any, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from qmon.tui.terminal import PatientDriver
from qmon.tui.themes import THEMES, chosen
from qmon.tui.typed import TypedKeys


class QmonApp(App[None]):
    """An app that starts with one screen and ends on `q`, Ctrl-C, or a terminal that is gone."""

    TITLE = "qmon"
    # All here: Textual does not look for the style sheet of a screen that is there from the start.
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        "theme.tcss",
        "screens/dashboard.tcss",
        "dialogs/dialogs.tcss",
    ]
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("q,ctrl+q", "quit", "Quit"),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, first: Screen[Any], *, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class or PatientDriver)
        self._first = first
        self._typed = TypedKeys(self, super().on_event)
        self._token: object = None
        self.failure: Exception | None = None
        for name in self.available_themes:
            self.unregister_theme(name)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = chosen(os.environ, self.console.color_system).name

    def get_default_screen(self) -> Screen[Any]:
        """Start with the first screen itself: an empty one below it would only be laid out for nothing."""
        return self._first

    async def on_event(self, event: events.Event) -> None:
        """Let keys wait for what the keys before them open; all but the one that ends everything."""
        if isinstance(event, events.Key) and not event.is_forwarded and event.key != "ctrl+c":
            await self._typed.take(event)
        else:
            await super().on_event(event)

    def ask(self, screen: Screen[Any], questions: Coroutine[Any, Any, object]) -> None:
        """Run something that opens dialogs as a worker of a screen; keys typed from now on are for its dialogs.

        `asked` ends that earlier than the worker's end, for one that goes on with something that takes its time.
        """
        token = self._token = self._typed.expect()

        async def run() -> None:
            try:
                await questions
            finally:
                self._typed.settle(token)

        screen.run_worker(run(), group="questions")

    def asked(self) -> None:
        """Say that no further dialog is to be expected."""
        self._typed.settle(self._token)

    def action_help(self) -> None:
        """Show the keys of where you are."""
        from qmon.tui.dialogs.help import HelpDialog

        if not isinstance(self.screen, HelpDialog):
            self.push_screen(HelpDialog(self.screen))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Fill the palette: what the keys of this place do, then themes and the end."""
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            what = active.binding.tooltip or active.binding.description
            if active.enabled and not active.binding.system and what and what not in seen:
                seen.add(what)
                yield SystemCommand(what, f"key: {active.binding.key}", _runner(self, active))
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)

    def _handle_exception(self, error: Exception) -> None:
        """End because of a mistake of ours, without Textual's pages of traceback: `run_app` tells it in short."""
        self.failure = self.failure or error
        super()._handle_exception(error)
        self._exit_renderables.clear()

    @property
    def terminal_behind(self) -> bool:
        """Whether the terminal takes no output at present, so that drawing would only pile up."""
        driver = self._driver
        if not isinstance(driver, PatientDriver):
            return False
        behind = driver.output.behind
        if driver.output.take_recovered():
            self.refresh(layout=True)
        return behind

    def end(self) -> None:
        """Leave now, without waiting for the terminal; for signals."""
        if isinstance(self._driver, PatientDriver) and self._driver.output.behind:
            self._driver.give_up()
        self.exit()


def _runner(app: QmonApp, active: Any) -> Any:
    async def run() -> None:
        await app.run_action(active.binding.action, active.node)

    return run
