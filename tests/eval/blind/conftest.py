"""Shared by the tests of blind reading: conversations, a small sheet, and the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.types import Conversation, Utterance
from eval.blind.places import ContextPlace, draw_places
from eval.blind.sheet import Key, Sheet, build_sheet
from tests.api.page.conftest import browser as browser


def conversation(number: int, length: int = 5) -> Conversation:
    turns = (Utterance("AB"[i % 2], f"utterance {i} of {number}") for i in range(length))
    return Conversation(f"c{number}", tuple(turns), f"T{number}")


@pytest.fixture(scope="session")
def places() -> list[ContextPlace]:
    return draw_places([conversation(number) for number in range(4)], 3, 0, 3)


@pytest.fixture(scope="session")
def made(places: list[ContextPlace]) -> tuple[Sheet, Key]:
    """Three contexts with replies of three sources; some replies are shared, one is empty, one context has none."""
    answers = {
        "model": [["one", "two"], ["Uh-huh.", "Uh-huh."], []],
        "people": [["two"], ['<b>four</b> & "five"'], ["six, seven"]],
        "other": [["three", ""], ["=1+1"], ["Ünicode", "six, seven"]],
    }
    return build_sheet(places, answers, 3, 0, {"seed": 0})


@pytest.fixture(scope="session")
def key(made: tuple[Sheet, Key]) -> Key:
    return made[1]


@pytest.fixture(scope="session")
def page(made: tuple[Sheet, Key], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the sheet."""
    from eval.blind.sheet_files import page_bytes

    path = tmp_path_factory.mktemp("page") / "sheet.html"
    path.write_bytes(page_bytes(made[0]))
    return path
