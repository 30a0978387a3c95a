"""Parts that a copy of a checkpoint leaves out or adds: the bag-of-words head, an index of replies, common words.

Open it to change one of them. Each change is added to the copy's provenance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dialog_cvae.config import DataConfig
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.corpora import load_split
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation

BOW_HEAD = "bow_head."


def without_bow(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without its bag-of-words head, which neither replies nor likelihoods need.

    Raises:
        ConfigError: it has none.
    """
    section = "model" if checkpoint.config.language is None else "language"
    sizes = getattr(checkpoint.config, section)
    if not sizes.bow:
        raise ConfigError("--drop-bow: the checkpoint has no bag-of-words head")
    without = {section: sizes.model_copy(update={"bow": False})}
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith(BOW_HEAD)}
    config = checkpoint.config.model_copy(update=without)
    return with_change(replace(checkpoint, config=config, weights=weights), "bag-of-words head left out")


def without_trained(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without the hashes of its training conversations.

    Raises:
        ConfigError: it has none.
    """
    if checkpoint.trained is None:
        raise ConfigError("--drop-trained: the checkpoint has no hashes of its training conversations")
    return with_change(replace(checkpoint, trained=None), "hashes of the training conversations left out")


def with_index(
    checkpoint: Checkpoint, min_conversations: int, name: str | None = None, folder: Path | None = None
) -> Checkpoint:
    """The checkpoint with an index of the replies of its training split; no other split is read.

    Args:
        checkpoint: of a dialog model or a language model.
        min_conversations: see `dialog_cvae.data.reply_index`.
        name: name of the corpus; default: the one that the checkpoint was fitted on.
        folder: folder with the corpora.

    Raises:
        ConfigError: the checkpoint does not say what it was fitted on, or no reply was said in enough conversations.
        DataError: the corpus is missing or malformed.
    """
    data, conversations = _training_split(checkpoint, "--with-index", name, folder)
    indexed = replace(checkpoint, replies=ReplyIndex.of(conversations, min_conversations))
    return with_change(indexed, f"index of replies of {data} added")


def with_common_words(checkpoint: Checkpoint, name: str | None = None, folder: Path | None = None) -> Checkpoint:
    """The checkpoint with the list of words and numbers that many conversations of its training split have.

    Args:
        checkpoint: of a dialog model or a language model.
        name: of the corpus; default: the one that the checkpoint was fitted on.
        folder: with the corpora.

    Raises:
        ConfigError: the checkpoint does not say what it was fitted on.
        DataError: the corpus is missing or malformed.
    """
    data, conversations = _training_split(checkpoint, "--with-common-words", name, folder)
    listed = replace(checkpoint, common=CommonWords.of(said_in(conversations)))
    return with_change(listed, f"common words of {data} listed")


def _training_split(
    checkpoint: Checkpoint, option: str, name: str | None, folder: Path | None
) -> tuple[str, Sequence[Conversation]]:
    """The name of a checkpoint's corpus, and its training conversations."""
    stored = checkpoint.config.provenance.fit.get("corpus", {})
    if name is None and not stored:
        raise ConfigError(f"{option}: the checkpoint does not say what it was fitted on; give --data")
    asked: dict[str, Any] = {key: value for key, value in (("name", name), ("dir", folder)) if value is not None}
    if stored and "reading" not in stored:
        asked["reading"] = 1  # divided as in the checkpoint's fit
    data = DataConfig.model_validate(stored).model_copy(update=asked)
    if data.of_sentences:
        raise ConfigError(f"{option}: {data.name} has sentences, and no conversations")
    _, conversations = load_split(data, "train")
    return Path(data.name).name, conversations


def with_change(checkpoint: Checkpoint, change: str) -> Checkpoint:
    """The checkpoint with a change added to its provenance."""
    provenance = checkpoint.config.provenance
    provenance = provenance.model_copy(update={"changes": (*provenance.changes, change)})
    return replace(checkpoint, config=checkpoint.config.model_copy(update={"provenance": provenance}))
