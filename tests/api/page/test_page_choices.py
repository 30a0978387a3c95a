"""The page where there is a choice: of models, of who writes the replies, and of a role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.page.conftest import serving
from tests.api.page.person import Person
from tests.api.page.test_page_access import faults

REPLY = {"text": "fine", "log_prob": -1.0, "source": "model", "finish_reason": "stop"}
ANSWER = {"responses": [REPLY], "topic": None, "seed": 7, "model": "m", "context_used": 1, "context_cut": False}


@pytest.fixture(scope="module")
def pair_site(checkpoint: Path) -> Iterator[str]:
    """The address of a page with two models."""
    with serving(f"small={checkpoint},large={checkpoint}") as url:  # type: ignore[arg-type]
        yield url


def with_more(page: Any, **more: Any) -> None:
    """Add to what the service says of its model."""

    def handle(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | more)

    page.route("**/model", handle)


def test_one_of_several_models_is_chosen_and_kept(visit: Callable[..., Person], pair_site: str) -> None:
    person = visit(pair_site).arrive()
    page = person.page
    model = page.get_by_label("Model", exact=True)
    assert model.locator("option").all_inner_texts() == ["small", "large"]
    assert page.get_by_label("Replies written by").is_hidden()
    assert page.get_by_label("B speaks as").is_hidden()
    person.say("hi")
    assert "model" not in person.asked[-1]
    assert person.text("#replies-by").startswith("small answered in ")
    model.select_option("large")
    page.locator("#replies-by").get_by_text("large answered in ").wait_for()
    assert person.asked[-1]["model"] == "large"
    assert person.text("#model").startswith("Model: large,")
    assert faults(person, "pale", "small", "broken", "wide") == {}
    person.arrive()
    assert person.value("#model-choice") == "large"
    person.settle()
    assert person.asked[-1]["model"] == "large"


def test_a_model_that_is_no_longer_served_gives_way_to_the_default(
    visit: Callable[..., Person], pair_site: str
) -> None:
    person = visit(pair_site).arrive()
    person.expected.append("404")
    state = '{"choices": {"model": "gone"}}'
    person.page.evaluate("state => sessionStorage.setItem('dialog-cvae-conversation', state)", state)
    person.arrive()
    assert person.value("#model-choice") == "small"
    person.say("hi")
    assert "model" not in person.asked[-1]


def test_one_model_without_index_and_role_offers_no_choice(person: Person) -> None:
    assert person.page.locator(".choice:visible").count() == 0


def test_replies_of_people_and_the_role_are_offered_where_the_model_has_them(visit: Callable[..., Person]) -> None:
    person = visit()
    with_more(person.page, index={"replies": 9, "min_conversations": 2}, respond_as=["agent", "bot"])
    person.arrive()
    page = person.page
    assert page.get_by_label("Model", exact=True).is_hidden()
    person.refuse(times=9, status=200, json=ANSWER)
    person.say("hi")
    asked = person.asked[-1]
    assert (asked["respond_as"], "candidates_from" in asked) == ("agent", False)
    source = page.get_by_label("Replies written by")
    assert source.input_value() == "model"
    source.select_option("both")
    person.settle()
    assert person.asked[-1]["candidates_from"] == "both"
    page.click(".card >> nth=0")
    person.settle()
    assert [turn["speaker"] for turn in person.asked[-1]["context"]] == ["A", "agent"]
    assert person.asked[-1]["respond_as"] == "A"
    assert [speaker for speaker, _ in person.turns] == ["A", "B"]
    page.get_by_label("B speaks as").select_option(label="No role")
    person.settle()
    assert [turn["speaker"] for turn in person.asked[-1]["context"]] == ["A", "B"]


def test_a_place_of_the_map_is_the_models_own_for_every_source_of_replies(visit: Callable[..., Person]) -> None:
    person = visit()
    with_more(person.page, index={"replies": 9, "min_conversations": 2})
    person.arrive()
    person.refuse(times=9, status=200, json=ANSWER | {"responses": [REPLY | {"place": [0, 0]}]})
    person.say("hi")
    person.page.get_by_label("Replies written by").select_option("both")
    person.settle()
    person.page.click("#map", position={"x": 20, "y": 20})
    person.page.wait_for_function("() => document.querySelectorAll('.dot').length === 2")
    asked = person.asked[-1]
    assert ("at" in asked, "candidates_from" in asked) == (True, False)


def test_the_other_speaker_never_has_the_name_of_the_role(visit: Callable[..., Person]) -> None:
    person = visit()
    with_more(person.page, respond_as=["A"])
    person.arrive()
    person.refuse(times=9, status=200, json=ANSWER)
    person.say("hi")
    asked = person.asked[-1]
    assert ([turn["speaker"] for turn in asked["context"]], asked["respond_as"]) == (["B"], "A")
