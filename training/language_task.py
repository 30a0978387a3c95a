"""The task of a pre-trained language model with adapters, on conversations.

Open this to change how its backbone is found, checked and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from dialog_cvae.config import Decoding
from dialog_cvae.data.corpora import Split
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.engines.torch_language import KINDS, build_language_model, new_language_model
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig
from dialog_cvae.storage.find_backbone import locate, open_backbone
from training.base_task import INIT, EncodedData, Task
from training.config import FitConfig, Precision
from training.distributed import World
from training.language_batches import TurnBatches
from training.model_card import language_card
from training.training_corpus import TrainingCorpus
from training.vocabulary import Vocabulary

DECODING = Decoding(temperature=0.7, top_p=0.9, candidates=16)
"""How replies are drawn, unless a checkpoint or a request says otherwise."""


class LanguageTask(Task):
    """Replies to conversations, by adapters of a language model."""

    examples: ClassVar[str] = "conversations"
    section: ClassVar[str] = "language"
    unused_sections: ClassVar[tuple[str, ...]] = ("model", "sentence", "tokenizer")
    served: ClassVar[bool] = True
    can_add_bow: ClassVar[bool] = True
    free_sizes: ClassVar[tuple[str, ...]] = ("backbone",)
    limits: ClassVar[tuple[str, ...]] = ("max_reply_tokens", "max_context_tokens", "block")

    def settled(self, config: FitConfig) -> FitConfig:
        """See `Task.settled`: the SHA-256 of the base's file."""
        sizes = _sizes(config)
        found = backbone_of(sizes).sha256
        return config.model_copy(update={"language": sizes.model_copy(update={"sha256": found})})

    def vocabulary(self, config: FitConfig, corpus: TrainingCorpus, init: Checkpoint | None) -> Vocabulary:
        """See `Task.vocabulary`: the base's own. Topics are text to it."""
        return Vocabulary(backbone_of(_sizes(config)).tokenizer, ())

    def encoded(self, config: FitConfig, corpus: TrainingCorpus, split: Split, vocabulary: Vocabulary) -> EncodedTurns:
        """See `Task.encoded`."""
        return corpus.turns(split, vocabulary.tokenizer, self.max_tokens(config))

    def check(self, config: FitConfig, encoded: EncodedData) -> None:
        """See `Task.check`."""
        assert isinstance(encoded, EncodedTurns)
        check_blocks(encoded, _sizes(config), backbone_of(_sizes(config)).config.max_positions)

    def max_tokens(self, config: FitConfig) -> int:
        """See `Task.max_tokens`."""
        return _sizes(config).max_reply_tokens

    def model_name(self, config: FitConfig) -> str:
        """See `Task.model_name`."""
        sizes = _sizes(config)
        name = Path(sizes.backbone).stem
        return f"{name}-cvae{'-bow' if sizes.bow else ''}" if sizes.latent_size else name

    def build(
        self,
        sizes: LanguageModelConfig,
        vocab_size: int,
        topics: int,
        precision: Precision = "fp32",
        roles: int = 0,
    ) -> LanguageCVAE:
        """See `Task.build`. Topics and roles are text to it."""
        return new_language_model(sizes, backbone_of(sizes), KINDS[precision])

    def load(self, checkpoint: Checkpoint, vocabulary: Vocabulary, config: FitConfig) -> LanguageCVAE:
        """See `Task.load`."""
        backbone = backbone_of(_sizes(config))
        return build_language_model(checkpoint, backbone, KINDS[config.train.precision], INIT).train()

    def word_embeddings(self, model: LatentModel) -> list[nn.Embedding]:
        """See `Task.word_embeddings`."""
        raise ConfigError("train.vectors: a language model has embeddings of its own")

    def batches(self, corpus: EncodedTurns, config: FitConfig, world: World, device: torch.device) -> TurnBatches:
        """See `Task.batches`."""
        return TurnBatches(corpus, config.train, _sizes(config), world, device)

    def validation(self, corpus: EncodedTurns) -> EncodedTurns:
        """See `Task.validation`."""
        return corpus

    def checkpoint_sizes(self, config: FitConfig, model: LatentModel) -> dict[str, Any]:
        """See `Task.checkpoint_sizes`. A path loses its folders, which are private."""
        sizes = _sizes(config)
        named = sizes.model_copy(update={"backbone": Path(sizes.backbone).name})
        return {"model": config.model, "language": named, "base": backbone_of(sizes).facts, "decoding": DECODING}

    def stored_sizes(self, config: CheckpointConfig) -> LanguageModelConfig | None:
        """See `Task.stored_sizes`."""
        return config.language

    def card(self, config: CheckpointConfig, metrics: Mapping[str, Any], command: str) -> str:
        """See `Task.card`."""
        return language_card(config, metrics, command)


def check_blocks(turns: EncodedTurns, sizes: LanguageModelConfig, positions: int) -> None:
    """Check that the language model has a position for each token that it reads at once.

    Raises:
        ConfigError: a block of utterances, with what is read before it, has more tokens.
    """
    fits = fitting_block(turns, sizes, positions)
    if fits == sizes.block:
        return
    smaller = "smaller --language.max-context-tokens and --language.max-reply-tokens"
    remedy = f"--language.block {fits}" if fits else smaller
    most = sizes.max_context_tokens + turns.longest(sizes.block)
    raise ConfigError(
        f"language.block: {sizes.block} utterances with {sizes.max_context_tokens} tokens before them have up to "
        f"{most:,} tokens here, but the language model has {positions:,} positions: give {remedy}"
    )


def fitting_block(turns: EncodedTurns, sizes: LanguageModelConfig, positions: int) -> int:
    """The most utterances of a block, up to the configuration's, that have a position for each token; 0 if none has."""
    room = positions - sizes.max_context_tokens
    return next((block for block in range(sizes.block, 0, -1) if turns.longest(block) <= room), 0)


def backbone_of(sizes: LanguageModelConfig) -> Backbone:
    """The language model that a configuration names.

    Raises:
        CheckpointError: it is missing, broken or not the one of the configuration's SHA-256.
        ConfigError: a context may have more tokens than the model has positions.
    """
    path = locate(sizes.backbone)
    backbone = _opened(path, _version(path))
    if sizes.sha256 not in (None, backbone.sha256):
        raise CheckpointError(
            f"language.backbone: {path} has SHA-256 {backbone.sha256[:12]}..., "
            f"but {str(sizes.sha256)[:12]}... is needed"
        )
    if sizes.max_context_tokens > (most := backbone.config.max_positions):
        raise ConfigError(
            f"language.max_context_tokens must be at most {most:,}, the positions of {path}, but is "
            f"{sizes.max_context_tokens:,}"
        )
    return backbone


@lru_cache(maxsize=2)  # it is asked for several times in a run
def _opened(path: Path, version: tuple[int, ...]) -> Backbone:
    return open_backbone(path)


def _version(path: Path) -> tuple[int, ...]:
    """Changes when the file, or a file of the folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple(number for file in files for number in (file.stat().st_size, file.stat().st_mtime_ns))


def _sizes(config: FitConfig) -> LanguageModelConfig:
    assert config.language is not None
    return config.language
