"""The reading page in headless Chromium: opened as a file, without a network."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.blind.ratings import read_ratings


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Callable[[], Any]]:
    """Open the page in a browser of one reader; opening it again is a later visit."""
    with ExitStack() as stack:
        context = browser.new_context(accept_downloads=True, viewport={"width": 900, "height": 600})
        stack.callback(context.close)
        context.set_default_timeout(10_000)
        complaints: list[str] = []
        urls: list[str] = []

        def opened() -> Any:
            tab = context.new_page()
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("request", lambda request: urls.append(request.url))
            tab.goto(page.as_uri())
            return tab

        yield opened
        assert complaints == []
        assert all(url == page.as_uri() or url.startswith("blob:") for url in urls), urls


def press(tab: Any, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def saved(tab: Any, folder: Path) -> Path:
    with tab.expect_download() as download:
        tab.click("#save")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_reader_ticks_with_the_keyboard_and_the_tally_reads_the_file(visit, key, tmp_path):
    tab = visit()
    tab.fill("#reader", "Ann B.")
    tab.keyboard.press("Tab")
    tab.click("#unjudged")
    wanted = [[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [0, 0, 0]]
    assert len(wanted) == len(key.texts)
    for answers in wanted:
        press(tab, *(str(i + 1) for i, answer in enumerate(answers) if answer), "Enter")
    assert tab.inner_text("#count") == f"{len(wanted)} of {len(wanted)} replies judged: all done, now save"
    path = saved(tab, tmp_path)
    assert path.name == f"Ann-B--{key.sheet}.csv"
    np.testing.assert_array_equal(read_ratings([path], key).values[0], wanted)
    assert tab.inner_text("#alert") == ""


def test_open_replies_are_saved_empty_and_the_reader_is_warned(visit, key, tmp_path):
    tab = visit()
    press(tab, "Enter", "2", "ArrowDown", "ArrowDown", "1", "1")
    path = saved(tab, tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == list(key.texts)
    assert [row[1:] for row in rows[:4]] == [["0", "1", "0"], ["", "", ""], ["0", "0", "0"], ["", "", ""]]
    assert (
        tab.inner_text("#alert")
        == f"Saved, but {len(rows) - 2} replies are still open: the file has no answers for them."
    )


def test_a_later_visit_goes_on_where_the_reader_stopped(visit, key):
    first = visit()
    first.fill("#reader", "Ann")
    press(first, "Tab")
    first.click("#unjudged")
    press(first, "1", "Enter", "2", "Enter", "Enter", "3")  # the fourth is the first of the second conversation
    second = visit()
    assert second.input_value("#reader") == "Ann"
    assert second.inner_text("#count").startswith(f"4 of {len(key.texts)}")
    ids = list(key.texts)
    assert second.evaluate("document.activeElement.id") == ids[4]
    pressed = second.locator(f"[id='{ids[3]}'] button").evaluate_all("all => all.map(b => b.ariaPressed)")
    assert pressed == ["false", "false", "true", "false"]


def test_answers_before_the_first_name_go_to_it_and_each_name_has_its_own(visit):
    tab = visit()
    press(tab, "Enter", "1", "Enter")
    counts = []
    for name in ("Ann", "Bo", "Ann"):
        tab.fill("#reader", name)
        tab.keyboard.press("Tab")
        counts.append(tab.inner_text("#count")[0])
    assert counts == ["1", "0", "1"]


def test_the_mouse_does_the_same(visit, key):
    tab = visit()
    first, second, *_ = key.texts
    tab.click(f"[id='{first}'] button:has-text('fits')")
    assert tab.evaluate("document.activeElement.id") == first
    press(tab, "Enter")
    assert tab.evaluate("document.activeElement.id") == second
    tab.click(f"[id='{second}'] button:has-text('none')")
    assert tab.inner_text("#count").startswith("2 of")
    tab.click("#forward")
    assert tab.inner_text("#heading").startswith("Conversation 2 of 3")
    tab.click("#back")
    pressed = tab.locator(f"[id='{first}'] button").evaluate_all("all => all.map(b => b.ariaPressed)")
    assert pressed == ["false", "true", "false", "false"]


def test_texts_are_shown_as_they_are(visit, made):
    tab = visit()
    for context in made[0].contexts:
        shown = [text.split("\n")[0] for text in tab.locator(".reply p").all_inner_texts()]
        assert shown == [f"{context.speaker}:{text}" for _, text in context.replies]
        turns = tab.locator("#turns p").all_inner_texts()
        assert turns == [f"{speaker}:{text}" for speaker, text in context.turns]
        press(tab, "ArrowRight")


def test_the_reply_with_the_focus_is_never_covered(visit, key):
    tab = visit()
    tab.set_viewport_size({"width": 400, "height": 500})
    # the browser tells the page of its new size a little later
    tab.wait_for_function(
        """() => ["turns", "bar"].every(id => document.documentElement.style.getPropertyValue(`--${id}`)
            === `${document.getElementById(id).offsetHeight}px`)"""
    )
    press(tab, "Enter")
    for _ in key.texts:
        covered = tab.evaluate(
            """() => {
                const reply = document.activeElement.getBoundingClientRect();
                const turns = document.querySelector("#turns").getBoundingClientRect();
                const bar = document.querySelector("#bar").getBoundingClientRect();
                return [turns.bottom - reply.top, reply.bottom - bar.top];
            }"""
        )
        assert max(covered) <= 1, covered
        press(tab, "ArrowDown")
