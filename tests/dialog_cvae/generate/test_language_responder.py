"""Replies of a language model with adapters: the same pool, seeds and errors as of other models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.generate.opening import EngineName, dialog_codec
from dialog_cvae.generate.responder import Question, Responder
from dialog_cvae.model.weights import checked_weights
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.types import Conversation, Utterance
from tests.dialog_cvae.generate.naive_language import SIZES, NaiveLanguageEngine, language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf

TALK = Conversation("c", (Utterance("B", "hello there"), Utterance("A", "hi")), "SMALL TALK")
SAMPLED = Decoding(1.0, 0.95, max_tokens=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())


@pytest.fixture(scope="module")
def folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "best"
    language_checkpoint(base).save(path)
    return path


@pytest.fixture(scope="module")
def responder(base: Path) -> Responder:
    checkpoint, found = language_checkpoint(base), open_backbone(base)
    assert checkpoint.config.language is not None
    codec = LanguageCodec(found.tokenizer, checkpoint.config.language, found.config.vocab_size)
    engine = NaiveLanguageEngine(build_language_model(checkpoint, found))
    return Responder(engine, codec, checkpoint.config, "tiny")


def test_replies_are_distinct_lines_of_text(responder: Responder) -> None:
    replies = responder.respond(TALK, respond_as="B", n=4, seed=1)
    assert len({reply.text for reply in replies}) == len(replies) > 1
    for reply in replies:
        assert reply.text == " ".join(reply.text.split())
        assert reply.text.isprintable()
        assert reply.tokens <= 8
        assert reply.finished or reply.tokens == 8
    assert responder.respond(TALK, respond_as="B", n=4, seed=1) == replies
    assert responder.respond(TALK, respond_as="B", n=4, seed=2) != replies
    assert responder.respond(TALK, respond_as="C", n=4, seed=1) != replies
    assert responder.respond(replace(TALK, topic="OTHER"), respond_as="B", n=4, seed=1) != replies


def test_a_question_is_answered_alike_in_any_company(responder: Responder) -> None:
    questions = [
        Question(TALK, "B", 2, 1, SAMPLED),
        Question(replace(TALK, topic=None), "A", 3, 2, Decoding(0.5, max_tokens=5, candidates=4)),
        Question(Conversation("d", ()), "A", 1, 3, Decoding(max_tokens=3)),
    ]
    together = responder.finish(responder.begin(questions))
    assert together == [responder.finish(responder.begin([question]))[0] for question in questions]


def test_a_reply_has_the_probability_of_its_tokens(responder: Responder) -> None:
    """Every step of the pool is held against the whole reply, read at once by the model that is trained."""
    import torch

    from dialog_cvae.data.turns import TurnBatch
    from dialog_cvae.model.turn_tensors import TurnTensors

    corpus = responder.encode([replace(TALK, utterances=(*TALK.utterances, Utterance("B", "")))])
    end = corpus.starts[1:] - 1
    rngs = [np.random.default_rng(5)]
    (draws,) = responder.draw(corpus, end, rngs, 3, SAMPLED)
    model = responder.engine.model  # type: ignore[attr-defined]
    context = responder.codec.batch(corpus, end).tokens[0]
    noise = np.random.default_rng(5).standard_normal((3, SIZES.latent_size), dtype=np.float32)
    for draw, eps in zip(draws, noise, strict=True):
        said = [*draw.tokens, *([responder.codec.special.end] if draw.finished else [])]
        one = np.zeros(1, dtype=np.int64)
        batch = TurnBatch(np.array([[*context, *said]]), one, one + len(context) - 1, one + len(said))
        tensors = TurnTensors.from_arrays(batch)
        with torch.no_grad():
            read = model.encode(tensors)
            prior = model.prior(read.condition)
            z = prior.mean + (0.5 * prior.logvar).exp() * torch.from_numpy(eps)
            expected = -float(model.reconstruction(tensors, read, z))
        assert draw.log_prob == pytest.approx(expected, rel=1e-4)


def test_places_on_the_map_work(responder: Responder) -> None:
    replies = responder.respond(TALK, respond_as="B", n=2, decoding=SAMPLED, at=(0.5, -1.0))
    assert all(reply.place == pytest.approx((0.5, -1.0), abs=1e-5) for reply in replies)


@pytest.mark.parametrize("engine", ["onnx-fp32", "torch"])
def test_each_engine_gives_the_replies_of_the_naive_one(
    folder: Path, base: Path, responder: Responder, engine: EngineName
) -> None:
    loaded = Responder.load(folder, engine=engine, backbone=base, threads=1)
    assert loaded.name == "tiny on tiny, step 3"
    assert loaded.decoding == Decoding(1.0, 0.9, max_tokens=8, candidates=6)
    for decoding in (SAMPLED, Decoding(max_tokens=5), loaded.decoding):
        expected = responder.respond(TALK, respond_as="B", n=3, seed=4, decoding=decoding)
        found = loaded.respond(TALK, respond_as="B", n=3, seed=4, decoding=decoding)
        assert [reply.text for reply in found] == [reply.text for reply in expected]
        assert [reply.log_prob for reply in found] == pytest.approx([reply.log_prob for reply in expected], rel=1e-3)


def test_each_engine_replaces_refused_draws_alike(folder: Path, base: Path, responder: Responder) -> None:
    found = []
    for loaded in (
        responder,
        *(Responder.load(folder, engine=e, backbone=base, threads=1) for e in ("torch", "onnx-fp32")),
    ):
        question = Question(TALK, "B", 4, 4, replace(SAMPLED, candidates=6))
        loaded.accepts = lambda text: len(text) % 3 == 0
        (begun,) = loaded.begin([question])
        (replies,) = loaded.finish([begun])
        loaded.accepts = None
        found.append((begun.draws, [reply.text for reply in replies]))
    assert found[0] == found[1] == found[2]
    assert found[0][0] > 6


def load(folder: Path, **options: Any) -> Responder:
    return Responder.load(folder, engine="torch", **options)


def test_a_missing_base_is_named_with_the_way_to_get_it(
    folder: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"needs the language model tiny \(SHA-256 \w{12}\.\.\.\): backbone tiny\.gguf: no such file.*"
        "DIALOG_CVAE_BACKBONE",
    ):
        load(folder)
    with pytest.raises(CheckpointError, match=r"backbone .*nowhere: no such file or folder"):
        load(folder, backbone=tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("dialog_cvae.storage.find_backbone._PACKAGE", "no_such_package")
    language_checkpoint(base, SIZES.model_copy(update={"backbone": "smollm2"})).save(tmp_path / "default")
    with pytest.raises(CheckpointError, match=r"get it with: dialog-cvae backbone$"):
        load(tmp_path / "default")


def test_another_base_is_refused_by_name_and_hash(folder: Path, tmp_path: Path) -> None:
    other = write_gguf(tmp_path / "other.gguf", drawn(seed=1))
    with pytest.raises(
        CheckpointError, match=r"fitted on the language model tiny \(SHA-256 .*but tiny \(\w{12}\.\.\.\)"
    ):
        load(folder, backbone=other)


def test_a_base_that_was_cut_short_is_refused(folder: Path, base: Path, tmp_path: Path) -> None:
    data = base.read_bytes()
    for length in (100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.gguf").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf|damaged copy"):
            load(folder, backbone=tmp_path / "cut.gguf")


def test_a_part_for_models_with_weights_of_their_own_says_so(base: Path) -> None:
    checkpoint = language_checkpoint(base)
    kind = "holds adapters of the language model tiny; this command opens only models with weights of their own"
    with pytest.raises(CheckpointError, match=f"^the checkpoint {kind}$"):
        dialog_codec(checkpoint)
    with pytest.raises(CheckpointError, match=f"^source: {kind}$"):
        checked_weights(checkpoint, "source")


def test_without_z_there_is_no_map(base: Path) -> None:
    sizes = SIZES.model_copy(update={"latent_size": 0})
    codec = LanguageCodec(open_backbone(base).tokenizer, sizes, 257)
    plain = Responder(NotImplemented, codec, language_checkpoint(base, sizes).config, "plain")
    with pytest.raises(ConfigError, match=r"^at: this model has no latent variable"):
        plain.respond(TALK, respond_as="A", at=(0.0, 0.0))
