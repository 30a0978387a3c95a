"""Reads the data of an evaluation by its options: held-out conversations, references, word vectors.

Open it to change which conversations a checkpoint is scored on.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dialog_cvae.config import DataConfig
from dialog_cvae.data import packaged_vectors
from dialog_cvae.data.corpora import Split, find_vectors, is_path, load_corpus, load_split
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import CONFIG
from dialog_cvae.types import Conversation
from eval.contexts import count_contexts
from eval.held_out import HeldOut
from eval.left_out import left_out_note, not_trained_on
from eval.portion import portion
from eval.references import multi_reference
from eval.references.multi_reference import References

NONE = "none"  # value of --references without any


def load_held_out(arguments: argparse.Namespace, checkpoint: Checkpoint) -> HeldOut:
    """The held-out data, without what the model was trained on.

    Raises:
        ConfigError: it has no context.
        DataError: the corpus or the references are missing or malformed.
    """
    split: Split = arguments.split
    data = data_config(arguments, checkpoint)
    train: Sequence[Conversation] | None = None
    if arguments.baselines and split == "train":
        raise ConfigError("--baselines: their replies come from the training split: choose --split valid or test")
    if arguments.baselines:
        corpus = load_corpus(data)
        name, train = corpus.name, list(corpus.train)
        conversations: Sequence[Conversation] = list(getattr(corpus, split))
    else:
        name, conversations = load_split(data, split)
    references = None
    if arguments.references in (None, NONE):
        if arguments.only_referenced:
            raise ConfigError("--only-referenced: needs a file of --references")
    else:
        references = multi_reference.load(Path(arguments.references), conversations)
        conversations = _referenced(conversations, references, arguments.only_referenced)
    untrained = not_trained_on(checkpoint, conversations, split)
    if left_out := len(conversations) - len(untrained):
        print(f"note: {left_out_note(left_out, len(conversations))}")
    conversations = untrained[: arguments.limit]
    if arguments.contexts is not None:
        conversations = portion(conversations, arguments.contexts)
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {split} of {name} has no context with a reply to score")
    vectors = vectors_source(arguments.vectors, arguments.data_dir)
    return HeldOut(name, split, conversations, references, vectors, train, left_out=left_out)


def _referenced(conversations: Sequence[Conversation], references: References, only: bool) -> Sequence[Conversation]:
    """All conversations, or with `only` those that have references; prints a note if some have none."""
    with_some = {name for name, _ in references}
    chosen = [conversation for conversation in conversations if conversation.id in with_some]
    if only:
        return chosen
    if len(chosen) < len(conversations):
        print(
            f"note: only {len(chosen):,} of {len(conversations):,} conversations have references; replies to all are "
            "drawn. --only-referenced evaluates those alone"
        )
    return conversations


def data_config(arguments: argparse.Namespace, checkpoint: Checkpoint) -> DataConfig:
    """The requested corpus, with the checkpoint's own split shares, rules of reading and text style.

    A checkpoint without `corpus.reading` is from a version that only had reading 1.
    """
    stored = checkpoint.config.provenance.fit.get("corpus", {})
    try:
        fitted = DataConfig.model_validate(stored)
    except ValidationError:
        raise CheckpointError(f"{arguments.checkpoint}/{CONFIG}: field provenance.fit.corpus is broken") from None
    if arguments.data is None and not stored:
        raise ConfigError(f"--data: {arguments.checkpoint} does not say what it was fitted on; name a corpus")
    if arguments.data is None and is_path(fitted.name) and not Path(fitted.name).exists():
        raise ConfigError(
            f"--data: {arguments.checkpoint} was fitted on a file {fitted.name}, which is not in this folder; "
            "give its path"
        )
    asked = {
        "name": arguments.data,
        "dir": arguments.data_dir,
        "style": arguments.style,
        "respond_as": asked_roles(arguments),
    }
    reading = fitted.reading if "reading" in stored or not stored else 1
    changes = {key: value for key, value in asked.items() if value is not None}
    return fitted.model_copy(update={"reading": reading, **changes})


def asked_roles(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """The speakers whose replies were requested; empty: all; None: the option was not given."""
    if arguments.respond_as is None:
        return None
    return tuple(name for name in arguments.respond_as if name.strip())


def vectors_source(asked: str | None, data_dir: Path | None) -> Path | str | None:
    """File or name of the word vectors: the requested ones, else the default ones; None if the latter are missing."""
    if asked in (None, packaged_vectors.NAME) and packaged_vectors.is_installed():
        return packaged_vectors.NAME
    if asked is None:
        return find_vectors(packaged_vectors.NAME, data_dir)
    plain_name = re.fullmatch(r"[\w.-]+", asked) and not Path(asked).exists()
    return (find_vectors(asked, data_dir) if plain_name else None) or asked
