"""Names that are the same in another spelling, and text that a person can see."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog_cvae.limits import find_name, folded, normal, visible

TOPICS = ("İade", "Iade sorunu", "Cafe\u0301", "IŞIK", "straße", "PETS", "pets")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("iade", "İade"),
        ("IADE", "İade"),
        ("i\u0307ade", "İade"),
        ("ıade sorunu", "Iade sorunu"),
        ("Caf\u00e9", "Cafe\u0301"),
        ("CAF\u00c9 ", "Cafe\u0301"),
        ("ışık", "IŞIK"),
        ("STRASSE", "straße"),
        ("pets", "pets"),
        ("Pets", "PETS"),
        ("cafe", None),
        ("", None),
    ],
)
def test_names_are_found_in_any_case_and_normal_form(wanted: str, found: str | None) -> None:
    assert find_name(wanted, TOPICS) == found


@given(st.text(max_size=12))
def test_case_and_normal_form_do_not_count(name: str) -> None:
    assert folded(unicodedata.normalize("NFD", name)) == folded(name) == folded(folded(name))
    assert normal(normal(name)) == normal(name)


@given(st.text(alphabet="aiıİIçŞéßxΣσς", max_size=12))
def test_upper_and_lower_case_are_alike(name: str) -> None:
    assert folded(name.upper()) == folded(name) == folded(name.lower())


def test_invisible_text() -> None:
    for text in ("", " \n", "\u200e", "\u200b\u200d", "\u3164", "\u115f", "\ufe0f", "\u2800", "\x07", "\u00ad"):
        assert not visible(text)
    for text in ("a", ".", "\u200ea", "😀", "हि", "\u0301", "\U0010fffd"):
        assert visible(text)
