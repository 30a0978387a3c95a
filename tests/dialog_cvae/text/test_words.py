"""Words by Unicode's rules, in scripts with and without spaces."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.limits import normal
from dialog_cvae.text.words import between_words, normalised, same_words, seen_words, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Uh-huh, it's 3.5%!", ["uh", "huh", "it", "s", "3", "5"]),
        ("तुम आ गए", ["तुम", "आ", "गए"]),
        ("நான் வருகிறேன்", ["நான்", "வருகிறேன்"]),
        ("ฉันไป", ["ฉั", "น", "ไ", "ป"]),
        ("ភាសា", ["ភា", "សា"]),
        ("我去学校ok12了", ["我", "去", "学", "校", "ok12", "了"]),
        ("東京へ行きソーシャルメディア", ["東", "京", "へ", "行", "き", "ソーシャルメディア"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("한국어 문장입니다.", ["한국어", "문장입니다"]),
        ("ok 👍🏽👨\u200d👩\u200d👧\u200d👦🇩🇪🇫🇷 1️⃣", ["ok", "👍🏽", "👨\u200d👩\u200d👧\u200d👦", "🇩🇪", "🇫🇷", "1️⃣"]),
        ("½ cup", ["½", "cup"]),
        ("Straße ÉTÉ", ["strasse", "été"]),
        ("?! ... —", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
@settings(derandomize=True, deadline=None)
def test_words_are_those_of_any_composition_of_the_same_characters(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\uff9e\u0323", "\uff9f\u0334"])
def test_endless_marks_take_no_long_time(marks: str) -> None:
    text = "a" + marks * 50_000
    began = time.process_time()
    assert words(text) == seen_words(text) == list(same_words(text)) == [text]
    between_words(text)
    assert time.process_time() - began < 1


def test_endless_marks_hide_no_other_word() -> None:
    marks = "a" + "\u0301" * 65
    assert seen_words(f"\uff44\uff41\uff4d\uff4e {marks} nai\u0308ve{marks}") == ["damn", marks, f"naïve{marks}"]
    assert words(f"nai\u0308ve {marks} nai\u0308ve") == ["naïve", marks, "naïve"]


@given(st.text(st.sampled_from("a\u0308\u0301\u0323\u0344\uff9e\u00b4\uff44 "), max_size=200))
def test_normal_forms_are_those_of_unicode_or_stay(text: str) -> None:
    for form in ("NFC", "NFKC"):
        found = normal(text, form)
        assert normal(found, form) == found
        if not re.search(r"[\u0308\u0301\u0323\u0344\uff9e]{65}", text):
            assert found == unicodedata.normalize(form, text)


def test_replies_without_words_differ_by_their_characters() -> None:
    assert normalised("?!") == "?!" != normalised("...")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_Damn_ it", ["damn", "it"]),
        ("snake_case", ["snake", "case"]),
        ("da\u200bm\u00adn", ["damn"]),
        ("\uff44\uff41\uff4d\uff4e", ["damn"]),
        ("❤️ ❤ 👍🏽", ["❤", "❤", "👍"]),
        ("👩🏽\u200d💻", ["👩\u200d💻"]),
        ("da\u034fm\u3164n", ["damn"]),
    ],
)
def test_words_as_a_reader_sees_them(text: str, expected: list[str]) -> None:
    assert seen_words(text) == expected


ENGLAND, WALES = ("🏴" + "".join(chr(0xE0000 + ord(c)) for c in name) + "\U000e007f" for name in ("gbeng", "gbwls"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's _really_ nice.", "it's REALLY nice"),
        ("OK 👍🏼", "ok, 👍"),
        ("Well - yes.", "well yes"),
        ("C#.", "c#"),
    ],
)
def test_replies_that_count_as_the_same(one: str, other: str) -> None:
    assert same_words(one) == same_words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("€50", "$50"),
        ("-5 degrees", "5 degrees"),
        ("C++", "C#"),
        ("1.5 km", "15 km"),
        ("5%", "5"),
        ("1.5", "1 5"),
        (ENGLAND, WALES),
    ],
)
def test_signs_that_change_what_is_said(one: str, other: str) -> None:
    assert same_words(one) != same_words(other)
