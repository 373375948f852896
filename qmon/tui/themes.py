"""The dashboard's themes: dark, light, for terminals of 16 colours, and for those that want none.

Owns every colour. Protocols are coloured as people know them from Wireshark's default rules, as letters rather than
as bars: TCP lavender, UDP blue, HTTP green, ICMP pink, ARP sand; a reset is red. `chosen` says which theme is meant for
a terminal. What a theme needs beside Textual's own variables has names that begin with `qmon-`.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

# Families rather than single protocols, so that a screen stays calm. Names as Wireshark's column spells them.
FAMILIES: Mapping[str, tuple[str, ...]] = {
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


def _theme(
    name: str,
    *,
    dark: bool,
    grounds: tuple[str, str, str],
    texts: tuple[str, str, str],
    lines: tuple[str, str],
    cursor: tuple[str, str],
    blurred: tuple[str, str],
    roles: Mapping[str, str],
    families: Mapping[str, str],
) -> Theme:
    """Make a theme of a few colours.

    `grounds` are background, surface and panel; `texts` text, dim and faint; `lines` tracks and thumbs of scroll bars;
    `cursor` and `blurred` text and ground of the selected row; `roles` Textual's accents; `families` FAMILIES' colours.
    """
    background, surface, panel = grounds
    text, dim, faint = texts
    track, thumb = lines
    variables = {
        "border": track,
        "border-blurred": track,
        "block-cursor-foreground": cursor[0],
        "block-cursor-background": cursor[1],
        "block-cursor-text-style": "none",
        "block-cursor-blurred-foreground": blurred[0],
        "block-cursor-blurred-background": blurred[1],
        "block-cursor-blurred-text-style": "none",
        "footer-background": background,
        "footer-key-foreground": roles["primary"],
        "footer-description-foreground": dim,
        "input-selection-background": f"{roles['primary']} 30%",
        "input-cursor-background": text,
        "input-cursor-foreground": background,
        "scrollbar": track,
        "scrollbar-hover": thumb,
        "scrollbar-active": roles["primary"],
        "scrollbar-background": surface,
        "scrollbar-background-hover": surface,
        "scrollbar-background-active": surface,
        "qmon-dim": dim,
        "qmon-faint": faint,
        "qmon-track": track,
        "qmon-thumb": thumb,
        **{f"qmon-{family}": colour for family, colour in families.items()},
    }
    return Theme(
        name=name,
        dark=dark,
        foreground=text,
        background=background,
        surface=surface,
        panel=panel,
        boost=panel,
        secondary=dim,
        variables=variables,
        **roles,  # type: ignore[arg-type]
    )


DARK = _theme(
    "qmon-dark",
    dark=True,
    grounds=("#0f1318", "#141a21", "#1d2530"),
    texts=("#cfd6de", "#94a3b3", "#788696"),
    lines=("#2b3643", "#5b6978"),
    cursor=("#eef4fb", "#25405f"),
    blurred=("#cfd6de", "#1f2a37"),
    roles={
        "primary": "#7cb7ff",
        "accent": "#6fd3c0",
        "success": "#86cf8e",
        "warning": "#e3bf6d",
        "error": "#f27d85",
    },
    families={
        "address": "#d8c08a",
        "configuration": "#6fc7b7",
        "control": "#e79ac4",
        "name": "#79cbe0",
        "stream": "#b9a9f2",
        "datagram": "#86b6f2",
        "text": "#93cf8c",
        "secret": "#cf9ae8",
        "file": "#e0a77c",
    },
)
LIGHT = _theme(
    "qmon-light",
    dark=False,
    grounds=("#eef1f5", "#fbfcfe", "#e3e8ef"),
    texts=("#1f2933", "#4b5865", "#687684"),
    lines=("#cbd3dc", "#8b98a6"),
    cursor=("#0b1b30", "#bcd7f7"),
    blurred=("#1f2933", "#dde6f0"),
    roles={
        "primary": "#0b57b0",
        "accent": "#00695c",
        "success": "#216e2b",
        "warning": "#805100",
        "error": "#b3202c",
    },
    families={
        "address": "#7a5800",
        "configuration": "#006b5e",
        "control": "#a3246b",
        "name": "#00657a",
        "stream": "#5538b5",
        "datagram": "#0b57b0",
        "text": "#216e2b",
        "secret": "#85219e",
        "file": "#96450c",
    },
)
# The colours such terminals have, so that none is replaced by a neighbour (Rich's standard palette). Bright black is
# for lines only: on many terminals it can hardly be read.
SIXTEEN = _theme(
    "qmon-16-colours",
    dark=True,
    grounds=("#000000", "#000000", "#555555"),
    texts=("#ffffff", "#aaaaaa", "#aaaaaa"),
    lines=("#555555", "#aaaaaa"),
    cursor=("#ffffff", "#0000aa"),
    blurred=("#ffffff", "#555555"),
    roles={
        "primary": "#55ffff",
        "accent": "#55ff55",
        "success": "#55ff55",
        "warning": "#ffff55",
        "error": "#ff5555",
    },
    families={
        "address": "#ffff55",
        "configuration": "#00aaaa",
        "control": "#ff55ff",
        "name": "#00aaaa",
        "stream": "#ffffff",
        "datagram": "#55ffff",
        "text": "#55ff55",
        "secret": "#ff55ff",
        "file": "#ffff55",
    },
)
# Textual turns colours into greys where NO_COLOR is set: these are greys that stay apart.
NO_COLOURS = _theme(
    "qmon-no-colours",
    dark=True,
    grounds=("#000000", "#0c0c0c", "#2a2a2a"),
    texts=("#e4e4e4", "#c0c0c0", "#c0c0c0"),
    lines=("#4e4e4e", "#949494"),
    cursor=("#ffffff", "#5a5a5a"),
    blurred=("#ffffff", "#3a3a3a"),
    roles={
        "primary": "#e4e4e4",
        "accent": "#c6c6c6",
        "success": "#e4e4e4",
        "warning": "#ffffff",
        "error": "#ffffff",
    },
    families=dict.fromkeys(FAMILIES, "#e4e4e4"),
)
THEMES = (DARK, LIGHT, SIXTEEN, NO_COLOURS)
_SHORT = {"dark": DARK, "light": LIGHT, "16": SIXTEEN, "none": NO_COLOURS}
_FEW_COLOURS = ("standard", "windows")


def chosen(environment: Mapping[str, str], color_system: str | None) -> Theme:
    """Return the theme for a terminal: the user's ($QMON_THEME: dark, light, 16, none), else one that suits it.

    `color_system` is Rich's word for what the terminal can. $COLORFGBG, which some terminals set, ends with the
    background's number among 16.
    """
    wanted = _SHORT.get(environment.get("QMON_THEME", ""))
    if wanted is not None:
        return wanted
    if environment.get("NO_COLOR"):
        return NO_COLOURS
    if color_system in _FEW_COLOURS:
        return SIXTEEN
    return LIGHT if environment.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else DARK
