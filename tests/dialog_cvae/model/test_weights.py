"""The declared names and shapes against the PyTorch modules, and the check of a checkpoint against them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model.weights import GRU_GATES, Linear, Recurrent, checked_weights, dialog_shapes, sentence_shapes
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint


def variants(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """All combinations of the fields' values."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in module.state_dict().items()}


@pytest.mark.parametrize(
    "fields",
    variants(latent_size=(0, 3), bow=(False, True), skip=(False, True), posterior_norm=(0.0, 0.5), role_size=(0, 4)),
)
def test_the_declaration_is_the_dialog_model(tiny_config: ModelConfig, fields: dict[str, Any]) -> None:
    config = tiny_config.model_copy(update=fields | {"decoder_size": 11, "prior_size": 5, "bow_size": 6})
    assert dialog_shapes(config, 31, 4, 2) == shapes_of(CVAE(config, 31, 4, 2))


SENTENCE_SIZES = {"embedding_size": 5, "encoder_size": 6, "decoder_size": 7, "filters": 4, "filter_width": 3}


@pytest.mark.parametrize(
    "fields",
    variants(
        latent_size=(0, 3),
        encoder=("lstm", "cnn"),
        layers=(1, 3),
        skip=(False, True),
        tied_output=(False, True),
        shared_embedding=(False, True),
        posterior_norm=(0.0, 0.5),
    )
    + variants(latent_size=(0,), z_to_state=(False, True), z_to_inputs=(False, True), unit_embedding=(False, True))
    + variants(latent_size=(3,), z_to_state=(False, True), z_to_inputs=(True,), unit_embedding=(False, True))
    + variants(latent_size=(3,), z_to_state=(True,), z_to_inputs=(False,), unit_embedding=(False, True)),
)
def test_the_declaration_is_the_sentence_vae(fields: dict[str, Any]) -> None:
    config = SentenceModelConfig(**SENTENCE_SIZES | {"max_tokens": 10} | fields)
    assert sentence_shapes(config, 31) == shapes_of(SentenceVAE(config, 31))


def test_the_defaults_are_the_paper_s_sizes() -> None:
    shapes = dialog_shapes(ModelConfig(bow=True), 10_005, 67)
    assert shapes["decoder.start.weight"] == (400, 30 + 8 + 600 + 200)
    assert shapes["bow_head.2.weight"] == (10_005, 400)
    assert shapes["utterance_encoder.gru.weight_hh_l0_reverse"] == (GRU_GATES * 300, 300)
    assert sentence_shapes(SentenceModelConfig(), 10_000)["decoder.layers.0.weight_ih_l0"] == (4 * 256, 256 + 32)


def test_names_give_their_arrays() -> None:
    assert Linear("a", "b").of({"a": 1, "b": 2, "c": 3}) == Linear(weight=1, bias=2)
    names = Recurrent("a", "b", "c", "d")
    assert names.of({"d": 4, "c": 3, "b": 2, "a": 1}) == Recurrent(weight_ih=1, weight_hh=2, bias_ih=3, bias_hh=4)


def test_a_weight_that_does_not_fit_is_named(tiny_checkpoint: Checkpoint) -> None:
    weights = dict(tiny_checkpoint.weights)
    weights["decoder.start.bias"] = np.full(7, 1e39)
    with pytest.raises(CheckpointError, match=r"^here: weight decoder.start.bias has values that are not finite$"):
        checked_weights(replace(tiny_checkpoint, weights=weights), "here")
    del weights["decoder.start.bias"]
    with pytest.raises(CheckpointError, match=r"^model.safetensors: weight decoder.start.bias is missing$"):
        build_model(replace(tiny_checkpoint, weights=weights))


def test_a_model_of_the_other_kind_is_refused(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"^here: holds a dialog model; a sentence VAE is required$"):
        build_model(tiny_checkpoint, "here", required=SentenceVAE)
    config = tiny_checkpoint.config.model_copy(update={"sentence": SentenceModelConfig()})
    with pytest.raises(CheckpointError, match=r"^here: holds a sentence VAE; a dialog model is required$"):
        checked_weights(replace(tiny_checkpoint, config=config), "here", "dialog model")


def test_building_a_model_draws_no_random_numbers(tiny_checkpoint: Checkpoint) -> None:
    before = torch.get_rng_state()
    build_model(tiny_checkpoint)
    assert torch.equal(torch.get_rng_state(), before)
