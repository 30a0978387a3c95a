"""The one checkpoint format: a folder that holds everything a reply needs.

Open it to add a file to the folder, or to change how a checkpoint is written and read.

    config.json          sizes, topics, roles, what it was fitted on, and the SHA-256 of all others but the card
    model.safetensors    the weights, in single precision or, to be shipped, in half
    tokenizer.model      the SentencePiece model, or the language model's tokenizer.json
    metrics.json         what was measured
    README.md            the model card
    replies.safetensors  replies of the training conversations, only if they were exported too
    common_words.txt     words and numbers that many training conversations have; older checkpoints lack it
    trained_conversations.safetensors
                         hashes of the training conversations, if splits were drawn; older checkpoints lack it

The first five are parts of every checkpoint: one that lacks one is refused. `config.json` carries a checksum of its
own, so that no single changed byte goes unnoticed, except in the card, which may be edited. The folder is written under
another name and then renamed; readers never see half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_weights
from safetensors.numpy import save as serialise_weights

from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint_config import CheckpointConfig
from dialog_cvae.storage.checkpoint_files import (
    CARD,
    COMMON_WORDS,
    CONFIG,
    METRICS,
    REPLIES,
    TOKENIZER,
    TRAINED,
    WEIGHTS,
    find_folder,
    identity,
    json_bytes,
    json_object,
    read_config,
    sealed_config,
    verified_parts,
)
from dialog_cvae.storage.files import replace_folder
from dialog_cvae.text.stored_tokenizer import AnyTokenizer, read_tokenizer
from dialog_cvae.text.tokenizer import Tokenizer

T = TypeVar("T")
_READS = 8  # attempts to read a folder that is being replaced meanwhile


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    `weights` maps parameter names to arrays of any floating type; models compute in single precision. If the checkpoint
    has them, `replies` are those of the training conversations, `common` words are what many of these have, and
    `trained` says which they are.
    """

    config: CheckpointConfig
    weights: Mapping[str, NDArray[Any]]
    tokenizer: AnyTokenizer
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    replies: ReplyIndex | None = None
    common: CommonWords | None = None
    trained: TrainedConversations | None = None

    @property
    def word_tokenizer(self) -> Tokenizer:
        """The tokenizer of a model that is not a language model's.

        Raises:
            CheckpointError: it is a language model's.
        """
        if not isinstance(self.tokenizer, Tokenizer):
            raise CheckpointError(f"the checkpoint {self.language_model}")
        return self.tokenizer

    @property
    def language_model(self) -> str:
        """What a command that opens other models says of a checkpoint of a language model; empty for another."""
        if self.config.base is None:
            return ""
        return (
            f"holds adapters of the language model {self.config.base.name}; this command opens only models with "
            "weights of their own"
        )

    def save(self, path: Path) -> None:
        """Write the folder `path`, replacing what is there only once the new one is complete.

        Raises:
            DialogCvaeError: it cannot be written; what was there is untouched.
        """
        parts: dict[str, bytes] = {
            WEIGHTS: serialise_weights({name: np.ascontiguousarray(w) for name, w in self.weights.items()}),
            TOKENIZER: self.tokenizer.to_bytes(),
            METRICS: json_bytes(self.metrics),
            **({} if self.replies is None else {REPLIES: self.replies.to_bytes()}),
            **({} if self.common is None else {COMMON_WORDS: self.common.to_bytes()}),
            **({} if self.trained is None else {TRAINED: self.trained.to_bytes()}),
        }
        config = sealed_config(self.config.model_dump(mode="json"), parts)
        replace_folder(path, parts | {CARD: self.card.encode(errors="replace"), CONFIG: config})

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read and verify a checkpoint folder.

        Raises:
            CheckpointError: naming the part that is missing, truncated, changed or of another format.
        """
        for _ in range(_READS - 1):
            before = identity(path)
            try:
                return _load(find_folder(path))
            except CheckpointError:
                if before is not None and before == identity(path):
                    raise
        return _load(find_folder(path))


def _load(folder: Path) -> Checkpoint:
    content = read_config(folder / CONFIG)
    parts = verified_parts(folder, content.pop("files"))
    config = _config(folder / CONFIG, content)
    try:
        weights: dict[str, NDArray[Any]] = load_weights(parts[WEIGHTS])
    except (SafetensorError, KeyError, ValueError) as error:  # of its header, an unknown type, an impossible shape
        raise CheckpointError(f"{folder / WEIGHTS}: not a readable safetensors file ({error})") from None
    tokenizer = _part(folder, TOKENIZER, parts, read_tokenizer)
    if len(tokenizer) != config.vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER}: has {len(tokenizer)} pieces, but {CONFIG} says vocab_size {config.vocab_size}"
        )
    metrics = json_object(folder / METRICS, parts[METRICS])
    replies = _part(folder, REPLIES, parts, ReplyIndex.from_bytes) if REPLIES in parts else None
    common = _part(folder, COMMON_WORDS, parts, CommonWords.from_bytes) if COMMON_WORDS in parts else None
    trained = _part(folder, TRAINED, parts, TrainedConversations.from_bytes) if TRAINED in parts else None
    card = parts[CARD].decode(errors="replace")
    return Checkpoint(config, weights, tokenizer, metrics, card, replies, common, trained)


def _config(path: Path, content: Mapping[str, Any]) -> CheckpointConfig:
    """The configuration in the content of a file; an error names the field."""
    try:
        return CheckpointConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{path}: field {place}: {first['msg'].removeprefix('Value error, ')}") from None


def _part(folder: Path, name: str, parts: Mapping[str, bytes], read: Callable[[bytes], T]) -> T:
    """A part, read by `read`, whose errors get its path."""
    try:
        return read(parts[name])
    except CheckpointError as error:
        raise CheckpointError(f"{folder / name}: {error}") from None
