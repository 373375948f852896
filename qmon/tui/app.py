"""The dashboard's app: theme, keys that work everywhere, and an orderly end.

Owns nothing else: screens are told what they show, panes draw it.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine
from pathlib import PurePath
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import Theme

from qmon.tui.dialogs.box import Dialog
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
    # There is one of our own.
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+q", "quit", "Quit", show=False),
        Binding("ctrl+p", "actions", "Actions", show=False, priority=True),
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

    def action_actions(self) -> None:
        """Offer everything that can be done here by its name, and the themes."""
        if not isinstance(self.screen, Dialog):
            self.ask(self.screen, self._actions(self.screen))

    async def _actions(self, screen: Screen[Any]) -> None:
        from qmon.tui.dialogs.actions import Action, ActionsDialog
        from qmon.tui.keys import keys_of

        actions = [Action(key.what, key.name, key.active) for key in keys_of(screen)]
        actions += [Action(f"Colours: {theme.name.removeprefix('qmon-')}", "", theme) for theme in THEMES]
        chosen = await self.push_screen_wait(ActionsDialog(actions))
        self.asked()
        if isinstance(chosen, Theme):
            self.theme = chosen.name
        elif chosen is not None:
            await self.run_action(chosen.binding.action, chosen.node)

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
