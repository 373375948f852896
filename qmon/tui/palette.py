"""The styles that drawing widgets take from the theme that is on.

Must never decide what is shown, only how it looks; the colours themselves are the themes'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from textual.color import Color

from qmon.tui.themes import FAMILIES

if TYPE_CHECKING:
    from textual.app import App

_FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Palette:
    """Styles for drawing widgets; every one has a foreground only, so that rows keep their background."""

    text: Style
    strong: Style
    dim: Style
    faint: Style
    accent: Style
    good: Style
    warn: Style
    bad: Style
    incoming: Style
    outgoing: Style
    heading: Style
    track: Style
    thumb: Style
    recording: Style
    cursor: Style
    cursor_blurred: Style
    mark: Style
    stripe: Style
    families: Mapping[str, Style]

    def protocol(self, name: str) -> Style:
        """Return the colour of a protocol's name as Wireshark's column spells it."""
        return self.families.get(_FAMILY_OF.get(name, ""), self.text)


def palette_of(app: App[object]) -> Palette:
    """Return the styles of the app's current theme."""
    variables = app.theme_variables
    key = (app.theme, id(variables))
    known = _palettes.get(key)
    if known is None:
        _palettes.clear()
        known = _palettes[key] = _make(variables)
    return known


_palettes: dict[tuple[str, int], Palette] = {}


def _make(variables: Mapping[str, str]) -> Palette:
    def colour(name: str) -> Color:
        try:
            return Color.parse(variables[name])
        except (KeyError, ValueError):
            return Color.parse("ansi_default")

    foreground = colour("foreground")

    def fore(name: str) -> Style:
        return Style(color=colour(name).rich_color)

    def pair(front: str, back: str) -> Style:
        return Style(color=colour(front).rich_color, bgcolor=colour(back).rich_color)

    return Palette(
        text=Style(color=foreground.rich_color),
        strong=Style(color=foreground.rich_color, bold=True),
        dim=fore("qmon-dim"),
        faint=fore("qmon-faint"),
        accent=fore("accent"),
        good=fore("success"),
        warn=fore("warning"),
        bad=fore("error"),
        incoming=fore("accent"),
        outgoing=fore("primary"),
        heading=fore("qmon-dim") + Style(bold=True),
        track=fore("qmon-track"),
        thumb=fore("qmon-thumb"),
        recording=fore("error"),
        cursor=pair("block-cursor-foreground", "block-cursor-background"),
        cursor_blurred=pair("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
        mark=Style(color=colour("background").rich_color, bgcolor=colour("warning").rich_color),
        stripe=Style(bgcolor=colour("panel").rich_color),
        families={family: fore(f"qmon-{family}") for family in FAMILIES},
    )
