"""From words to tests, by recursive descent: or, xor, and, not, relations, arithmetic, operands.

Knows the grammar of Wireshark 4 (epan/dfilter/grammar.lemon; man wireshark-filter). Every error says where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from qmon.packets.fields.field import NUMBERS, Field, Kind
from qmon.packets.fields.registry import fields, nearest
from qmon.packets.filters.display import literals
from qmon.packets.filters.display.literals import Literal
from qmon.packets.filters.display.reading import HINT, Reader, Token
from qmon.packets.filters.display.relations import Compare, Contains, Exists, In, Joined, Matches, Not, Test
from qmon.packets.filters.display.values import (
    FUNCTIONS,
    Arithmetic,
    Call,
    Constant,
    FieldValue,
    Operand,
    Range,
    Slice,
)

MOST_DEPTH = 100
_SIGNS = {
    "==": "==", "eq": "==", "any_eq": "==", "===": "===", "all_eq": "===", "!=": "!=", "ne": "!=", "all_ne": "!=",
    "~=": "~=", "!==": "~=", "any_ne": "~=", ">": ">", "gt": ">", "<": "<", "lt": "<", ">=": ">=", "ge": ">=",
    "<=": "<=", "le": "<=", "contains": "contains", "matches": "matches", "~": "matches", "in": "in",
}  # fmt: skip
_KEYWORDS = frozenset({*_SIGNS, "and", "or", "xor", "not", "any", "all", "bitand"})
_SLICE = re.compile(r"\s*(?:(-?\d+)\s*:\s*(\d+)|(-?\d+)\s*-\s*(-?\d+)|(-?\d+)\s*:|:\s*(\d+)|(-?\d+))\s*\Z")


def parse(expression: str) -> Test:
    """Return what an expression means; WrongExpression if it means nothing."""
    return _Grammar(Reader(expression)).whole()


class _Grammar:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._depth = 0

    def whole(self) -> Test:
        test = self._either()
        if self._reader.now.kind != "end":
            self._reader.wrong("nothing joins it to what is before it")
        return test

    def _either(self) -> Test:
        return self._joined("or", ("or", "||"), self._one_of_two)

    def _one_of_two(self) -> Test:
        return self._joined("xor", ("xor", "^^"), self._both)

    def _both(self) -> Test:
        return self._joined("and", ("and", "&&"), self._negated)

    def _joined(self, word: str, signs: tuple[str, ...], part: Callable[[], Test]) -> Test:
        parts = [part()]
        while self._reader.taken(*signs):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _negated(self) -> Test:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self._reader.wrong("it is nested too deeply")
        try:
            if self._reader.taken("not", "!"):
                return Not(self._negated())
            return self._relation()
        finally:
            self._depth -= 1

    def _relation(self) -> Test:
        if self._reader.now.text == "(" and not self._is_arithmetic():
            self._reader.take()
            test = self._either()
            self._reader.require(")")
            return test
        every: bool | None = None
        if self._reader.now.text in ("any", "all") and self._next_is_operand():
            every = self._reader.take().text == "all"
        left = self._sum()
        tests: list[Test] = []
        while True:
            negated = (
                self._reader.now.text == "not" and self._reader.tokens[self._reader.place + 1].text == "in"
            )
            if negated:
                self._reader.take()
            sign = _SIGNS.get(self._reader.now.text) if self._reader.now.kind in ("word", "sign") else None
            if sign is None:
                break
            place = self._reader.take()
            if sign == "in":
                tests.append(self._members(left, negated=negated, every=bool(every)))
            elif sign in ("contains", "matches"):
                tests.append(self._text_test(left, sign, bool(every)))
            else:
                right = self._sum()
                tests.append(self._compare(sign, left, right, every, place))
                left = right
        if not tests:
            if isinstance(left, _Unread):
                self._unknown(left.token)
            return Exists(left)
        return tests[0] if len(tests) == 1 else Joined("and", tuple(tests))

    def _next_is_operand(self) -> bool:
        following = self._reader.tokens[self._reader.place + 1]
        return following.kind == "word" and following.text not in _KEYWORDS

    def _is_arithmetic(self) -> bool:
        """Say whether the parenthesis here holds an operand: what follows its end is an operator or a relation."""
        depth = 0
        for token in self._reader.tokens[self._reader.place :]:
            depth += (token.text in ("(", "{")) - (token.text in (")", "}")) if token.kind == "sign" else 0
            if depth == 0:
                place = self._reader.tokens.index(token) + 1
                following = self._reader.tokens[place]
                return following.text in _SIGNS or following.text in ("&", "+", "-", "*", "/", "%")
        return False

    # Operands

    def _sum(self) -> Operand:
        left = self._product()
        while self._reader.now.kind == "sign" and self._reader.now.text in ("+", "-"):
            left = self._arithmetic(left, self._reader.take(), self._product())
        return left

    def _product(self) -> Operand:
        left = self._bits()
        while self._reader.now.kind == "sign" and self._reader.now.text in ("*", "/", "%"):
            left = self._arithmetic(left, self._reader.take(), self._bits())
        return left

    def _bits(self) -> Operand:
        left = self._operand()
        while self._reader.taken("&", "bitand"):
            left = self._arithmetic(left, Token("sign", "&", self._reader.now.at), self._operand())
        return left

    def _arithmetic(self, left: Operand, sign: Token, right: Operand) -> Operand:
        kind = right.kind if isinstance(left, _Unread) else left.kind
        left, right = self._read(left, Kind.NUMBER), self._read(right, Kind.NUMBER)
        if kind not in NUMBERS and kind is not Kind.BYTES:
            self._reader.wrong(f"{kind.value} cannot be calculated with", sign)
        return Arithmetic(sign.text, left, right)

    def _operand(self) -> Operand:
        token = self._reader.take()
        if token.kind == "sign" and token.text == "(":
            inner = self._sum()
            self._reader.require(")")
            return inner
        if token.kind == "sign" and token.text == "-" and self._reader.now.kind == "word":
            number = self._reader.take()
            return _Unread(Token("word", f"-{number.text}", token.at))
        if token.kind in ("string", "character"):
            return _Unread(token)
        if token.kind != "word":
            self._reader.place -= token.kind != "end"
            self._reader.wrong("a field or a value is missing here")
        if token.text in _KEYWORDS:
            self._reader.wrong("a field or a value is missing before it", token)
        if token.text in FUNCTIONS and self._reader.now.text == "(":
            return self._sliced(self._call(token))
        known = fields().get(token.text)
        if known is None:
            if self._reader.now.text in ("[", "#"):
                self._unknown(token)
            return _Unread(token)
        layer = self._layer() if self._reader.taken("#") else None
        return self._sliced(FieldValue(known, layer))

    def _layer(self) -> int:
        token = self._reader.take()
        text = token.text if token.text != "-" else "-" + self._reader.take().text
        number = literals.number(text)
        if not number:
            self._reader.wrong("the number of a layer is missing here, such as 1 or -1", token)
        return number

    def _call(self, name: Token) -> Operand:
        self._reader.require("(")
        of = self._sum()
        if isinstance(of, _Unread):
            self._unknown(of.token)
        self._reader.require(")")
        if name.text in ("upper", "lower") and of.kind is not Kind.STRING:
            self._reader.wrong(f"{name.text} takes text", name)
        return Call(name.text, of)

    def _sliced(self, of: Operand) -> Operand:
        while self._reader.taken("["):
            at = self._reader.now
            ranges = []
            for part in self._reader.slice_text().split(","):
                match = _SLICE.match(part)
                if match is None:
                    self._reader.wrong(
                        "a slice is [start:length], [first-last], [start:], [:length] or [place]", at
                    )
                ranges.append(_range(match))
            if of.kind in NUMBERS:
                self._reader.wrong(f"a {of.kind.value} cannot be sliced", at)
            of = Slice(of, tuple(ranges))
        return of

    # Relations

    def _compare(self, sign: str, left: Operand, right: Operand, every: bool | None, place: Token) -> Test:
        if isinstance(left, _Unread) and isinstance(right, _Unread):
            self._unknown(left.token)
        left, right = self._read(left, right.kind, right), self._read(right, left.kind, left)
        if isinstance(left, Constant) and not isinstance(right, Constant):
            left, right = right, left
            sign = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(sign, sign)
        if sign in ("<", ">", "<=", ">=") and left.kind is Kind.PROTOCOL:
            self._reader.wrong("a protocol cannot be compared so", place)
        usual = {"===": ("==", True), "!=": ("!=", True), "~=": ("!=", False)}
        sign, whole = usual.get(sign, (sign, False))
        return Compare(sign, left, right, whole if every is None else every)

    def _text_test(self, left: Operand, sign: str, every: bool) -> Test:
        if isinstance(left, _Unread):
            self._unknown(left.token)
        token = self._reader.take()
        if token.kind not in ("word", "string", "character"):
            self._reader.wrong("a text is missing here", token)
        if left.kind in NUMBERS:
            self._reader.wrong(f"{left.fields[0].name} is a {left.kind.value}: it contains nothing", token)
        if sign == "matches":
            pattern = token.text if token.raw or token.kind == "word" else self._as_written(token)
            try:
                return Matches(
                    left, re.compile(pattern.encode("utf-8", "surrogateescape"), re.IGNORECASE), every
                )
            except re.error as problem:
                self._reader.wrong(f"it is no regular expression: {problem}", token)
        kind = Kind.STRING if left.kind is Kind.STRING else Kind.BYTES
        literal = literals.read(token.text, kind, None, quoted=token.kind != "word")
        if literal is None:
            literal = Literal(token.text.encode())
        return Contains(left, literal, every)

    def _as_written(self, token: Token) -> str:
        """Return a string without its escapes undone: those that are left are the regular expression's."""
        start = token.at + 1
        stop = start
        text = self._reader.expression
        while text[stop] != '"':
            stop += 2 if text[stop] == "\\" else 1
        return text[start:stop].replace("\\\\", "\\")

    def _members(self, left: Operand, *, negated: bool, every: bool) -> Test:
        if isinstance(left, _Unread):
            self._unknown(left.token)
        self._reader.require("{")
        members = []
        while not self._reader.taken("}"):
            first = self._literal(left)
            last = self._literal(left) if self._reader.taken("..") else None
            members.append((first, last))
            self._reader.taken(",")
        if not members:
            self._reader.wrong("the set is empty", self._reader.tokens[self._reader.place - 1])
        test = In(left, tuple(members), every=every)
        return Not(test) if negated else test

    def _literal(self, left: Operand) -> Literal:
        token = self._reader.take()
        if token.text == "-" and token.kind == "sign":
            token = Token("word", "-" + self._reader.take().text, token.at)
        if token.kind not in ("word", "string", "character"):
            self._reader.wrong("a value is missing here", token)
        return self._constant(token, left.kind, left).literal

    def _read(self, operand: Operand, kind: Kind, other: Operand | None = None) -> Operand:
        if not isinstance(operand, _Unread):
            return operand
        return self._constant(operand.token, kind, other)

    def _constant(self, token: Token, kind: Kind, other: Operand | None) -> Constant:
        field = other.fields[0] if isinstance(other, FieldValue) else None
        quoted = token.kind == "string"
        text = token.text
        if token.kind == "character" and kind in NUMBERS:
            text = str(ord(text[0]))
        literal = literals.read(text, kind, field, quoted=quoted)
        if literal is None:
            name = field.name if field is not None else "this side"
            self._reader.wrong(
                f"{name} takes {_article(kind)}, which this is not", token, _example(kind, field)
            )
        return Constant(literal, kind)

    def _unknown(self, token: Token) -> NoReturn:
        close = nearest(token.text)
        reason = (
            f"there is no field {token.text!r}"
            if token.kind == "word"
            else "there is no field to compare it with"
        )
        self._reader.wrong(
            reason, token, f"did you mean {close}?" if close and token.kind == "word" else HINT
        )


class _Unread(Operand):
    """A word or string of which it is not known yet what it is to be."""

    kind = Kind.STRING
    fields = ()

    def __init__(self, token: Token) -> None:
        self.token = token

    def values(self, packet: object) -> tuple[str, ...]:  # noqa: ARG002
        """See `Operand`."""
        return (self.token.text,)


def _range(match: re.Match[str]) -> Range:
    start, size, first, last, from_start, to_size, single = match.groups()
    if start is not None:
        return Range(int(start), int(size))
    if first is not None:
        return Range(int(first), int(last) - int(first) + 1)
    if from_start is not None:
        return Range(int(from_start), None)
    return Range(0, int(to_size)) if to_size is not None else Range(int(single), 1)


def _article(kind: Kind) -> str:
    return (
        kind.value
        if kind in (Kind.BYTES, Kind.STRING, Kind.SECONDS)
        else f"a{'n' * (kind.value[0] in 'aeIi')} {kind.value}"
    )


def _example(kind: Kind, field: Field | None) -> str:
    if field is not None and field.names:
        return "such as " + ", ".join(list(field.names.values())[:4])
    examples = {
        Kind.IPV4: "such as 10.0.2.15 or 10.0.0.0/8", Kind.IPV6: "such as fec0::2 or fe80::/10",
        Kind.ETHER: "such as 52:54:00:12:34:56", Kind.BYTES: "such as 52:54:00", Kind.TRUTH: "0 or 1",
        Kind.SECONDS: "such as 1.5", Kind.PROTOCOL: "such as 52:54:00",
    }  # fmt: skip
    return examples.get(kind, "such as 80 or 0x50")
