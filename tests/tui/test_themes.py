"""Themes: everything can be read, on every ground it stands on."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import Theme

from qmon.tui.themes import DARK, FAMILIES, LIGHT, NO_COLOURS, SIXTEEN, THEMES, chosen

_STANDARD = {
    *("#000000", "#aa0000", "#00aa00", "#aa5500", "#0000aa", "#aa00aa", "#00aaaa", "#aaaaaa"),
    *("#555555", "#ff5555", "#55ff55", "#ffff55", "#5555ff", "#ff55ff", "#55ffff", "#ffffff"),
}


def _contrast(one: str, other: str) -> float:
    """Return the ratio that WCAG 2 defines: 1 (equal) to 21 (black and white)."""

    def luminance(colour: str) -> float:
        parts = [part / 255 for part in Color.parse(colour).rgb]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_everything_can_be_read(theme: Theme) -> None:
    colours = theme.variables
    words = [theme.foreground, theme.primary, theme.accent, theme.warning, theme.error, theme.success]
    words += [colours[f"qmon-{family}"] for family in FAMILIES]
    for ground in (theme.background, theme.surface):
        assert ground is not None
        for word in [*words, colours["qmon-dim"]]:
            assert word is not None
            assert _contrast(word, ground) >= 4.5, (word, ground)
        assert _contrast(colours["qmon-faint"], ground) >= 4, ground
    cursor = colours["block-cursor-background"]
    assert _contrast(colours["block-cursor-foreground"], cursor) >= 6
    for word in [*words, colours["qmon-dim"]]:
        assert word is not None
        assert _contrast(word, cursor) >= 3, word
    assert _contrast(cursor, str(theme.surface)) >= 1.3


def test_a_terminal_of_16_colours_gets_only_those_it_has() -> None:
    own = [
        SIXTEEN.primary,
        SIXTEEN.foreground,
        SIXTEEN.surface,
        SIXTEEN.error,
        SIXTEEN.warning,
        SIXTEEN.accent,
    ]
    own += [value for name, value in SIXTEEN.variables.items() if name.startswith("qmon-")]
    assert {value for value in own if value} <= _STANDARD


@pytest.mark.parametrize(
    ("environment", "color_system", "theme"),
    [
        ({}, "truecolor", DARK),
        ({"COLORFGBG": "15;0"}, "truecolor", DARK),
        ({"COLORFGBG": "0;default;15"}, "truecolor", LIGHT),
        ({"COLORFGBG": "0;15", "QMON_THEME": "dark"}, "256", DARK),
        ({"QMON_THEME": "light"}, "truecolor", LIGHT),
        ({"QMON_THEME": "pink"}, "truecolor", DARK),
        ({}, "standard", SIXTEEN),
        ({"NO_COLOR": "1"}, "standard", NO_COLOURS),
        ({"NO_COLOR": ""}, "truecolor", DARK),
    ],
)
def test_which_theme(environment: dict[str, str], color_system: str, theme: Theme) -> None:
    assert chosen(environment, color_system) is theme
