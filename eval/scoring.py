"""The scores of replies, cached.

Open it to add a score that needs more than the replies and their references. An edit of any module that this one
imports, directly or not, computes the scores again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dialog_cvae.data.cache import Cache, Kind
from eval import evaluation_cache
from eval.baselines.people import leave_one_out
from eval.baselines.without_model import verbatim
from eval.contexts import ReplySets
from eval.evaluation_settings import Progress, Settings
from eval.held_out import HeldOut, ScoringData
from eval.metrics.single_reference import per_context, summarize
from eval.personal import rare_in_replies
from eval.reply_scores import ReplyScores, distinct_texts, metric_context, reply_scores

SCORES = Kind(
    "scores",
    lambda scores: evaluation_cache.pack_scores(scores.figures, scores.columns),
    lambda arrays: ReplyScores(*evaluation_cache.unpack_scores(arrays)),
)


def cached_reply_scores(
    replies: ReplySets,
    held_out: HeldOut,
    settings: Settings,
    data: Callable[[], ScoringData],
    cache: Cache,
    progress: Progress,
    *,
    people: bool = False,
) -> ReplyScores:
    """The scores of replies, from the cache or computed now.

    Args:
        replies: to the contexts of `held_out`.
        held_out: its digest decides whether cached scores are valid.
        settings: how the replies are scored.
        data: loads what the replies are compared with; called only if the scores are not cached.
        cache: of earlier results.
        progress: makes progress bars.
        people: the replies are references, each matched with the others; see `eval.baselines.people`.
    """
    origin = scores_origin(replies, held_out, settings, people)
    return cache.get(SCORES, origin, lambda: score_replies(replies, data(), settings, progress, people=people))


def scores_origin(replies: ReplySets, held_out: HeldOut, settings: Settings, people: bool) -> dict[str, Any]:
    """Everything that the scores of replies depend on."""
    return {
        "replies": evaluation_cache.digest(replies),
        "data": held_out.scoring_digest,
        "people": settings.samples if people else None,
        "seed": settings.seed,
        "code": evaluation_cache.code(__name__),
    }


def score_replies(
    replies: ReplySets, data: ScoringData, settings: Settings, progress: Progress, *, people: bool = False
) -> ReplyScores:
    """The scores of replies; see `cached_reply_scores`."""
    left_out = None
    if people and data.references is not None:
        left_out = leave_one_out(data.references, data.conversations, settings.samples, settings.seed, data.tokens)
    with progress(len(replies.answered), "scoring replies") as shown:
        scores = reply_scores(
            replies.answered,
            references=data.references,
            vectors=data.vectors,
            tag=None if data.tagger is None else data.tagger.tag,
            left_out=left_out,
            tokens=data.tokens,
            seed=settings.seed,
            advance=shown.update,
        )
    if data.tagger_accuracy is not None:
        scores.figures["act_tagger_accuracy"] = data.tagger_accuracy  # shows how reliable act_entropy is
    if replies.single_reference is not None:
        columns = per_context(
            [metric_context(one, None, data.tokens) for one in replies.single_reference], data.vectors
        )
        scores.figures["single_reference"] = summarize(columns).figures()
        scores.columns.update({f"single_reference.{name}": column for name, column in columns.items()})
    if replies.greedy is not None:
        scores.figures["distinct_greedy"] = distinct_texts(replies.greedy)
        scores.figures["distinct_greedy_contexts"] = len(replies.greedy)
    if data.training_texts is not None:
        scores.figures["verbatim_from_training"] = verbatim(replies.answered, data.training_texts)
    if data.said_in is not None:
        scores.figures.update(rare_in_replies(replies.answered, data.said_in))
    return scores
