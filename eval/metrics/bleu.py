"""Sentence BLEU after the exact formulas that published dialog results used, and its multi-reference protocol.

The metric of Zhao et al. (2017) and Fu et al. (2019) is NLTK's `sentence_bleu(..., smoothing_function=method7)` inside
an `except` that scores every error 0. NLTK changed that smoothing twice, so a number means nothing without its
version: 3 common words among 11 score BLEU-4 .324, .487 or .115. The versions are written out here, with the smoothing
that self-BLEU uses beside them.

With p_n the clipped n-gram precision of a hypothesis of `l` tokens (its denominator at least 1), N the highest order
that has a weight, and BP = 1 if l > r else exp(1 - r/l) the brevity penalty for a reference of `r` tokens::

    BLEU = BP * exp(sum_n w_n * log s_n),   0 when no unigram matches

where s_n is p_n smoothed, and a zero p_n is first replaced by

    method1        0.1 / denominator_n                            (Chen and Cherry 2014, method 1; then s_n = p_n)
    method7-3.4    1 / (n - 1 + 5 / ln l)                         (NLTK up to 3.4.5)
    method7-3.5    (n - 1 + 5 / ln l) / denominator_n             (NLTK 3.5 only)
    method7-3.6    (ln l / (5 * 2**k)) / denominator_n            (NLTK from 3.6 on; k-th zero, k = 1, 2, ...; l > 1)

before all variants of method 7 average neighbours, with s_0 = p_1 + 1 and p_(N+1) the unsmoothed 5-gram precision::

    s_n = (s_(n-1) + p_n + p_(n+1)) / 3

Because s_0 exceeds 1, method 7 can: a perfect match of 4 tokens has BLEU-1 = 4/3. For a one-token hypothesis ln l = 0
and the versions up to 3.5 divide by zero; the published protocol scores that 0, and so does this module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.matching import Context, PrecisionRecall, best_matches, mean_over_contexts
from eval.metrics.tokens import Tokens, ngrams

Smoothing = Literal["method7-3.4", "method7-3.5", "method7-3.6", "method1"]

PUBLISHED: Smoothing = "method7-3.4"
"""The version behind the tables of Zhao et al. (2017) and Fu et al. (2019)."""

PROTOCOL: tuple[Smoothing, ...] = (PUBLISHED, "method7-3.6")
"""What a table shows side by side: the published metric and today's NLTK."""

BLEU_WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0, 0.0, 0.0, 0.0),
    (0.5, 0.5, 0.0, 0.0),
    (1 / 3, 1 / 3, 1 / 3, 0.0),
    (0.25, 0.25, 0.25, 0.25),
)
"""BLEU-1..4 of the protocol. The zeros matter: they keep higher orders in method 7's averages."""

_SMOOTHING_ORDER = 5  # method 7 looks at 5-grams whatever the weights are
_CHEN_CHERRY_K = 5.0
_EPSILON = 0.1


class NgramCounts(NamedTuple):
    """One sentence, counted once for all its comparisons.

    Attributes:
        length: number of tokens.
        counts: occurrences of each n-gram; index n - 1 holds order n.
    """

    length: int
    counts: tuple[Counter[tuple[str, ...]], ...]


class Overlap(NamedTuple):
    """What BLEU needs to know of a hypothesis and its references.

    Attributes:
        matches: clipped n-gram matches; index n - 1 holds order n.
        hypothesis_length: number of tokens.
        reference_length: number of tokens of the reference that is closest in length.
    """

    matches: tuple[int, ...]
    hypothesis_length: int
    reference_length: int

    def total(self, order: int) -> int:
        """The number of n-grams in the hypothesis, at least 1 so that precision is defined."""
        return max(1, self.hypothesis_length - order + 1)

    def precision(self, order: int) -> float:
        """The clipped n-gram precision."""
        return self.matches[order - 1] / self.total(order)

    @property
    def brevity_penalty(self) -> float:
        """1 for a hypothesis longer than the reference, less for a shorter one."""
        if self.hypothesis_length > self.reference_length:
            return 1.0
        return math.exp(1.0 - self.reference_length / self.hypothesis_length) if self.hypothesis_length else 0.0


def sentence_bleu(
    hypothesis: Tokens,
    references: Sequence[Tokens],
    weights: Sequence[float] = BLEU_WEIGHTS[3],
    smoothing: Smoothing = PUBLISHED,
) -> float:
    """Sentence BLEU of one hypothesis; n-gram counts are clipped by the reference that has most of them.

    Args:
        hypothesis: tokens of the sampled reply.
        references: token sequences; the published protocol gives one at a time.
        weights: one for each order, from unigrams on. Orders that are left out do not take part in the smoothing,
            which makes (1/3, 1/3, 1/3), as in DialogWAE, another metric than (1/3, 1/3, 1/3, 0).
        smoothing: the formula; see the module's documentation.

    Returns:
        The score: at least 0, and at most 1 with method1 only.

    Raises:
        ValueError: no reference or no weight.
        TypeError: a sentence is one string instead of a sequence of tokens.
    """
    if not references or not weights:
        raise ValueError(
            f"BLEU needs at least 1 reference and 1 weight, got {len(references)} references and {len(weights)} weights"
        )
    orders = max(_SMOOTHING_ORDER, len(weights))
    counted = [count_ngrams(reference, orders) for reference in references]
    overlap = _overlap(count_ngrams(hypothesis, orders), counted)
    precisions = _smoothed_precisions(overlap, len(weights), smoothing)
    return _bleu(overlap, precisions, weights)


def pairwise_bleu(
    hypotheses: Sequence[Tokens],
    references: Sequence[Tokens],
    smoothings: Sequence[Smoothing] = PROTOCOL,
    weightings: Sequence[Sequence[float]] = BLEU_WEIGHTS,
) -> NDArray[np.float64]:
    """BLEU of every hypothesis against every single reference of one context.

    Each sentence is counted once and each pair is compared once, whatever the number of weightings and smoothings.

    Args:
        hypotheses: token sequences of the sampled replies.
        references: token sequences of the reference replies.
        smoothings: the formulas.
        weightings: for each BLEU the weights of its orders, equally many and at most 5; see `sentence_bleu`.

    Returns:
        (S, W, H, R) for S smoothings, W weightings (BLEU-1..4 unless told), H hypotheses and R references.
    """
    orders = len(weightings[0])
    counted = [count_ngrams(reference) for reference in references]
    scores = np.zeros((len(smoothings), len(weightings), len(hypotheses), len(references)))
    for h, hypothesis in enumerate(map(count_ngrams, hypotheses)):
        for r, reference in enumerate(counted):
            overlap = _overlap(hypothesis, [reference])
            if overlap.matches[0] == 0:
                continue
            for s, smoothing in enumerate(smoothings):
                precisions = _smoothed_precisions(overlap, orders, smoothing)
                scores[s, :, h, r] = [_bleu(overlap, precisions, weights) for weights in weightings]
    return scores


def context_bleu(
    hypotheses: Sequence[Tokens], references: Sequence[Tokens], smoothings: Sequence[Smoothing] = PROTOCOL
) -> dict[Smoothing, tuple[PrecisionRecall, ...]]:
    """Multi-reference precision and recall of BLEU-1..4 (index n - 1) for one context.

    Raises:
        ValueError: there is no hypothesis or no reference.
    """
    scores = pairwise_bleu(hypotheses, references, smoothings)
    return {s: tuple(best_matches(pairs) for pairs in scores[i]) for i, s in enumerate(smoothings)}


def bleu_precision_recall(
    contexts: Iterable[Context], smoothings: Sequence[Smoothing] = PROTOCOL
) -> dict[Smoothing, tuple[PrecisionRecall, ...]]:
    """The corpus value: means over contexts of `context_bleu`, BLEU-1..4 at index n - 1.

    Raises:
        ValueError: there are no contexts, or one has no hypothesis or no reference.
    """
    scored = [context_bleu(hypotheses, references, smoothings) for hypotheses, references in contexts]
    return {
        smoothing: tuple(mean_over_contexts(context[smoothing][n] for context in scored) for n in range(4))
        for smoothing in smoothings
    }


def leave_one_out_bleu(
    sentences: Sequence[Tokens], weights: Sequence[float], smoothing: Smoothing
) -> NDArray[np.float64]:
    """`sentence_bleu` of each sentence with all the others as its references.

    Of each n-gram only the two largest counts are looked at, so that the work grows with the number of sentences and
    not with its square.

    Returns:
        (H,) for H sentences.

    Raises:
        ValueError: fewer than two sentences, or no weight.
    """
    if len(sentences) < 2 or not weights:
        raise ValueError(f"BLEU needs at least 2 sentences and 1 weight, got {len(sentences)} and {len(weights)}")
    orders = len(weights) if smoothing == "method1" else max(_SMOOTHING_ORDER, len(weights))
    counted = [count_ngrams(sentence, orders) for sentence in sentences]
    matches = [_clipped_by_others([sentence.counts[order] for sentence in counted]) for order in range(orders)]
    lengths = [sentence.length for sentence in counted]
    scores = np.zeros(len(sentences))
    for i, length in enumerate(lengths):
        closest = _closest(length, lengths[:i] + lengths[i + 1 :])
        overlap = Overlap(tuple(order[i] for order in matches), length, closest)
        scores[i] = _bleu(overlap, _smoothed_precisions(overlap, len(weights), smoothing), weights)
    return scores


def _clipped_by_others(counts: Sequence[Counter[tuple[str, ...]]]) -> list[int]:
    """For each sentence its matches of one order, each n-gram clipped by the other sentence that has most of it."""
    first: dict[tuple[str, ...], int] = {}
    second: dict[tuple[str, ...], int] = {}
    for sentence in counts:
        for gram, count in sentence.items():
            most = first.get(gram, 0)
            if count > most:
                first[gram], second[gram] = count, most
            elif count > second[gram]:
                second[gram] = count
    # a sentence that alone has most of an n-gram is clipped by the next; where two tie, the next is as large
    return [
        sum(second[gram] if count == first[gram] else count for gram, count in sentence.items()) for sentence in counts
    ]


def count_ngrams(tokens: Tokens, orders: int = _SMOOTHING_ORDER) -> NgramCounts:
    """Count the n-grams of orders 1..`orders`.

    Raises:
        TypeError: `tokens` is one string, whose characters would silently be taken for words.
    """
    return NgramCounts(len(tokens), tuple(Counter(ngrams(tokens, n)) for n in range(1, orders + 1)))


def _overlap(hypothesis: NgramCounts, references: Sequence[NgramCounts]) -> Overlap:
    matches = []
    for order, counts in enumerate(hypothesis.counts):
        most = references[0].counts[order]
        for reference in references[1:]:
            most = most | reference.counts[order]
        matches.append(sum(min(counts[gram], most[gram]) for gram in counts.keys() & most.keys()))
    closest = _closest(hypothesis.length, [reference.length for reference in references])
    return Overlap(tuple(matches), hypothesis.length, closest)


def _closest(length: int, lengths: Iterable[int]) -> int:
    """The length that is nearest to `length`; of two equally far ones the shorter."""
    return min(lengths, key=lambda other: (abs(other - length), other))


def _smoothed_precisions(overlap: Overlap, orders: int, smoothing: Smoothing) -> list[float]:
    """s_1..s_orders of the module's formula; empty where the published code fails and scores 0."""
    if overlap.matches[0] == 0:
        return []
    precisions = [overlap.precision(order) for order in range(1, orders + 1)]
    log_length = math.log(overlap.hypothesis_length)
    zeros = [order for order in range(1, orders + 1) if overlap.matches[order - 1] == 0]
    for k, order in enumerate(zeros, start=1):
        if smoothing == "method1":
            smoothed = _EPSILON / overlap.total(order)
        elif smoothing == "method7-3.6":
            smoothed = log_length / (_CHEN_CHERRY_K * 2**k) / overlap.total(order)
        elif log_length == 0.0:
            return []
        else:
            damping = order - 1 + _CHEN_CHERRY_K / log_length
            smoothed = 1.0 / damping if smoothing == "method7-3.4" else damping / overlap.total(order)
        precisions[order - 1] = smoothed
    return precisions if smoothing == "method1" else _neighbour_average(precisions, overlap.precision(_SMOOTHING_ORDER))


def _neighbour_average(precisions: list[float], last: float) -> list[float]:
    """Method 5 of Chen and Cherry: each order is averaged with the smoothed one below and the raw one above."""
    smoothed = [precisions[0] + 1.0]
    for current, above in zip(precisions, [*precisions[1:], last], strict=True):
        smoothed.append((smoothed[-1] + current + above) / 3.0)
    return smoothed[1:]


def _bleu(overlap: Overlap, precisions: Sequence[float], weights: Sequence[float]) -> float:
    if not precisions:
        return 0.0
    log_mean = math.fsum(weight * math.log(precision) for weight, precision in zip(weights, precisions, strict=True))
    return overlap.brevity_penalty * math.exp(log_mean)
