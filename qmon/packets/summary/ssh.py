"""SSH in one TCP segment (RFC 4253, 4419, 8731): the banner, the messages before the keys are there, and the rest.

A message that is not encrypted says so itself: its length, its padding and its number fit each other.
"""

from __future__ import annotations

from qmon.packets.summary.line import Line

PORT = 22
_MESSAGES = {
    1: "Disconnect", 2: "Ignore", 3: "Unimplemented", 4: "Debug", 20: "Key Exchange Init", 21: "New Keys",
    30: "Key Exchange Method Init", 31: "Key Exchange Method Reply", 32: "Diffie-Hellman Group Exchange Init",
    33: "Diffie-Hellman Group Exchange Reply", 34: "Diffie-Hellman Group Exchange Request",
}  # fmt: skip
_MAX_NAMED = 6
# RFC 4253 6.1 asks of everybody to take 35,000; a Key Exchange Init is far shorter.
_MAX_PACKET = 35_000


def banner(line: Line, at: int, source: int, destination: int) -> None:
    """Word the line with which either side begins."""
    if line.talk is not None and line.data.startswith((b"SSH-2", b"SSH-1.99"), at):
        line.talk.ssh = True
    # Most clients speak first, and one side's banner alone settles no version.
    side = _side(source, destination)
    line.set("SSH" if side == "Client" else "SSHv2", f"{side}: Protocol ({line.text_line(at)})")


def packets(line: Line, at: int, source: int, destination: int) -> None:
    """Word what follows the banners on SSH's port."""
    words: list[str] = []
    goes_on = False
    while at + 6 <= len(line.data) and len(words) < _MAX_NAMED:
        size, padding, number = line.u32(at), line.data[at + 4], line.data[at + 5]
        sound = number in _MESSAGES and 4 <= padding < size - 1 and (size + 4) % 8 == 0
        if not sound or size > _MAX_PACKET:
            break
        if goes_on := at + 4 + size > line.end:
            break
        words.append(_MESSAGES[number])
        at += 4 + size
    if at < line.end and not goes_on:
        if not words and line.data[at : at + 16].isascii():
            return  # Whoever speaks here does not encrypt.
        words.append(f"Encrypted packet (len={line.end - at})")
    if words:
        # Without the banners the version is known only of what is not encrypted.
        known = (line.talk is not None and line.talk.ssh) or words[0] in _MESSAGES.values()
        line.set("SSHv2" if known else "SSH", f"{_side(source, destination)}: {', '.join(words)}")


def _side(source: int, destination: int) -> str:
    return "Server" if source == PORT and destination != PORT else "Client"
