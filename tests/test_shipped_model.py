"""The model that comes with the repository: whole, small, and saying what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dialog_cvae
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.find_backbone import DEFAULT, DEFAULT_SHA256, locate
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Utterance

FOLDER = Path(__file__).parents[1] / "models" / "swda"
ADAPTERS = FOLDER.with_name("swda-smollm2")
START = FOLDER.with_name("sgd-smollm2")  # the model from which fits on users' own data start
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return Checkpoint.load(FOLDER)


def test_it_is_half_precision_with_its_recognition_network_and_says_what_was_left_out(shipped):
    assert {weight.dtype for weight in shipped.weights.values()} == {np.dtype(np.float16)}
    assert any(name.startswith("recognition_network.") for name in shipped.weights)
    assert not any(name.startswith("bow_head.") for name in shipped.weights)
    assert not shipped.config.model.bow
    changes = {"bag-of-words head left out", "weights rounded to fp16", "common words of swda listed"}
    assert set(shipped.config.provenance.changes) == changes
    assert shipped.common is not None
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25 * MEGABYTE


def test_it_carries_the_licence_of_its_data(shipped):
    assert shipped.config.provenance.licence == "CC BY-NC-SA 3.0"
    assert shipped.config.provenance.licence in shipped.card
    assert shipped.tokenizer.mode == "unigram"


def test_it_answers_with_five_different_replies():
    responder = dialog_cvae.load(FOLDER)
    talk = Conversation("1", (Utterance("A", "Do you have any pets?"),), topic="PETS")
    replies = responder.respond(talk, respond_as="B", n=5, seed=7)
    assert len({normalised(reply.text) for reply in replies}) == 5
    assert all(reply.text[0].isupper() for reply in replies)
    assert responder.respond(talk, respond_as="B", n=5, seed=7) == replies


@pytest.mark.parametrize(("folder", "licence"), [(ADAPTERS, "CC BY-NC-SA 3.0"), (START, "CC BY-SA 4.0")])
def test_adapters_are_small_and_name_their_base_and_licences(folder, licence):
    adapters = Checkpoint.load(folder)
    config = adapters.config
    assert config.base is not None
    assert config.base.sha256 == DEFAULT_SHA256
    assert config.base.sha256 in adapters.card
    assert config.provenance.licence == f"{licence}; apache-2.0"
    assert licence in adapters.card
    assert "Apache-2.0" in adapters.card
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25 * MEGABYTE


def test_the_adapters_answer_with_five_different_replies():
    try:
        locate(DEFAULT)
    except CheckpointError as error:
        pytest.skip(str(error))
    responder = dialog_cvae.load(ADAPTERS)
    talk = Conversation("1", (Utterance("A", "Do you have any pets?"),), topic="PETS")
    replies = responder.respond(talk, respond_as="B", n=5, seed=7)
    assert len({normalised(reply.text) for reply in replies}) == 5
    assert any("dog" in reply.text or "cat" in reply.text for reply in replies)
