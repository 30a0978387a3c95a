"""Which replies a `min_score` of the service keeps, and whether they are better than the others.

Open it to change the table for choosing a `min_score`. A reply's quality is its likeness to what was said here, minus
its likeness to what was said in other conversations. Without the latter, replies that resemble anything would win:
listening noises, because of common words, and long replies, because of averages of word vectors.

Shape legend: N replies, H replies to one context, R references of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.contexts import AnsweredContext
from eval.metrics.bleu import BLEU_WEIGHTS, pairwise_bleu
from eval.metrics.embedding import Vectors, average, cosine, known_vectors
from eval.metrics.matching import Context, PrecisionRecall, best_matches, mean_over_contexts
from eval.metrics.thresholds import differences, thresholds

OTHERS = 3  # a reply is compared with the references of this many contexts of other conversations
TRIES = 8 * OTHERS  # contexts to draw in search of these
FEW = 10  # with fewer conversations no interval is given: it would be too narrow
A_BOW, BLEU = "a_bow", "bleu_nltk_3.6_4"  # names in the figures of replies

Array = NDArray[np.float64]
Matches = Callable[[Context], Array]
"""The likeness (H, R) of the replies to a context to references; rows or columns of NaN where it is unknown."""


class _Scored(NamedTuple):
    """A context whose replies have scores.

    Attributes:
        conversation: its id.
        scores: (H,)
        lengths: (H,) tokens.
        likeness: (H, R), by measure.
        gains: (H,) by measure, likeness to the best reference here, minus the mean over contexts of other conversations
            of the likeness to their best reference; NaN if unknown.
    """

    conversation: str
    scores: Array
    lengths: NDArray[np.int64]
    likeness: dict[str, Array]
    gains: dict[str, Array]


def score_thresholds(
    answered: Sequence[AnsweredContext], contexts: Sequence[Context], vectors: Vectors | None, seed: int
) -> dict[str, Any]:
    """The table of thresholds, as in metrics.json.

    Args:
        answered: contexts; at least one has replies with scores.
        contexts: their replies and references, as metrics compare them.
        vectors: word vectors for A-bow; None leaves it out.
        seed: seed for the choice of other conversations.
    """
    measures: dict[str, Matches] = {BLEU: _bleu}
    if vectors is not None:
        measures = {A_BOW: lambda context: _a_bow(context, vectors), **measures}
    scored = _scored(answered, contexts, measures, seed)
    limits = thresholds([one.scores.tolist() for one in scored])
    rows = [_row(limit, scored, len(answered), list(measures)) for limit in limits]
    for name in measures:
        for row, gain in zip(rows, _gains(scored, limits, name), strict=True):
            if gain is not None:
                row[name]["above_chance"] = gain
    compared = {one.conversation for one in scored if any(not np.isnan(each).all() for each in one.gains.values())}
    return {
        "conversations": len({one.conversation for one in scored}),
        "conversations_compared": len(compared),  # with references, here and elsewhere
        "rows": rows,
    }


def _scored(
    answered: Sequence[AnsweredContext], contexts: Sequence[Context], measures: Mapping[str, Matches], seed: int
) -> list[_Scored]:
    """The contexts whose replies have scores."""
    referenced = [index for index, (_, references) in enumerate(contexts) if references]
    rng = np.random.default_rng(seed)
    found = []
    for one, (replies, references) in zip(answered, contexts, strict=True):
        if not one.scores:
            continue
        drawn = rng.choice(referenced, TRIES).tolist() if referenced else []
        others = [index for index in drawn if answered[index].conversation != one.conversation][:OTHERS]
        likeness = {name: matches((replies, references)) for name, matches in measures.items()}
        elsewhere = {
            name: [_best(matches((replies, contexts[index][1]))) for index in others]
            for name, matches in measures.items()
        }
        nothing = np.full(len(replies), np.nan)
        gains = {
            name: _best(likeness[name]) - (_mean(np.stack(rows)) if rows else nothing)
            for name, rows in elsewhere.items()
        }
        lengths = np.array([len(reply) for reply in replies])
        found.append(_Scored(one.conversation, np.array(one.scores), lengths, likeness, gains))
    return found


def _row(limit: float, scored: Sequence[_Scored], total: int, measures: Sequence[str]) -> dict[str, Any]:
    """What one threshold keeps; means of likeness are over the contexts in which it keeps a reply."""
    left = [one.scores >= limit for one in scored]
    row: dict[str, Any] = {
        "min_score": limit,
        "contexts": sum(bool(each.any()) for each in left) / total,
        "replies": sum(int(each.sum()) for each in left) / total,
    }
    if any(each.any() for each in left):
        row["tokens"] = float(
            np.concatenate([one.lengths[each] for one, each in zip(scored, left, strict=True)]).mean()
        )
    for name in measures:
        pairs = [_known(one.likeness[name][each]) for one, each in zip(scored, left, strict=True)]
        matched = [best_matches(likeness) for likeness in pairs if likeness.size]
        if matched:
            mean: PrecisionRecall = mean_over_contexts(matched)
            row[name] = {"precision": mean.precision, "recall": mean.recall}
    return row


def _gains(scored: Sequence[_Scored], limits: Sequence[float], name: str) -> list[dict[str, float] | None]:
    """Mean gains of the replies that each threshold keeps and leaves out; None if there is nothing to compare."""
    scores, gains = (np.concatenate(rows) for rows in zip(*((o.scores, o.gains[name]) for o in scored), strict=True))
    groups = np.repeat([one.conversation for one in scored], [len(one.scores) for one in scored])
    known = ~np.isnan(gains)
    scores, gains, groups = scores[known], gains[known], groups[known]
    if len(set(groups.tolist())) < FEW:
        return [None] * len(limits)
    found = differences(scores, gains, groups.tolist(), limits)
    return [
        None
        if difference is None
        else {
            "left": float(gains[scores >= limit].mean()),
            "left_out": float(gains[scores < limit].mean()),
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
        }
        for limit, difference in zip(limits, found, strict=True)
    ]


def _bleu(context: Context) -> Array:
    replies, references = context
    likeness: Array = pairwise_bleu(replies, references, ("method7-3.6",), BLEU_WEIGHTS[3:])[0, 0]
    return likeness


def _a_bow(context: Context, vectors: Vectors) -> Array:
    """A-bow of each pair, NaN where a text has no word with a vector."""
    known = [[known_vectors(text, vectors) for text in texts] for texts in context]
    found = np.full((len(known[0]), len(known[1])), np.nan)
    rows, columns = ([place for place, words in enumerate(texts) if len(words)] for texts in known)
    if rows and columns:
        left = np.stack([average(known[0][place]) for place in rows])
        right = np.stack([average(known[1][place]) for place in columns])
        found[np.ix_(rows, columns)] = (cosine(left, right) + 1.0) / 2.0
    return found


def _known(likeness: Array) -> Array:
    """Likenesses (H, R) without the rows and columns of NaN."""
    known = ~np.isnan(likeness)
    return likeness[known.any(axis=1)][:, known.any(axis=0)]


def _best(likeness: Array) -> Array:
    """(H,) the likeness to the best reference; NaN where there is none."""
    best: Array = np.where(np.isnan(likeness), -np.inf, likeness).max(axis=1, initial=-np.inf)
    best[np.isinf(best)] = np.nan
    return best


def _mean(values: Array) -> Array:
    """The mean over the first axis of values that are not NaN; NaN if all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
