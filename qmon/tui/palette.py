"""The dashboard's colours: one theme, and the styles that drawing widgets take from whatever theme is on.

Owns every colour that is not in a style sheet. Must never decide what is shown, only how it looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

if TYPE_CHECKING:
    from textual.app import App

QMON_THEME = Theme(
    name="qmon",
    primary="#7cb7ff",
    secondary="#8fa3b8",
    accent="#6fd3c0",
    success="#86cf8e",
    warning="#e3bf6d",
    error="#f27d85",
    foreground="#cfd6de",
    background="#0f1318",
    surface="#141a21",
    panel="#1d2530",
    boost="#1d2530",
    dark=True,
    variables={
        "border": "#2b3643",
        "border-blurred": "#232c37",
        "block-cursor-background": "#25405f",
        "block-cursor-foreground": "#eef4fb",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#1f2a37",
        "block-cursor-blurred-foreground": "#cfd6de",
        "block-cursor-blurred-text-style": "none",
        "footer-background": "#0f1318",
        "footer-key-foreground": "#7cb7ff",
        "footer-description-foreground": "#8fa3b8",
        "input-selection-background": "#7cb7ff 30%",
        "input-cursor-background": "#cfd6de",
        "scrollbar": "#2b3643",
        "scrollbar-hover": "#3a4857",
        "scrollbar-active": "#7cb7ff",
        "scrollbar-background": "#141a21",
        "scrollbar-background-hover": "#141a21",
        "scrollbar-background-active": "#141a21",
    },
)

# What a protocol's name is coloured by: families rather than single protocols, so that a screen stays calm.
_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "address": ("ARP", "RARP", "ICMPv6-NDP"),
    "configuration": ("DHCP", "DHCPv6", "BOOTP"),
    "control": ("ICMP", "ICMPv6", "IGMPv2", "IGMPv3", "IGMP", "MLDv2"),
    "name": ("DNS", "MDNS", "LLMNR", "NBNS", "SSDP"),
    "stream": ("TCP", "SCTP", "RDP", "SSH", "SSHv2", "SMB", "SMB2", "Telnet"),
    "datagram": ("UDP", "NTP", "RADIUS", "Syslog", "SNMP", "VXLAN", "STUN"),
    "text": ("HTTP", "HTTP/XML", "HTTP/JSON", "FTP", "SMTP", "IMAP", "POP", "RTSP", "SIP"),
    "secret": ("TLSv1", "TLSv1.2", "TLSv1.3", "TLS", "SSL", "QUIC", "ESP", "WireGuard", "DTLS"),
    "file": ("TFTP", "NFS", "iSCSI", "NBD"),
}
_FAMILY_OF = {name: family for family, names in _FAMILIES.items() for name in names}
_FAMILY_COLOURS: Mapping[str, str] = {
    "address": "#d8b979",
    "configuration": "#bda4ea",
    "control": "#e29ec1",
    "name": "#79cbd8",
    "stream": "#8bb4ec",
    "datagram": "#a5bed6",
    "text": "#93cf8c",
    "secret": "#63c7ad",
    "file": "#e0a77c",
}


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
    dark: bool

    def protocol(self, name: str) -> Style:
        """Return the colour of a protocol's name as Wireshark's column spells it."""
        family = _FAMILY_OF.get(name)
        if family is None:
            return self.text
        return _on_theme(_FAMILY_COLOURS[family], self.dark)


_cache: dict[tuple[str, bool], Style] = {}


def _on_theme(colour: str, dark: bool) -> Style:
    key = (colour, dark)
    if key not in _cache:
        parsed = Color.parse(colour)
        _cache[key] = Style(color=(parsed if dark else parsed.darken(0.35)).rich_color)
    return _cache[key]


def palette_of(app: App[object]) -> Palette:
    """Return the styles of the app's current theme."""
    variables = app.theme_variables
    key = (app.theme, id(variables))
    known = _palettes.get(key)
    if known is None:
        _palettes.clear()
        known = _palettes[key] = _make(variables, app.current_theme.dark)
    return known


_palettes: dict[tuple[str, int], Palette] = {}


def _make(variables: Mapping[str, str], dark: bool) -> Palette:
    def colour(name: str) -> Color:
        try:
            return Color.parse(variables[name])
        except (KeyError, ValueError):
            return Color.parse("ansi_default")

    foreground, background = colour("foreground"), colour("background")

    def mixed(share: float) -> Style:
        if foreground.ansi is not None or background.ansi is not None:
            return Style(dim=share < 0.8)
        return Style(color=background.blend(foreground, share).rich_color)

    def fore(name: str) -> Style:
        return Style(color=colour(name).rich_color)

    def pair(front: str, back: str) -> Style:
        return Style(color=colour(front).rich_color, bgcolor=colour(back).rich_color)

    return Palette(
        text=Style(color=foreground.rich_color),
        strong=Style(color=foreground.rich_color, bold=True),
        dim=mixed(0.62),
        faint=mixed(0.36),
        accent=fore("accent"),
        good=fore("success"),
        warn=fore("warning"),
        bad=fore("error"),
        incoming=fore("accent"),
        outgoing=fore("primary"),
        heading=mixed(0.62) + Style(bold=True),
        track=mixed(0.16),
        thumb=mixed(0.42),
        recording=fore("error"),
        cursor=pair("block-cursor-foreground", "block-cursor-background"),
        cursor_blurred=pair("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
        mark=Style(color=colour("background").rich_color, bgcolor=colour("warning").rich_color),
        stripe=Style(bgcolor=colour("panel").rich_color),
        dark=dark,
    )
