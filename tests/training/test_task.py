"""Tasks: names, sizes, models from a checkpoint, and the task of a checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dialog_cvae.config import DataConfig
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from training.config import FitConfig
from training.recipes import RECIPES
from training.task import TASKS, new_model, task_of, task_of_checkpoint
from training.vocabulary import Vocabulary

TINY_SENTENCES = SentenceModelConfig(embedding_size=3, encoder_size=4, decoder_size=5, latent_size=2)


def config_of(name: str, **sections: dict[str, Any]) -> FitConfig:
    return FitConfig.model_validate({"corpus": {"name": name}, **sections})


@pytest.mark.parametrize(
    ("recipe", "task"),
    [("paper", "dialog"), ("sample", "dialog"), ("toy", "sentences"), ("ptb", "sentences"), ("yelp", "sentences")],
)
def test_the_corpus_determines_the_task(recipe: str, task: str) -> None:
    assert task_of(RECIPES[recipe]()) is TASKS[task]  # type: ignore[index]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (config_of("sample"), "cvae"),
        (config_of("sample", model={"bow": True}), "cvae-bow"),
        (config_of("sample", model={"latent_size": 0}), "hred"),
        (config_of("ptb"), "vae"),
        (config_of("ptb", sentence={"latent_size": 0}), "lm"),
        (config_of("ptb", model={"latent_size": 0, "bow": True}), "vae"),  # the other task's section has no effect
        (config_of("sample", sentence={"latent_size": 0}), "cvae"),
    ],
)
def test_names_of_models(config: FitConfig, name: str) -> None:
    assert task_of(config).model_name(config) == name


def test_each_task_uses_the_sizes_of_its_section() -> None:
    sections = {"model": {"max_utterance_tokens": 11}, "sentence": {"max_tokens": 22}}
    dialog, sentences = config_of("sample", **sections), config_of("ptb", **sections)
    assert (dialog.sizes, sentences.sizes) == (dialog.model, sentences.sentence)
    assert task_of(dialog).max_tokens(dialog) == 11
    assert task_of(sentences).max_tokens(sentences) == 22
    for config in (dialog, sentences):
        task = task_of(config)
        assert getattr(config, task.section) is config.sizes
        assert {task.section, *task.unused_sections} <= {"model", "sentence", "language"}
        assert task.section not in task.unused_sections


@pytest.mark.parametrize(("corpus", "model"), [("sample", CVAE), ("toy", SentenceVAE)])
def test_a_new_model_is_a_function_of_the_seed(
    corpus: str, model: type[object], tokenizer: Tokenizer, tiny_config: ModelConfig
) -> None:
    base = FitConfig(corpus=DataConfig(name=corpus), model=tiny_config, sentence=TINY_SENTENCES)
    vocabulary = Vocabulary(tokenizer, ("PETS",))

    def weights(seed: int) -> torch.Tensor:
        made = new_model(base.model_copy(update={"train": base.train.model_copy(update={"seed": seed})}), vocabulary)
        assert isinstance(made, model)
        return task_of(base).word_embeddings(made)[0].weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert len(weights(1)) == len(tokenizer)


def sentence_checkpoint(tokenizer: Tokenizer) -> Checkpoint:
    model = SentenceVAE(TINY_SENTENCES, len(tokenizer))
    config = CheckpointConfig(
        model=ModelConfig(),
        sentence=TINY_SENTENCES,
        vocab_size=len(tokenizer),
        topics=(),
        provenance=Provenance(data="tiny"),
    )
    return Checkpoint(config, weights_of(model), tokenizer)


def test_a_checkpoint_belongs_to_exactly_one_task(tiny_checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    sentences = sentence_checkpoint(tokenizer).config
    assert task_of_checkpoint(tiny_checkpoint.config) is TASKS["dialog"]
    assert task_of_checkpoint(sentences) is TASKS["sentences"]
    assert TASKS["dialog"].stored_sizes(tiny_checkpoint.config) == tiny_checkpoint.config.model
    assert TASKS["sentences"].stored_sizes(sentences) == TINY_SENTENCES
    assert TASKS["dialog"].stored_sizes(sentences) is None
    assert TASKS["sentences"].stored_sizes(tiny_checkpoint.config) is None


def test_sizes_survive_a_checkpoint(tiny_model: CVAE, tokenizer: Tokenizer) -> None:
    dialog = config_of("sample", model=tiny_model.config.model_dump())
    assert TASKS["dialog"].checkpoint_sizes(dialog, tiny_model) == {"model": tiny_model.config}
    sentences = config_of("toy", sentence=TINY_SENTENCES.model_dump())
    model = SentenceVAE(TINY_SENTENCES, len(tokenizer))
    assert TASKS["sentences"].checkpoint_sizes(sentences, model)["sentence"] == TINY_SENTENCES


def test_new_topics_of_a_loaded_model_start_as_the_unknown_one(tiny_checkpoint: Checkpoint) -> None:
    known = tiny_checkpoint.config.topics
    vocabulary = Vocabulary(tiny_checkpoint.tokenizer, (*known, "NEW", "NEWER"))
    model = TASKS["dialog"].load(tiny_checkpoint, vocabulary, FitConfig())
    assert isinstance(model, CVAE)
    assert model.training
    rows = model.topic.weight.detach().numpy()
    stored = tiny_checkpoint.weights["topic.weight"]
    assert len(rows) == len(stored) + 2
    assert (rows[: len(stored)] == stored).all()
    assert (rows[len(stored) :] == stored[0]).all()


ROLE_SIZES = FitConfig(model=ModelConfig(role_size=3))


def test_known_roles_of_a_loaded_model_keep_their_rows_and_new_ones_start_as_the_unknown_one(
    roles_checkpoint: Checkpoint,
) -> None:
    vocabulary = Vocabulary(roles_checkpoint.tokenizer, roles_checkpoint.config.topics, ("agent", "b", "A"))
    model = TASKS["dialog"].load(roles_checkpoint, vocabulary, ROLE_SIZES)
    stored = roles_checkpoint.weights["role.weight"]
    assert isinstance(model, CVAE)
    np.testing.assert_array_equal(model.role.weight.detach(), stored[[0, 0, 2, 1]])


@torch.no_grad()
def test_roles_added_to_a_model_have_no_effect_before_they_are_learnt(
    tiny_checkpoint: Checkpoint, encoded_roles: EncodedCorpus
) -> None:
    vocabulary = Vocabulary(tiny_checkpoint.tokenizer, tiny_checkpoint.config.topics, ("A", "B"))
    model = TASKS["dialog"].load(tiny_checkpoint, vocabulary, ROLE_SIZES)
    assert isinstance(model, CVAE)
    assert model.role.weight.shape == (3, 3)
    assert len(model.role.weight.unique(dim=0)) == 3
    batch = model.batch(encoded_roles, encoded_roles.responses)
    noise = torch.randn(len(encoded_roles.responses), 3)
    before = build_model(tiny_checkpoint, required=CVAE)
    for found, expected in zip(model(batch, noise), before(batch, noise), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_corpus_without_roles_gets_a_model_without_them(tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    config = FitConfig(model=tiny_config.model_copy(update={"role_size": 3}))
    without, some = (new_model(config, Vocabulary(tokenizer, (), roles)) for roles in ((), ("A", "B")))
    assert (without.config.role_size, "role.weight" in without.state_dict()) == (0, False)
    assert (some.config.role_size, some.state_dict()["role.weight"].shape) == (3, (3, 3))


def test_a_loaded_sentence_model_has_the_checkpoints_weights(tokenizer: Tokenizer) -> None:
    checkpoint = sentence_checkpoint(tokenizer)
    model = TASKS["sentences"].load(checkpoint, Vocabulary(tokenizer, ()), FitConfig())
    assert model.training
    loaded = weights_of(model)
    assert loaded.keys() == checkpoint.weights.keys()
    assert all((loaded[name] == weight).all() for name, weight in checkpoint.weights.items())
