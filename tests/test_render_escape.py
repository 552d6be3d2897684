"""Nothing from a file reaches a terminal but visible characters."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports import report, row

from optinspect.checkpoint import Input
from optinspect.render import RENDERERS, Screen
from optinspect.render.escape import INVISIBLE, MAX_LENGTH, one_line, visible
from optinspect.report import Finding, Line, Location, Severity

HOSTILE = (
    "\x1b]0;title\x07",
    "\x1b[2J",
    "\x9b31m",
    "\x90q\x9c",
    "\u202egpj.exe",
    "\u2066a\u2069",
    "\u200bzero",
    "\ud800",
    "\udcff\udc80",
    "\r\nfake: ok",
    "\x00",
    "\x7f",
    "[/nope]",
    "[red]x",
    "\ufff9",
    "\U000e0041",
    "\u2028",
    "a\u034fb",
    "\u3164",
    "\ufe0f",
    "\x08\x08\x08",
    "%s{0}",
    "\\x1b",
)
STRINGS = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None), max_size=300))


def is_safe(text: str) -> bool:
    """By Unicode's own categories: no controls, formats, surrogates, private or unassigned, no line separators."""
    return all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in text)


@given(STRINGS)
@example("".join(HOSTILE))
def test_only_visible_characters_pass(text: str) -> None:
    shown = visible(text, None)
    assert is_safe(shown)
    assert INVISIBLE.isdisjoint(shown)
    shown.encode("utf-8")


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=MAX_LENGTH))
def test_what_is_visible_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("name", ["层.0.权重", "encoder.café.weight", "β1", "модель.вес", "emb_🙂"])
def test_names_in_any_script_stay(name: str) -> None:
    assert visible(name) == name


def test_escapes_are_those_of_python() -> None:
    assert visible("a\x1b\n\x85\u202e\ud800\U000e0041") == "a\\x1b\\n\\x85\\u202e\\ud800\\U000e0041"


def test_a_long_string_is_cut_and_says_so() -> None:
    shown = visible("a" * 1_000_000)
    assert len(shown) <= MAX_LENGTH
    assert shown.endswith("… (1,000,000 characters)")


@given(STRINGS, st.integers(60, 200))
def test_an_error_is_one_line(text: str, limit: int) -> None:
    line = one_line(text * 3, limit)
    assert len(line) <= limit
    assert is_safe(line)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda each: each.name)
@pytest.mark.parametrize("colour", [False, True])
@given(text=STRINGS)
@example(text="".join(HOSTILE))
def test_no_renderer_lets_anything_through(renderer: object, colour: bool, text: str) -> None:
    """A string from the file in every place that a report has one."""
    base = report()
    sick = replace(
        base,
        inputs=(Input("checkpoint", text, "torch-zip", text, 1),),
        tables=(replace(base.tables[0], rows=[row(0, text, slots=[text], settings={text: [text]}, key=text)]),),
        findings=(Finding("OI101", "t", Severity.ERROR, text, Location("checkpoint", text, text), text),),
        headline=(Line("model", text),),
        footer=(Line("note", text, Severity.WARNING),),
        next_command=None,
        summary={"opaque": [text]},
    )
    printed = renderer.render(sick, Screen(width=100, colour=colour))
    plain = printed
    for code in ("0", "1", "2", "1;4", "31", "33", "36"):
        plain = plain.replace(f"\x1b[{code}m", "") if colour and renderer.name == "table" else plain
    assert is_safe(plain.replace("\n", ""))
    printed.encode("utf-8")
    if renderer.name == "json":
        json.loads(printed)


def test_a_screen_without_unicode_gets_ascii() -> None:
    for encoding in ("ascii", "latin-1", "no-such-encoding"):
        printed = next(each for each in RENDERERS if each.name == "table").render(
            report(), Screen(width=100, encoding=encoding)
        )
        assert printed.isascii()
