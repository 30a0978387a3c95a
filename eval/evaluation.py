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
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.generate.opening import dialog_reading
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint
from eval import evaluation_cache
from eval.checkpoint_replies import cached_replies
from eval.checkpoint_scores import cached_model_scores, refinement
from eval.contexts import AnsweredContext, ReplySets
from eval.evaluation_cache import Columns
from eval.evaluation_settings import Progress, Settings
from eval.held_out import HeldOut
from eval.latent.model_scores import ModelScores
from eval.reply_scores import ReplyScores


class Evaluation(NamedTuple):
    """The results of an evaluation.

    Attributes:
        figures: of the split, by name, as JSON.
        columns: (N,) the scores of each context, by name.
        answered: the contexts, with their replies.
        model: the scores that need a checkpoint; None for a baseline.
    """

    figures: dict[str, Any]
    columns: Columns
    answered: list[AnsweredContext]
    model: ModelScores | None = None


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    device: str,
    held_out: HeldOut,
    settings: Settings,
    cache: Cache,
    progress: Progress,
) -> tuple[ModelScores, ReplySets]:
    """The likelihoods of the held-out conversations under a checkpoint, and its replies to their contexts.

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
    model = build_model(checkpoint, f"{path}/{WEIGHTS}", required=CVAE)
    engine = TorchEngine(model, device)
    responder = Responder(engine, dialog_reading(checkpoint), checkpoint.config, checkpoint.config.provenance.data)
    svi = refinement(checkpoint, path)
    origin = {
        "checkpoint": evaluation_cache.checkpoint_digest(checkpoint),
        "conversations": held_out.digest,
        "seed": settings.seed,
        "device": engine.device.type,
    }
    conversations = held_out.conversations
    scores = cached_model_scores(checkpoint, model, svi, conversations, settings, cache, origin, progress)
    return scores, cached_replies(responder, conversations, settings, cache, origin, progress)


def combined(held_out: HeldOut, model: ModelScores | None, replies: ReplySets, scores: ReplyScores) -> Evaluation:
    """One evaluation from its parts; of the W windows only the N contexts are among its columns."""
    if model is None:
        return Evaluation(scores.figures, scores.columns, replies.answered)
    has_context = np.concatenate([np.arange(len(c.utterances)) > 0 for c in held_out.conversations])  # (W,)
    columns = {name: column[has_context] for name, column in model.columns.items()} | scores.columns
    return Evaluation(model.figures | scores.figures, columns, replies.answered, model)
