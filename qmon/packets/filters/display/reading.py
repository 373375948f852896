"""An expression cut into words and signs, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from qmon.packets.filters.selector import WrongExpression

LANGUAGE = "display filter"
HINT = 'the language is Wireshark\'s: ip.addr == 10.0.2.15 && tcp.port == 80, dns.qry.name contains "x", !arp'
MOST_CHARACTERS = 16_384
_WORD = r"[A-Za-z0-9_.:]+(?:-[A-Za-z0-9_.:]+)*(?:/\d+)?"
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>[rR]?"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)+')"""
    r"""|(?P<sign>===|!==|==|!=|~=|>=|<=|&&|\|\||\^\^|\.\.|[<>!~&()\[\]{},+*/%\#-])"""
    rf"""|(?P<word>{_WORD})|(?P<other>\S))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a sign, a string (its content in `text`) or the end, at a place of the expression."""

    kind: str
    text: str
    at: int
    raw: bool = False


class Reader:
    """Hands out the tokens of an expression one after the other."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        if len(expression) > MOST_CHARACTERS:
            raise WrongExpression(LANGUAGE, expression, f"it has {len(expression)} characters", hint=HINT)
        self.tokens = list(self._cut())
        self.place = 0

    @property
    def now(self) -> Token:
        """The next token."""
        return self.tokens[self.place]

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self.tokens[self.place]
        self.place += token.kind != "end"
        return token

    def taken(self, *texts: str) -> bool:
        """Go on if the next token is one of these words or signs."""
        if self.now.kind in ("word", "sign") and self.now.text in texts:
            self.place += 1
            return True
        return False

    def require(self, text: str) -> None:
        """Go behind a sign that must be here."""
        if not self.taken(text):
            self.wrong(f"{text!r} is missing")

    def wrong(self, reason: str, token: Token | None = None, hint: str = HINT) -> NoReturn:
        """Raise what is wrong at a token, or at the next one."""
        token = self.now if token is None else token
        raise WrongExpression(LANGUAGE, self.expression, reason, hint=hint, at=token.at, word=token.text)

    def slice_text(self) -> str:
        """Return what stands between the brackets whose first one was taken, and go behind them."""
        start = self.now.at
        while self.now.text != "]" or self.now.kind != "sign":
            if self.now.kind == "end":
                self.wrong("']' is missing")
            self.place += 1
        end = self.take().at
        return self.expression[start:end]

    def _cut(self) -> list[Token]:
        found = []
        at, text = 0, self.expression
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                break  # Only blanks are left.
            kind = match.lastgroup or "other"
            at, word = match.end(), match[kind]
            start = match.start(kind)
            if kind == "other":
                raise WrongExpression(LANGUAGE, text, "it is not understood", hint=HINT, at=start, word=word)
            if kind == "string":
                found.append(_string(word, start))
            elif kind == "word" and ".." in word:
                first, _, last = word.partition("..")
                parts = [("word", first, start), ("sign", "..", start + len(first))]
                parts.append(("word", last, start + len(first) + 2))
                found += [Token(kind, part, place) for kind, part, place in parts if part]
            else:
                found.append(Token(kind, word, start))
        found.append(Token("end", "", len(text)))
        return found


def _string(word: str, at: int) -> Token:
    if word[0] in "rR":
        return Token("string", word[2:-1], at, raw=True)
    text = _ESCAPE.sub(_unescaped, word[1:-1])
    return Token("string" if word[0] == '"' else "character", text, at)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code.isdigit() and code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _NAMED.get(code, code)
