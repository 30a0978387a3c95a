"""Tasks: a corpus is modelled as replies in conversations, with or without a language model, or as single sentences.

Open this to add a task: implement `training.base_task.Task`, give `FitConfig.task` its name and list it in `TASKS`. A
task defines everything that differs: batches, model, validation examples, checkpoint and names. `task_of` gives the
task of a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from dialog_cvae.data.encoded_corpus import UNKNOWN_TOPIC, EncodedCorpus
from dialog_cvae.data.roles import UNKNOWN_ROLE, role_number
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig
from training.base_task import INIT, Task
from training.config import FitConfig, Precision, TaskName
from training.dialog_batches import DialogBatches
from training.distributed import World
from training.language_task import LanguageTask
from training.model_card import dialog_card, sentence_card
from training.role_columns import with_roles_added
from training.sentence_batches import SentenceBatches
from training.vocabulary import Vocabulary


class DialogTask(Task):
    """Replies in conversations, with the conditional VAE."""

    examples: ClassVar[str] = "conversations"
    section: ClassVar[str] = "model"
    unused_sections: ClassVar[tuple[str, ...]] = ("sentence", "language")
    served: ClassVar[bool] = True
    can_add_bow: ClassVar[bool] = True
    limits: ClassVar[tuple[str, ...]] = ("max_utterance_tokens",)

    def max_tokens(self, config: FitConfig) -> int:
        """See `Task.max_tokens`."""
        return config.model.max_utterance_tokens

    def model_name(self, config: FitConfig) -> str:
        """See `Task.model_name`."""
        return ("cvae" if config.model.latent_size else "hred") + ("-bow" if config.model.bow else "")

    def build(
        self, sizes: ModelConfig, vocab_size: int, topics: int, precision: Precision = "fp32", roles: int = 0
    ) -> CVAE:
        """See `Task.build`. A corpus without roles gets a model without them, whatever their size."""
        return CVAE(sizes.model_copy(update={"role_size": sizes.role_size if roles else 0}), vocab_size, topics, roles)

    def load(self, checkpoint: Checkpoint, vocabulary: Vocabulary, config: FitConfig) -> CVAE:
        """See `Task.load`. Each new topic starts as the `<unknown>` one, each new role as the unknown one.

        A model without roles gets an embedding of them, which at first has no effect.
        """
        if vocabulary.roles and not checkpoint.config.roles:
            size, seed = config.model.role_size, config.train.seed
            checkpoint = with_roles_added(checkpoint, INIT, vocabulary.roles, size, seed)
        model = build_model(checkpoint, INIT, required=CVAE)
        known = {topic: row for row, topic in enumerate(checkpoint.config.topics, start=1)}
        rows = [UNKNOWN_TOPIC, *(known.get(topic, UNKNOWN_TOPIC) for topic in vocabulary.topics)]
        model.topic = _chosen(model.topic, rows)
        if model.role is not None:
            roles = checkpoint.config.roles
            model.role = _chosen(model.role, [UNKNOWN_ROLE, *(role_number(name, roles) for name in vocabulary.roles)])
        return model.train()

    def word_embeddings(self, model: LatentModel) -> list[nn.Embedding]:
        """See `Task.word_embeddings`."""
        assert isinstance(model, CVAE)
        return [model.embedding]

    def batches(self, corpus: EncodedCorpus, config: FitConfig, world: World, device: torch.device) -> DialogBatches:
        """See `Task.batches`."""
        return DialogBatches(corpus, config.train, config.model, world, device)

    def validation(self, corpus: EncodedCorpus) -> EncodedCorpus:
        """See `Task.validation`."""
        return corpus

    def checkpoint_sizes(self, config: FitConfig, model: LatentModel) -> dict[str, Any]:
        """See `Task.checkpoint_sizes`."""
        return {"model": model.config}

    def stored_sizes(self, config: CheckpointConfig) -> ModelConfig | None:
        """See `Task.stored_sizes`."""
        return config.model if config.sentence is None and config.language is None else None

    def card(self, config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
        """See `Task.card`."""
        return dialog_card(config, metrics, command)


class SentenceTask(Task):
    """Single sentences, with the unconditional VAE."""

    examples: ClassVar[str] = "sentences"
    section: ClassVar[str] = "sentence"
    unused_sections: ClassVar[tuple[str, ...]] = ("model", "language")
    served: ClassVar[bool] = False
    can_add_bow: ClassVar[bool] = False

    def max_tokens(self, config: FitConfig) -> int:
        """See `Task.max_tokens`."""
        return config.sentence.max_tokens

    def model_name(self, config: FitConfig) -> str:
        """See `Task.model_name`."""
        return "vae" if config.sentence.latent_size else "lm"

    def build(
        self,
        sizes: SentenceModelConfig,
        vocab_size: int,
        topics: int,
        precision: Precision = "fp32",
        roles: int = 0,
    ) -> SentenceVAE:
        """See `Task.build`. A sentence has no topic, and no one says it."""
        return SentenceVAE(sizes, vocab_size)

    def load(self, checkpoint: Checkpoint, vocabulary: Vocabulary, config: FitConfig) -> SentenceVAE:
        """See `Task.load`."""
        return build_model(checkpoint, INIT, required=SentenceVAE).train()

    def word_embeddings(self, model: LatentModel) -> list[nn.Embedding]:
        """See `Task.word_embeddings`."""
        assert isinstance(model, SentenceVAE)
        return [each for each in (model.embedding, model.encoder_embedding) if each is not None]

    def batches(self, corpus: EncodedCorpus, config: FitConfig, world: World, device: torch.device) -> SentenceBatches:
        """See `Task.batches`."""
        return SentenceBatches(Sentences.of(corpus), config.train, config.sentence, world, device)

    def validation(self, corpus: EncodedCorpus) -> Sentences:
        """See `Task.validation`."""
        return Sentences.of(corpus)

    def checkpoint_sizes(self, config: FitConfig, model: LatentModel) -> dict[str, Any]:
        """See `Task.checkpoint_sizes`."""
        return {"model": config.model, "sentence": config.sentence}

    def stored_sizes(self, config: CheckpointConfig) -> SentenceModelConfig | None:
        """See `Task.stored_sizes`."""
        return config.sentence

    def card(self, config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
        """See `Task.card`."""
        return sentence_card(config, metrics, command)


TASKS: Mapping[TaskName, Task] = {"dialog": DialogTask(), "sentences": SentenceTask(), "language": LanguageTask()}


def task_of(config: FitConfig) -> Task:
    """The task of a configuration."""
    return TASKS[config.task]


def task_of_checkpoint(config: CheckpointConfig) -> Task:
    """The task of a checkpoint."""
    return next(task for task in TASKS.values() if task.stored_sizes(config) is not None)


def new_model(config: FitConfig, vocabulary: Vocabulary) -> LatentModel:
    """A new model; its weights are a function of `train.seed`."""
    torch.manual_seed(config.train.seed)
    return task_of(config).build(
        config.sizes,
        len(vocabulary.tokenizer),
        len(vocabulary.topics),
        config.train.precision,
        len(vocabulary.roles),
    )


def _chosen(embedding: nn.Embedding, rows: Sequence[int]) -> nn.Embedding:
    """An embedding with these rows of another one."""
    chosen = nn.Embedding(len(rows), embedding.embedding_dim)
    chosen.weight = nn.Parameter(embedding.weight.detach()[list(rows)])
    return chosen
