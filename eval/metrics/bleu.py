"""Sentence BLEU by the exact formulas of published dialog results, and its multi-reference protocol.

Open it to see which formula a BLEU score comes from. The metric of Zhao et al. (2017) and Fu et al. (2019) is NLTK's
`sentence_bleu(..., smoothing_function=method7)`, with every error scored as 0. NLTK changed method 7 twice, so a score
is comparable only with scores of the same version: for 3 common words among 11, BLEU-4 is .324 with NLTK up to 3.4.5,
.487 with NLTK 3.5 and .115 from 3.6 on. This module has the first and the last version, and the smoothing of self-BLEU.

p_n is the clipped n-gram precision of a hypothesis of `l` tokens (its denominator at least 1). N is the highest order
that has a weight. BP = 1 if l > r else exp(1 - r/l) is the brevity penalty for a reference of `r` tokens::

    BLEU = BP * exp(sum_n w_n * log s_n),   0 when no unigram matches

where s_n is p_n smoothed, and a zero p_n is first replaced by

    method1        0.1 / denominator_n                            (Chen and Cherry 2014, method 1; then s_n = p_n)
    method7-3.4    1 / (n - 1 + 5 / ln l)                         (NLTK up to 3.4.5)
    method7-3.6    (ln l / (5 * 2**k)) / denominator_n            (NLTK from 3.6 on; k-th zero, k = 1, 2, ...; l > 1)

Both versions of method 7 then average neighbours, with s_0 = p_1 + 1 and p_(N+1) the unsmoothed 5-gram precision::

    s_n = (s_(n-1) + p_n + p_(n+1)) / 3

s_0 exceeds 1, so method 7 can exceed 1 too: a perfect match of 4 tokens has BLEU-1 = 4/3. For a hypothesis of one token
ln l = 0 and the version up to 3.4.5 divides by zero; the published protocol scores that as 0, and so does this module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.matching import PrecisionRecall, best_matches
from eval.metrics.tokens import Tokens, ngrams

Smoothing = Literal["method7-3.4", "method7-3.6", "method1"]

PUBLISHED: Smoothing = "method7-3.4"
"""The version behind the tables of Zhao et al. (2017) and Fu et al. (2019)."""

PROTOCOL: tuple[Smoothing, ...] = (PUBLISHED, "method7-3.6")
"""What tables report: the published metric, and today's NLTK."""

BLEU_WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0, 0.0, 0.0, 0.0),
    (0.5, 0.5, 0.0, 0.0),
    (1 / 3, 1 / 3, 1 / 3, 0.0),
    (0.25, 0.25, 0.25, 0.25),
)
"""The weights of BLEU-1..4 in the protocol, one for each order from unigrams on.

The zeros matter: they keep higher orders in method 7's averages. So (1/3, 1/3, 1/3), as in DialogWAE, is another metric
than (1/3, 1/3, 1/3, 0).
"""

_SMOOTHING_ORDER = 5  # method 7 uses 5-grams with any weights
_CHEN_CHERRY_K = 5.0
_EPSILON = 0.1


class NgramCounts(NamedTuple):
    """The n-grams of one sentence, counted once for all comparisons.

    Attributes:
        length: number of tokens.
        counts: occurrences of each n-gram; index n - 1 holds order n.
    """

    length: int
    counts: tuple[Counter[tuple[str, ...]], ...]


class Overlap(NamedTuple):
    """The counts that BLEU of a hypothesis is computed from.

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
        weightings: for each BLEU the weights of its orders; equally many, and at most 5.

    Returns:
        (S, W, H, R) for S smoothings, W weightings, H hypotheses and R references. A score is at least 0; with method 7
        it can exceed 1. Without a common word it is 0.

    Raises:
        TypeError: a sentence is one string instead of a sequence of tokens.
    """
    orders = len(weightings[0])
    counted = [count_ngrams(reference) for reference in references]
    scores = np.zeros((len(smoothings), len(weightings), len(hypotheses), len(references)))
    for h, hypothesis in enumerate(map(count_ngrams, hypotheses)):
        for r, reference in enumerate(counted):
            overlap = _overlap(hypothesis, reference)
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


def leave_one_out_bleu(
    sentences: Sequence[Tokens], weights: Sequence[float], smoothing: Smoothing
) -> NDArray[np.float64]:
    """BLEU of each sentence with all the others as its references.

    The count of an n-gram is clipped by the reference that has it most often. Only the two largest counts of an n-gram
    are used, so that the work grows with the number of sentences and not with its square.

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
    """The matches of each sentence for one order; an n-gram is clipped by the other sentence that has it most often."""
    first: dict[tuple[str, ...], int] = {}
    second: dict[tuple[str, ...], int] = {}
    for sentence in counts:
        for gram, count in sentence.items():
            most = first.get(gram, 0)
            if count > most:
                first[gram], second[gram] = count, most
            elif count > second[gram]:
                second[gram] = count
    # the sentence with the largest count is clipped by the second largest count; in a tie the two are equal
    return [
        sum(second[gram] if count == first[gram] else count for gram, count in sentence.items()) for sentence in counts
    ]


def count_ngrams(tokens: Tokens, orders: int = _SMOOTHING_ORDER) -> NgramCounts:
    """Count the n-grams of orders 1..`orders`.

    Raises:
        TypeError: `tokens` is one string; its characters would count as words.
    """
    return NgramCounts(len(tokens), tuple(Counter(ngrams(tokens, n)) for n in range(1, orders + 1)))


def _overlap(hypothesis: NgramCounts, reference: NgramCounts) -> Overlap:
    pairs = zip(hypothesis.counts, reference.counts, strict=True)
    matches = tuple(
        sum(min(ours[gram], theirs[gram]) for gram in ours.keys() & theirs.keys()) for ours, theirs in pairs
    )
    return Overlap(matches, hypothesis.length, reference.length)


def _closest(length: int, lengths: Iterable[int]) -> int:
    """The length nearest to `length`; the shorter of two equally near ones."""
    return min(lengths, key=lambda other: (abs(other - length), other))


def _smoothed_precisions(overlap: Overlap, orders: int, smoothing: Smoothing) -> list[float]:
    """s_1..s_orders of the module's formula; empty where the published code fails, which counts as 0."""
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
            smoothed = 1.0 / (order - 1 + _CHEN_CHERRY_K / log_length)
        precisions[order - 1] = smoothed
    return precisions if smoothing == "method1" else _neighbour_average(precisions, overlap.precision(_SMOOTHING_ORDER))


def _neighbour_average(precisions: list[float], last: float) -> list[float]:
    """Method 5 of Chen and Cherry: average each order with the smoothed one below and the unsmoothed one above."""
    smoothed = [precisions[0] + 1.0]
    for current, above in zip(precisions, [*precisions[1:], last], strict=True):
        smoothed.append((smoothed[-1] + current + above) / 3.0)
    return smoothed[1:]


def _bleu(overlap: Overlap, precisions: Sequence[float], weights: Sequence[float]) -> float:
    if not precisions:
        return 0.0
    log_mean = math.fsum(weight * math.log(precision) for weight, precision in zip(weights, precisions, strict=True))
    return overlap.brevity_penalty * math.exp(log_mean)
