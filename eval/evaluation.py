"""Everything that is measured about one checkpoint, or about one way to reply, on one split.

It comes in three parts, each kept in a folder under everything that decides it, code included: what a checkpoint makes
of the responses that were given (`model_scores`), what it replies itself (`sample_responses`), and what the replies are
worth (`reply_scores`). A second evaluation takes what still holds and makes the rest anew.

Shape legend: N contexts, W windows (the contexts, and the first utterance of each conversation, which answers nobody).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError
from tqdm import tqdm

from dialog_cvae.config import Config, Decoding, SviConfig
from dialog_cvae.data.cache import Cache
from dialog_cvae.engines.torch_engine import TorchEngine, build_model
from dialog_cvae.errors import CheckpointError
from dialog_cvae.generate.responder import Responder
from dialog_cvae.storage.checkpoint import CONFIG, WEIGHTS, Checkpoint
from eval import evaluation_cache
from eval.baselines.people import leave_one_out
from eval.baselines.without_model import verbatim
from eval.contexts import windows
from eval.generation import Sampled, answered_at, sample_responses
from eval.held_out import HeldOut, Yardstick
from eval.latent.model_scores import ModelScores, model_scores
from eval.metrics.single_reference import per_context, summarize
from eval.reply_scores import Columns, ReplyScores, metric_context, reply_scores

SINGLE_REFERENCE_SAMPLES = 10  # of DialogWAE's protocol

Progress = Callable[[int, str], "tqdm[Any]"]
"""A progress bar of so many units of work of such a name; it is used as a context manager."""


class Settings(Config):
    """How a checkpoint is evaluated.

    Attributes:
        samples: replies to each context.
        seed: of everything that is drawn.
        decoding: how replies are drawn.
        importance_samples: draws of z for the importance-weighted likelihood, 0 for none; see `model_scores`.
        single_reference: score ten replies to each context by DialogWAE's protocol too.
    """

    samples: int = 5
    seed: int = 0
    decoding: Decoding = Decoding()
    importance_samples: int = 5
    single_reference: bool = False


class Replies(NamedTuple):
    """What was replied to the N contexts: as often as was asked for and, if asked for, by DialogWAE's protocol."""

    sampled: list[Sampled]
    single_reference: list[Sampled] | None = None


class Evaluation(NamedTuple):
    """What was found.

    Attributes:
        figures: of the split, by name, as JSON.
        columns: (N,) the scores of each context, by name.
        sampled: the contexts, with their replies.
        model: what only a checkpoint has; None for another way to reply.
    """

    figures: dict[str, Any]
    columns: Columns
    sampled: list[Sampled]
    model: ModelScores | None = None


def modelled(
    checkpoint: Checkpoint, place: Path, device: str, held_out: HeldOut, settings: Settings, kept: Cache, bar: Progress
) -> tuple[ModelScores, Replies]:
    """What a checkpoint makes of the responses that were given, and what it replies itself.

    Args:
        checkpoint: the model.
        place: where it is, for messages.
        device: that computes.
        held_out: what it is evaluated on.
        settings: how.
        kept: where what was found before is.
        bar: makes progress bars.

    Raises:
        ConfigError: there is no such device.
        CheckpointError: the weights do not fit.
    """
    model = build_model(checkpoint, f"{place}/{WEIGHTS}")
    engine = TorchEngine(model, device)
    responder = Responder(engine, checkpoint.word_tokenizer, checkpoint.config, checkpoint.config.provenance.data)
    svi = refinement_of(checkpoint, place)
    origin = {
        "checkpoint": evaluation_cache.checkpoint_digest(checkpoint),
        "conversations": held_out.digest,
        "seed": settings.seed,
        "device": engine.device.type,
    }

    def score() -> ModelScores:
        encoded = responder.encode(held_out.conversations)
        draws = settings.importance_samples
        return model_scores(model, encoded, svi=svi, seed=settings.seed, importance_samples=draws, bar=bar)

    asked = {
        "importance_samples": settings.importance_samples,
        "code": evaluation_cache.code(__name__),
    }
    scores = kept.get(evaluation_cache.MODEL, origin | asked, score)
    return scores, _replies(responder, held_out, settings, kept, origin, bar)


def refinement_of(checkpoint: Checkpoint, place: Path) -> SviConfig:
    """How the run refined its posteriors, by which they are judged too.

    Raises:
        CheckpointError: what the checkpoint says of its training is broken.
    """
    try:
        return SviConfig.model_validate(checkpoint.config.provenance.fit.get("train", {}).get("svi", {}))
    except (AttributeError, ValidationError):
        raise CheckpointError(f"{place}/{CONFIG}: field provenance.fit.train.svi is broken") from None


def _replies(
    responder: Responder, held_out: HeldOut, settings: Settings, kept: Cache, origin: dict[str, Any], bar: Progress
) -> Replies:
    conversations, decoding = held_out.conversations, settings.decoding
    places = windows(conversations)

    def drawn(samples: int) -> list[tuple[str, ...]]:
        def draw() -> list[tuple[str, ...]]:
            found = []
            with bar(len(places), "sampling") as shown:
                for one in sample_responses(responder, conversations, samples, settings.seed, decoding):
                    found.append(one.responses)
                    shown.update()
            return found

        asked = {
            "decoding": asdict(decoding),
            "samples": samples,
            "code": evaluation_cache.code(__name__),
        }
        return kept.get(evaluation_cache.REPLIES, origin | asked, draw)

    counts = [settings.samples, *([SINGLE_REFERENCE_SAMPLES] if settings.single_reference else [])]
    # The first of many replies are what few would be where nothing but z is drawn, and where all are selected from the
    # same candidates.
    nested = decoding.candidates >= max(counts) if decoding.candidates else decoding.temperature == 0
    texts = {count: drawn(count) for count in ({max(counts)} if nested else set(counts))}

    def sampled(count: int) -> list[Sampled]:
        return [
            answered_at(place.conversation, place.position, responder.max_context, said[:count])
            for place, said in zip(places, texts.get(count, texts[max(texts)]), strict=True)
        ]

    return Replies(*map(sampled, counts))


def scored(
    replies: Replies,
    held_out: HeldOut,
    settings: Settings,
    yardstick: Callable[[], Yardstick],
    kept: Cache,
    bar: Progress,
    *,
    people: bool = False,
) -> ReplyScores:
    """What replies are worth, as it was found before or is found now.

    Args:
        replies: to the contexts of `held_out`.
        held_out: says what the yardstick is before it is loaded.
        settings: how.
        yardstick: asked only if the scores are not known yet.
        kept: where what was found before is.
        bar: makes progress bars.
        people: the replies are references, and are matched with the others; see `eval.baselines.people`.
    """
    origin = scores_origin(replies, held_out, settings, people)
    return kept.get(evaluation_cache.SCORES, origin, lambda: score(replies, yardstick(), settings, bar, people=people))


def scores_origin(replies: Replies, held_out: HeldOut, settings: Settings, people: bool) -> dict[str, Any]:
    """Everything that decides what replies are worth."""
    return {
        "replies": evaluation_cache.digest(replies),
        "yardstick": held_out.yardstick_digest,
        "people": settings.samples if people else None,
        "seed": settings.seed,
        "code": evaluation_cache.code(__name__),
    }


def score(
    replies: Replies, yardstick: Yardstick, settings: Settings, bar: Progress, *, people: bool = False
) -> ReplyScores:
    """What replies are worth; see `scored`."""
    left_out = None
    if people and yardstick.references is not None:
        left_out = leave_one_out(yardstick.references, yardstick.conversations, settings.samples, settings.seed)
    with bar(len(replies.sampled), "scoring replies") as shown:
        scores = reply_scores(
            replies.sampled,
            references=yardstick.references,
            vectors=yardstick.vectors,
            tag=None if yardstick.tagger is None else yardstick.tagger.tag,
            left_out=left_out,
            seed=settings.seed,
            advance=shown.update,
        )
    if yardstick.tagger_accuracy is not None:
        scores.figures["act_tagger_accuracy"] = yardstick.tagger_accuracy  # act_entropy is no better than this
    if replies.single_reference is not None:
        columns = per_context([metric_context(one) for one in replies.single_reference], yardstick.vectors)
        scores.figures["single_reference"] = summarize(columns).figures()
        scores.columns.update({f"single_reference.{name}": column for name, column in columns.items()})
    if yardstick.training_texts is not None:
        scores.figures["verbatim_from_training"] = verbatim(replies.sampled, yardstick.training_texts)
    return scores


def combined(held_out: HeldOut, model: ModelScores | None, replies: Replies, scores: ReplyScores) -> Evaluation:
    """One evaluation from its parts; of the W windows only the N contexts are among its columns."""
    if model is None:
        return Evaluation(scores.figures, scores.columns, replies.sampled)
    answers = np.concatenate([np.arange(len(c.utterances)) > 0 for c in held_out.conversations])  # (W,)
    columns = {name: column[answers] for name, column in model.columns.items()} | scores.columns
    return Evaluation(model.figures | scores.figures, columns, replies.sampled, model)
