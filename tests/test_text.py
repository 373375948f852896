"""Text from outside is harmless once it is plain."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from qmon import text

# Every character there is, lone surrogates included: a JSON reply or a file name may hold any of them.
anything = st.text(alphabet=st.characters(exclude_categories=[]))


@given(anything)
def test_plain_holds_no_control_or_invisible_character(hostile: str) -> None:
    shown = text.plain(hostile)
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not [c for c in shown if unicodedata.bidirectional(c) in {"RLO", "LRO", "RLE", "LRE", "PDF"}]
    assert not [c for c in shown if unicodedata.bidirectional(c) in {"RLI", "LRI", "FSI", "PDI"}]
    shown.encode("utf-8")


@given(anything)
def test_plain_twice_is_plain_once(hostile: str) -> None:
    assert text.plain(text.plain(hostile)) == text.plain(hostile)


@given(st.binary())
def test_plain_bytes_is_plain(hostile: bytes) -> None:
    shown = text.plain_bytes(hostile)
    assert shown == text.plain(shown)


@given(anything)
def test_plain_lines_keeps_only_line_breaks(hostile: str) -> None:
    shown = text.plain_lines(hostile)
    assert [line for line in shown.split("\n") if line != text.plain(line)] == []
    assert shown.count("\n") == hostile.count("\n")


@given(anything, st.integers(0, 40))
def test_cut_fits(hostile: str, cells: int) -> None:
    assert text.width(text.cut(text.plain(hostile), cells)) <= cells


def test_what_people_read_stays_as_it_is() -> None:
    assert text.plain("Übertragung → 10.0.2.15 [bold]") == "Übertragung → 10.0.2.15 [bold]"


def test_escapes_are_shown() -> None:
    assert text.plain("\x1b[31mred\r\n\u202eabc") == "\\x1b[31mred\\r\\n\\u202eabc"


def test_wide_and_combining_characters_are_measured() -> None:
    assert text.width("日本") == 4
    assert text.width("e\u0301") == 1
    assert text.cut("日本語", 5) == "日本…"
