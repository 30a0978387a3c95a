"""The likelihoods of a corpus under a checkpoint, cached.

Open it to change how these scores are computed. An edit of any module that this one imports, directly or not, computes
them again; an edit of a metric of replies does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.turns import EncodedTurns, encode_turns
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model_config import SviConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import CONFIG
from dialog_cvae.types import Conversation
from eval import evaluation_cache
from eval.evaluation_settings import Progress, Settings
from eval.latent.context_exchange import MOST, context_figures
from eval.latent.model_scores import ModelScores, finite, language_model_scores, model_scores

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
    model: CVAE | LanguageCVAE,
    svi: SviConfig,
    conversations: Sequence[Conversation],
    settings: Settings,
    cache: Cache,
    origin: Mapping[str, Any],
    progress: Progress,
) -> ModelScores:
    """Scores of every utterance of the conversations.

    Args:
        checkpoint: says how conversations are encoded.
        model: the checkpoint's, in evaluation mode, on its device.
        svi: how its posteriors are refined; see `refinement`. A language model's are not.
        conversations: the corpus.
        settings: seed and importance samples.
        cache: of earlier results.
        origin: digests of the checkpoint and the conversations, seed and device.
        progress: makes progress bars.
    """
    decided = {
        "importance_samples": settings.importance_samples,
        "precision": settings.precision,
        "code": evaluation_cache.code(__name__),
    }
    return cache.get(
        MODEL, {**origin, **decided}, lambda: _scores(checkpoint, model, svi, conversations, settings, progress)
    )


def _scores(
    checkpoint: Checkpoint,
    model: CVAE | LanguageCVAE,
    svi: SviConfig,
    conversations: Sequence[Conversation],
    settings: Settings,
    progress: Progress,
) -> ModelScores:
    """See `cached_model_scores`."""
    corpus = encoded(checkpoint, conversations)
    seed, draws = settings.seed, settings.importance_samples
    if isinstance(model, LanguageCVAE):
        assert isinstance(corpus, EncodedTurns)
        scores = language_model_scores(model, corpus, seed=seed, importance_samples=draws, bar=progress)
    else:
        assert isinstance(corpus, EncodedCorpus)
        scores = model_scores(model, corpus, svi=svi, seed=seed, importance_samples=draws, bar=progress)
    if draws:
        with progress(MOST, "exchanging contexts") as shown:
            exchanged = context_figures(
                model,
                partial(encoded, checkpoint),
                conversations,
                scores.columns["iw_nll"],
                draws=scores.figures["iw_samples"],
                svi=svi,
                seed=seed,
                advance=shown.update,
            )
        scores.figures.update(finite(exchanged))
    return scores


def encoded(checkpoint: Checkpoint, conversations: Sequence[Conversation]) -> EncodedCorpus | EncodedTurns:
    """Conversations as a checkpoint's model reads them."""
    config = checkpoint.config
    if config.language is not None:
        return encode_turns(conversations, checkpoint.tokenizer, config.language.max_reply_tokens)
    limit = config.model.max_utterance_tokens
    return encode_corpus(conversations, checkpoint.word_tokenizer, config.topics, limit, roles=config.roles)


def refinement(checkpoint: Checkpoint, path: Path) -> SviConfig:
    """How the run refined its posteriors; evaluation refines them in the same way.

    Raises:
        CheckpointError: the checkpoint's record of its training is broken.
    """
    try:
        return SviConfig.model_validate(checkpoint.config.provenance.fit.get("train", {}).get("svi", {}))
    except (AttributeError, ValidationError):
        raise CheckpointError(f"{path}/{CONFIG}: field provenance.fit.train.svi is broken") from None
