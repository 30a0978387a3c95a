"""The map's axes against singular value decomposition, and moves to a place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.latent_map import LatentMap
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance

RNG = np.random.default_rng(0)
WEIGHT, STD = RNG.standard_normal((9, 6), dtype=np.float32), RNG.uniform(0.1, 2, 6).astype(np.float32)
NOISE = RNG.standard_normal((50, 6), dtype=np.float32)
TALK = Conversation("talk", (Utterance("A", "we like cats"), Utterance("B", "they hate dogs")))


def test_the_axes_are_the_first_right_singular_vectors():
    axes = LatentMap.of(WEIGHT, STD).axes
    _, _, vectors = np.linalg.svd(WEIGHT * STD)
    for axis, expected in zip(axes.T, vectors, strict=False):
        np.testing.assert_allclose(axis, expected * np.sign(expected[np.abs(expected).argmax()]), atol=1e-5)
        assert axis[np.abs(axis).argmax()] > 0


def test_a_step_along_an_axis_moves_the_state_most():
    axes = LatentMap.of(WEIGHT, STD).axes
    moved = np.linalg.norm((WEIGHT * STD) @ axes, axis=0)
    directions = NOISE / np.linalg.norm(NOISE, axis=1, keepdims=True)
    assert moved[0] >= moved[1] > 0
    assert np.linalg.norm((WEIGHT * STD) @ directions.T, axis=0).max() <= moved[0] + 1e-5


def test_moving_to_a_place_changes_nothing_else():
    drawn = LatentMap.of(WEIGHT, STD)
    moved = drawn.moved(NOISE, (1.5, -0.25))
    np.testing.assert_allclose(drawn.places(moved), np.tile([1.5, -0.25], (50, 1)), atol=1e-5)
    across = np.eye(6) - drawn.axes @ drawn.axes.T
    np.testing.assert_allclose(moved @ across, NOISE @ across, atol=1e-5)


def test_one_dimension_has_one_axis():
    line = LatentMap.of(WEIGHT[:, :1], STD[:1])
    assert line.places(NOISE[:, :1])[:, 1].tolist() == [0.0] * 50
    np.testing.assert_allclose(line.moved(NOISE[:, :1], (2.0, 1.0)), np.full((50, 1), 2.0), rtol=1e-6)


@pytest.fixture
def responder(tiny_checkpoint: Checkpoint) -> Responder:
    engine = TorchEngine(build_model(tiny_checkpoint))
    return Responder(engine, dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny")


def test_replies_give_their_place_only_on_request(responder: Responder):
    plain = responder.respond(TALK, respond_as="A", n=4, seed=1)
    placed = responder.respond(TALK, respond_as="A", n=4, seed=1, places=True)
    assert [reply.place for reply in plain] == [None] * 4
    assert [replace(reply, place=None) for reply in placed] == plain
    assert len({reply.place for reply in placed}) == 4


def test_replies_from_a_place_come_from_there(responder: Responder):
    drawn = responder.respond(TALK, respond_as="A", n=3, seed=1, at=(2.0, -1.0))
    for reply in drawn:
        assert reply.place == pytest.approx((2.0, -1.0), abs=1e-5)
    assert responder.respond(TALK, respond_as="A", n=3, seed=1, at=(2.0, -1.0)) == drawn
    first = responder.respond(TALK, respond_as="A", n=1, seed=1)
    again = responder.respond(TALK, respond_as="A", n=1, seed=1, at=None, places=True)
    assert responder.respond(TALK, respond_as="A", n=1, seed=1, at=again[0].place)[0].text == first[0].text


def test_the_priors_temperature_scales_the_map(responder: Responder):
    spread = [
        np.abs([r.place for r in responder.respond(TALK, respond_as="A", n=3, seed=1, places=True, decoding=decoding)])
        for decoding in (Decoding(1.0, prior_temperature=0.0), Decoding(1.0, prior_temperature=1.0))
    ]
    assert spread[0].max() == 0 < spread[1].min()


def test_a_model_without_z_has_no_map(tiny_config: ModelConfig, tokenizer):
    from dialog_cvae.model.build import weights_of
    from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance

    model = CVAE(tiny_config.model_copy(update={"latent_size": 0}), len(tokenizer), 0)
    config = CheckpointConfig(
        model=model.config, vocab_size=len(tokenizer), topics=(), provenance=Provenance(data="none")
    )
    checkpoint = Checkpoint(config, weights_of(model), tokenizer)
    responder = Responder(TorchEngine(build_model(checkpoint)), dialog_codec(checkpoint), config, "none")
    sampled = Decoding(1.0, max_tokens=6)
    assert {r.place for r in responder.respond(TALK, respond_as="A", places=True, decoding=sampled)} == {None}
    with pytest.raises(ConfigError, match=r"^at: this model has no latent variable"):
        responder.respond(TALK, respond_as="A", at=(0.0, 0.0))
