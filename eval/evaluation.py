"""The evaluation of one checkpoint, or of one baseline, on one split.

Open it to see the parts of an evaluation. There are three, each cached on its own and computed in a module of its own:
the likelihoods of the corpus under the checkpoint (`checkpoint_scores`), its replies (`checkpoint_replies`), and the
scores of the replies (`scoring`). A second evaluation computes only what is no longer valid.

Shape legend: N contexts, W windows (the contexts, and the first utterance of each conversation, which has no context).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dialog_cvae.data.cache import Cache
from dialog_cvae.storage.checkpoint import Checkpoint
from eval import evaluation_cache
from eval.checkpoint_replies import cached_replies
from eval.checkpoint_scores import cached_model_scores, refinement
from eval.contexts import AnsweredContext, Place, ReplySets, windows
from eval.evaluation_cache import Columns
from eval.evaluation_settings import Progress, Settings
from eval.held_out import HeldOut
from eval.latent.model_scores import ModelScores
from eval.opened_model import open_model
from eval.reply_scores import ReplyScores


class Evaluation(NamedTuple):
    """The results of an evaluation.

    Attributes:
        figures: of the split, by name, as JSON.
        columns: (N,) the scores of each context, by name.
        answered: the contexts, with their replies; empty without replies.
        places: (N,) of the contexts.
        model: the scores that need a checkpoint; None for a baseline.
    """

    figures: dict[str, Any]
    columns: Columns
    answered: list[AnsweredContext]
    places: list[Place]
    model: ModelScores | None = None


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    device: str,
    held_out: HeldOut,
    settings: Settings,
    cache: Cache,
    progress: Progress,
) -> tuple[ModelScores, ReplySets | None]:
    """The likelihoods of the held-out conversations under a checkpoint, and its replies to their contexts, if wanted.

    Args:
        checkpoint: the model.
        path: of the checkpoint, for messages.
        device: that computes.
        held_out: the conversations.
        settings: how to evaluate.
        cache: of earlier results.
        progress: makes progress bars.

    Raises:
        ConfigError: there is no such device.
        CheckpointError: the weights do not fit, or the record of training is broken.
    """
    opened = open_model(checkpoint, path, device, settings.precision, replies=settings.samples > 0)
    svi = refinement(checkpoint, path)
    origin = {
        "checkpoint": evaluation_cache.checkpoint_digest(checkpoint),
        "conversations": held_out.digest,
        "seed": settings.seed,
        "device": opened.device.type,
    }
    conversations = held_out.conversations
    scores = cached_model_scores(checkpoint, opened.model, svi, conversations, settings, cache, origin, progress)
    if opened.responder is None:
        return scores, None
    return scores, cached_replies(opened.responder, conversations, settings, cache, origin, progress)


def combined(
    held_out: HeldOut, model: ModelScores | None, replies: ReplySets | None, scores: ReplyScores | None
) -> Evaluation:
    """One evaluation from its parts, which may be None; columns of W windows are reduced to the N contexts."""
    figures: dict[str, Any] = {}
    columns: Columns = {}
    if model is not None:
        has_context = np.concatenate([np.array(c.reply_positions) > 0 for c in held_out.conversations])  # (W,)
        figures |= model.figures
        columns |= {name: column[has_context] for name, column in model.columns.items()}
    if scores is not None:
        figures, columns = figures | scores.figures, columns | scores.columns
    answered = [] if replies is None else replies.answered
    places = [window.place for window in windows(held_out.conversations)]
    return Evaluation(figures, columns, answered, places, model)
