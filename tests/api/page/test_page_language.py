"""The page with a language model: any topic, which model answered and how fast, and what was cut off."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.storage.find_backbone import open_backbone
from tests.api.page.conftest import serving
from tests.api.page.person import Person
from tests.dialog_cvae.generate.naive_language import SIZES, NaiveLanguageEngine, language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf


@pytest.fixture
def language_responder(tmp_path: Path) -> Responder:
    base = write_gguf(tmp_path / "tiny.gguf", drawn())
    checkpoint, found = language_checkpoint(base), open_backbone(base)
    codec = LanguageCodec(found.tokenizer, SIZES, found.config.vocab_size)
    engine = NaiveLanguageEngine(build_language_model(checkpoint, found))
    return Responder(engine, codec, checkpoint.config, "tiny on tiny")


def test_a_language_model_takes_any_topic(
    visit: Callable[..., Person], checkpoint: Path, language_responder: Responder
) -> None:
    with serving(checkpoint, lambda _: language_responder) as url:
        person = visit(url).arrive()
        page = person.page
        page.fill("#topic", "late trains")
        person.press("Tab")
        person.say("hi")
        assert person.asked[-1]["topic"] == "late trains"
        assert page.locator("#topic-list").is_hidden()
        assert re.fullmatch(r"tiny on tiny answered in \d+(\.\d\d)? s\.", person.text("#replies-by"))
        page.fill("#topic", "")
        person.press("Enter")
        person.settle()
        assert "topic" not in person.asked[-1]
        assert person.value("#topic") == "No topic"


def test_what_was_not_read_and_what_was_cut_off_is_shown(person: Person) -> None:
    responses = [
        {"text": "one", "log_prob": -1.0, "finish_reason": "stop"},
        {"text": "two", "log_prob": -1.0, "finish_reason": "length"},
    ]
    answer = {"responses": responses, "topic": None, "seed": 7, "model": "m", "context_used": 1, "context_cut": True}
    person.refuse(status=200, json=answer)
    assert person.say("hi") == ["one", "two"]
    note = "Only 2 different replies were found. A line is too long for the model, which read only a part of it."
    assert person.text("#replies-note") == note
    assert person.page.locator(".card.cut .text").all_inner_texts() == ["two"]
    assert "(cut off)" in person.page.locator(".card.cut").inner_text()
    person.page.unroute_all(behavior="ignoreErrors")
    person.refuse(status=200, json=answer | {"context_used": 0})
    person.page.get_by_role("button", name="New seed").click()
    note = "The model read only the last 0 of 1 lines."
    person.page.locator("#replies-note").get_by_text(note).wait_for()
