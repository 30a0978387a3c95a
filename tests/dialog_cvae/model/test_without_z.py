"""`latent_size` 0: the decoder without z, held against a CVAE whose decoder is deaf to z."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dialog_cvae
from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance

TALK = Conversation("talk", (Utterance("A", "we like cats"), Utterance("B", "they hate dogs")))
READS_Z = ("decoder.start.weight", "bow_head.0.weight")


@pytest.fixture
def deaf(tiny_model: CVAE) -> CVAE:
    """The tiny model, with zeros for what reads z; there z stands last."""
    with torch.no_grad():
        for name in READS_Z:
            tiny_model.get_parameter(name)[:, -tiny_model.config.latent_size :] = 0.0
    return tiny_model


@pytest.fixture
def plain(deaf: CVAE) -> CVAE:
    """The same model without z: what is left of its weights once all that has to do with z is cut off."""
    config, latent = deaf.config.model_copy(update={"latent_size": 0}), deaf.config.latent_size
    model = CVAE(config, deaf.embedding.num_embeddings, deaf.topic.num_embeddings - 1)
    kept = {name: weight for name, weight in deaf.state_dict().items() if name in model.state_dict()}
    model.load_state_dict(kept | {name: kept[name][:, :-latent] for name in READS_Z})
    return model


@pytest.fixture
def checkpoint(plain: CVAE, tiny_checkpoint: Checkpoint) -> Checkpoint:
    config = tiny_checkpoint.config.model_copy(update={"model": plain.config})
    return replace(tiny_checkpoint, config=config, weights=weights_of(plain))


def test_terms_are_those_of_a_decoder_deaf_to_z(deaf: CVAE, plain: CVAE, encoded: EncodedCorpus) -> None:
    batch = TensorBatch.from_arrays(collate(encoded, encoded.responses, 4))
    size = len(encoded.responses)
    expected, found = deaf(batch, torch.randn(size, 3)), plain(batch, torch.zeros(size, 0))
    torch.testing.assert_close(found.reconstruction, expected.reconstruction)
    torch.testing.assert_close(found.bag_of_words, expected.bag_of_words)
    assert torch.equal(found.kl, torch.zeros(size))


def test_the_elbo_is_the_likelihood(plain: CVAE, encoded: EncodedCorpus) -> None:
    report = evaluate_elbo(plain, encoded, seed=1)
    assert (report.kl, report.active_units, report.nats_from_z, report.nats_shuffled) == (0.0, 0, 0.0, 0.0)
    assert report.elbo == -report.reconstruction
    assert report.perplexity_bound == report.rec_perplexity
    assert evaluate_elbo(plain, encoded, seed=2) == report


@pytest.mark.parametrize("initialisation", ["uniform", "torch"])
def test_it_has_no_prior_and_no_recognition_network(tiny_config: ModelConfig, initialisation: str) -> None:
    with_z = tiny_config.model_copy(update={"initialisation": initialisation})
    names = [
        CVAE(config, 50, 2).state_dict().keys() for config in (with_z, with_z.model_copy(update={"latent_size": 0}))
    ]
    gone = {"prior_network.0", "prior_network.2", "recognition_network"}
    assert names[0] - names[1] == {f"{layer}.{kind}" for layer in gone for kind in ("weight", "bias")}
    assert names[1] <= names[0]


def test_the_engine_computes_what_the_model_does(plain: CVAE, encoded: EncodedCorpus) -> None:
    batch = collate(encoded, encoded.responses, 4)
    engine = TorchEngine(plain)
    found = engine.condition(batch)
    with torch.no_grad():
        expected = plain.encode(TensorBatch.from_arrays(batch)).condition
        state = plain.decoder.initial_state(expected, expected[:, :0])
    np.testing.assert_allclose(np.stack(found.contexts), expected.numpy(), atol=1e-6)
    assert found.prior_mean.shape == found.prior_logvar.shape == (len(expected), 0)
    _, states = engine.start(found.contexts, found.prior_mean)
    np.testing.assert_allclose(states.state, state.numpy(), atol=1e-5)


def test_replies_differ_by_how_words_are_drawn_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "best")
    responder = dialog_cvae.load(tmp_path / "best")
    assert len(responder.respond(TALK, respond_as="A", n=5)) == 1
    drawn = responder.respond(TALK, respond_as="A", n=5, seed=3, decoding=Decoding(temperature=1.0))
    assert len(drawn) == 5
    assert responder.respond(TALK, respond_as="A", n=5, seed=3, decoding=Decoding(temperature=1.0)) == drawn


def test_weights_of_a_model_with_z_are_refused(checkpoint: Checkpoint, tiny_checkpoint: Checkpoint) -> None:
    name = "prior_network.0.bias"
    with pytest.raises(CheckpointError, match=f"weight {name} is not part of this model"):
        build_model(replace(checkpoint, weights={**checkpoint.weights, name: tiny_checkpoint.weights[name]}))
