"""Leaves out of a held-out split what a model was trained on.

Open it to change what counts as trained on. A file of conversations that has grown is divided again, so that its test
split may hold conversations of an earlier fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation


def trained_on(checkpoints: Iterable[Checkpoint], conversations: Sequence[Conversation]) -> NDArray[np.bool_]:
    """(C,) whether any of the models was trained on each conversation; False where a checkpoint does not say so."""
    found = np.zeros(len(conversations), dtype=bool)
    for checkpoint in checkpoints:
        if checkpoint.trained is not None:
            found |= checkpoint.trained.contain(conversations)
    return found


def not_trained_on(checkpoint: Checkpoint, conversations: Sequence[Conversation], split: str) -> Sequence[Conversation]:
    """The conversations that the model was not trained on; all of them if the split is the training split.

    Args:
        checkpoint: of the model.
        conversations: of the split.
        split: its name.

    Raises:
        ConfigError: no conversation remains.
    """
    if split == "train" or checkpoint.trained is None:
        return conversations
    trained = trained_on([checkpoint], conversations)
    remaining = [each for each, is_trained in zip(conversations, trained, strict=True) if not is_trained]
    if conversations and not remaining:
        raise ConfigError(
            f"--split {split}: all of its {len(conversations):,} conversations were trained on; --split train scores "
            "them all the same"
        )
    return remaining


def left_out_note(left_out: int, conversations: int) -> str:
    """A sentence for the user: `left_out` of the split's conversations were left out."""
    were = "was" if left_out == 1 else "were"
    return f"{left_out:,} of the {conversations:,} conversations {were} left out: the model was trained on them"
