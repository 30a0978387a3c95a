"""The base class of tasks: everything that differs between kinds of corpora and models.

Open this to see what a new task must define; `training.task` lists the tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from dialog_cvae.data.corpora import Split
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.roles import joined_roles
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.model.latent_model import Examples, LatentModel
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig
from training.batch import Batches
from training.config import FitConfig, Precision, Sizes
from training.distributed import World
from training.training_corpus import TrainingCorpus
from training.vocabulary import Vocabulary

INIT = "the checkpoint of --init"
EncodedData = EncodedCorpus | EncodedTurns


class Task(ABC):
    """Everything that differs between kinds of corpora and models.

    Attributes:
        examples: plural name of what a corpus holds, for messages.
        section: section of the configuration with the sizes of the model.
        unused_sections: sections of the configuration with the sizes of other models.
        served: whether the service can open its checkpoints.
        can_add_bow: whether the section has `bow`, an option against a collapsed posterior.
        free_sizes: fields of the section that may differ from those of a checkpoint to start from.
        limits: fields that keep the value of this checkpoint unless another is asked for: no weight has their shape.
    """

    examples: ClassVar[str]
    section: ClassVar[str]
    unused_sections: ClassVar[tuple[str, ...]]
    served: ClassVar[bool]
    can_add_bow: ClassVar[bool]

    free_sizes: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[tuple[str, ...]] = ()

    def settled(self, config: FitConfig) -> FitConfig:
        """The configuration, completed by what only files say.

        Raises:
            DialogCvaeError: a file is missing, broken or not the one that the configuration names.
        """
        return config

    def vocabulary(self, config: FitConfig, corpus: TrainingCorpus, init: Checkpoint | None) -> Vocabulary:
        """The vocabulary, made from the training text or taken from the checkpoint to start from.

        The checkpoint's topics and roles are added after those of the corpus.
        """
        summary = corpus.summary
        roles = summary.roles if config.model.role_size else ()
        if init is None:
            return Vocabulary(corpus.tokenizer(config.tokenizer), summary.topics, roles)
        topics = tuple(dict.fromkeys((*summary.topics, *init.config.topics)))
        return Vocabulary(init.tokenizer, topics, joined_roles((*roles, *init.config.roles)))

    def encoded(self, config: FitConfig, corpus: TrainingCorpus, split: Split, vocabulary: Vocabulary) -> EncodedData:
        """The token ids of a split."""
        return corpus.encoded(split, vocabulary, self.max_tokens(config))

    @abstractmethod
    def max_tokens(self, config: FitConfig) -> int:
        """Most tokens of an utterance or sentence."""

    @abstractmethod
    def model_name(self, config: FitConfig) -> str:
        """A short name of the model, for the default folder of a run."""

    @abstractmethod
    def build(
        self, sizes: Any, vocab_size: int, topics: int, precision: Precision = "fp32", roles: int = 0
    ) -> LatentModel:
        """A model with new weights from PyTorch's random state; `precision` is for weights that never change."""

    @abstractmethod
    def load(self, checkpoint: Checkpoint, vocabulary: Vocabulary, config: FitConfig) -> LatentModel:
        """A checkpoint's model for further training, with the vocabulary and the configuration of the new run.

        Raises:
            CheckpointError: the weights do not fit the sizes.
        """

    @abstractmethod
    def word_embeddings(self, model: LatentModel) -> list[nn.Embedding]:
        """The embeddings that receive pre-trained word vectors: one, or one of the decoder and one of the encoder."""

    def check(self, config: FitConfig, encoded: EncodedData) -> None:
        """Check the configuration against the training split, before anything is built.

        Raises:
            ConfigError: they do not fit each other.
        """
        return

    @abstractmethod
    def batches(self, corpus: Any, config: FitConfig, world: World, device: torch.device) -> Batches:
        """The training batches."""

    @abstractmethod
    def validation(self, corpus: Any) -> Examples:
        """The validation split as the model's `batch` takes it."""

    @abstractmethod
    def checkpoint_sizes(self, config: FitConfig, model: LatentModel) -> dict[str, Any]:
        """The fields of `CheckpointConfig` that give the model's sizes."""

    @abstractmethod
    def stored_sizes(self, config: CheckpointConfig) -> Sizes | None:
        """The sizes of a checkpoint of this task; None for one of another task."""

    @abstractmethod
    def card(self, config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
        """The model card of a checkpoint, Markdown.

        Args:
            config: of the checkpoint.
            metrics: of its validation.
            command: the command that fitted it.
        """
