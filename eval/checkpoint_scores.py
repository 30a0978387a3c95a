"""The likelihoods of a corpus under a checkpoint, cached.

Open it to change what decides these scores. An edit of any module that this one imports, directly or not, computes them
again; an edit of a metric of replies does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialog_cvae.config import SviConfig
from dialog_cvae.data.batches import encode_corpus
from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.storage.checkpoint import CONFIG, Checkpoint
from dialog_cvae.types import Conversation
from eval import evaluation_cache
from eval.evaluation_settings import Progress, Settings
from eval.latent.model_scores import ModelScores, model_scores

MODEL = Kind(
    "model",
    lambda scores: {
        **evaluation_cache.pack_scores(scores.figures, scores.columns),
        "posterior_mean": scores.posterior_mean,
    },
    lambda arrays: ModelScores(
        *evaluation_cache.unpack_scores(arrays), evaluation_cache.in_memory(arrays["posterior_mean"])
    ),
)


def cached_model_scores(
    checkpoint: Checkpoint,
    model: CVAE,
    svi: SviConfig,
    conversations: Sequence[Conversation],
    settings: Settings,
    cache: Cache,
    origin: Mapping[str, Any],
    progress: Progress,
) -> ModelScores:
    """Scores of every utterance of the conversations.

    Args:
        checkpoint: whose tokenizer and topics encode the conversations.
        model: the checkpoint's, in evaluation mode, on its device.
        svi: how its posteriors are refined; see `refinement`.
        conversations: the corpus.
        settings: seed and importance samples.
        cache: of earlier results.
        origin: digests of the checkpoint and the conversations, seed and device.
        progress: makes progress bars.
    """

    def compute() -> ModelScores:
        config = checkpoint.config
        tokenizer, limit = checkpoint.word_tokenizer, config.model.max_utterance_tokens
        corpus = encode_corpus(conversations, tokenizer, config.topics, limit)
        draws = settings.importance_samples
        return model_scores(model, corpus, svi=svi, seed=settings.seed, importance_samples=draws, bar=progress)

    decided = {"importance_samples": settings.importance_samples, "code": evaluation_cache.code(__name__)}
    return cache.get(MODEL, {**origin, **decided}, compute)


def refinement(checkpoint: Checkpoint, path: Path) -> SviConfig:
    """How the run refined its posteriors; evaluation refines them in the same way.

    Raises:
        CheckpointError: the checkpoint's record of its training is broken.
    """
    try:
        return SviConfig.model_validate(checkpoint.config.provenance.fit.get("train", {}).get("svi", {}))
    except (AttributeError, ValidationError):
        raise CheckpointError(f"{path}/{CONFIG}: field provenance.fit.train.svi is broken") from None
