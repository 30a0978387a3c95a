"""Leaves out of a held-out split what a model was trained on.

Open it to change what counts as trained on. A file of conversations that has grown is divided again, so that its test
split may hold conversations of an earlier fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation


def not_trained_on(
    checkpoints: Iterable[Checkpoint], conversations: Sequence[Conversation], split: str
) -> Sequence[Conversation]:
    """The conversations that none of the models was trained on; all of them if the split is the training split.

    Args:
        checkpoints: of the models; one that does not say what it was trained on leaves nothing out.
        conversations: of the split.
        split: its name.

    Raises:
        ConfigError: no conversation remains.
    """
    if split == "train":
        return conversations
    remaining = conversations
    for checkpoint in checkpoints:
        if checkpoint.trained is not None:
            seen = checkpoint.trained.contain(remaining)
            remaining = [each for each, is_trained in zip(remaining, seen, strict=True) if not is_trained]
    if conversations and not remaining:
        raise ConfigError(
            f"--split {split}: all of its {len(conversations):,} conversations are among those trained on"
        )
    return remaining


def left_out_note(left_out: int, conversations: int) -> str:
    """A sentence for the user: `left_out` of the split's conversations were left out."""
    were = "was" if left_out == 1 else "were"
    return f"{left_out:,} of the {conversations:,} conversations {were} left out: the model was trained on them"
