"""Effects: weighted sums of rows, over seeds and, where there are scores of contexts, over conversations.

Open it to compare rows: a paired difference, or the main effects of two factors that are crossed.

Shape legend: N contexts, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.measures import Measure
from eval.metrics.significance import holm, paired_bootstrap
from eval.score_thresholds import FEW
from training.sweep.summary import Estimate, estimate

Array = NDArray[np.float64]
Weights = Mapping[str, float]
Scores = Mapping[str, Mapping[int, Mapping[str, ArrayLike]]]
"""By row, seed and measure: one number, or (N,) one for each context."""


class Contrast(NamedTuple):
    """A weighted sum of rows' scores.

    Attributes:
        name: the question that it answers.
        weights: by the keys of the rows that take part.
    """

    name: str
    weights: Weights


class Square(NamedTuple):
    """Keys of the four rows in which two factors are crossed."""

    neither: str
    first: str
    second: str
    both: str

    @property
    def together(self) -> Weights:
        """Both factors changed at once."""
        return {self.both: 1.0, self.neither: -1.0}

    @property
    def first_alone(self) -> Weights:
        """The first factor changed, the second not."""
        return {self.first: 1.0, self.neither: -1.0}

    @property
    def first_given_second(self) -> Weights:
        """The first factor changed where the second is changed."""
        return {self.both: 1.0, self.second: -1.0}

    @property
    def main_first(self) -> Weights:
        """Main effect of the first factor: half the sum of its two differences."""
        return {self.first: 0.5, self.both: 0.5, self.neither: -0.5, self.second: -0.5}

    @property
    def main_second(self) -> Weights:
        """Main effect of the second factor."""
        return {self.second: 0.5, self.both: 0.5, self.neither: -0.5, self.first: -0.5}

    @property
    def interaction(self) -> Weights:
        """How much more the first factor does where the second is changed."""
        return {self.both: 1.0, self.neither: 1.0, self.first: -1.0, self.second: -1.0}


class OverConversations(NamedTuple):
    """A contrast over conversations, by the paired bootstrap; the seeds are taken as they are.

    Attributes:
        low: where its 95% interval begins.
        high: where it ends.
        p: two-sided.
        adjusted: p by Holm's method, over the measures of the contrast.
        contexts: N, those of which every row has a score.
    """

    low: float
    high: float
    p: float
    adjusted: float
    contexts: int


class Effect(NamedTuple):
    """A contrast in one measure.

    Attributes:
        measure: which.
        mean: the contrast of the means over seeds and contexts.
        over_seeds: mean and half interval over the seeds; the conversations are taken as they are.
        over_conversations: None for figures that have no parts, and for fewer than FEW conversations.
    """

    measure: Measure
    mean: float
    over_seeds: Estimate
    over_conversations: OverConversations | None = None


def effects(
    contrast: Contrast,
    scores: Scores,
    measures: Sequence[Measure],
    conversations: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> list[Effect]:
    """A contrast in each measure, over the seeds that all its rows have.

    Args:
        contrast: of rows.
        scores: one number by row, seed and measure; with `conversations` (N,) numbers, one for each context, which are
            then tested by a paired bootstrap with Holm's correction.
        measures: those that every row has for every seed are compared.
        conversations: (N,) of each context.
        seed: of the bootstrap.

    Returns:
        Nothing if the rows have no seed in common.
    """
    found: list[Effect] = []
    for measure in measures:
        by_seed = _by_seed(contrast, scores, measure.name)
        if by_seed is None:
            continue
        if conversations is None:
            over_seeds = estimate(by_seed.tolist())
            found.append(Effect(measure, over_seeds.mean, over_seeds))
        else:
            found += _tested(measure, by_seed, conversations, seed)
    tests = [effect.over_conversations for effect in found]
    adjusted = iter(holm([test.p for test in tests if test is not None]))
    return [
        effect if test is None else effect._replace(over_conversations=test._replace(adjusted=next(adjusted)))
        for effect, test in zip(found, tests, strict=True)
    ]


def _tested(measure: Measure, by_seed: Array, conversations: Sequence[str], seed: int) -> list[Effect]:
    """The effect in one measure, by the contrast at each context, (S, N); p is not adjusted yet.

    Returns:
        Nothing if there is no context of which every row has a score; no test if these are of fewer than FEW
        conversations.
    """
    there = np.flatnonzero(~np.isnan(by_seed).any(axis=0))
    clusters = [conversations[index] for index in there.tolist()]
    if not clusters:
        return []
    scored = by_seed[:, there]
    over_seeds = estimate(scored.mean(axis=1).tolist())
    if len(set(clusters)) < FEW:
        return [Effect(measure, float(scored.mean()), over_seeds)]
    mean, low, high, p = map(float, paired_bootstrap(scored.mean(axis=0), clusters, seed=seed))
    return [Effect(measure, mean, over_seeds, OverConversations(low, high, p, p, len(clusters)))]


def _by_seed(contrast: Contrast, scores: Scores, name: str) -> Array | None:
    """The contrast for each common seed, (S, ...); None if there is no such seed, or a row lacks the measure."""
    seeds = sorted(set.intersection(*(set(scores.get(key, {})) for key in contrast.weights)))
    columns = [[scores[key][seed].get(name) for seed in seeds] for key in contrast.weights]
    if not seeds or any(column is None for rows in columns for column in rows):
        return None
    weights = np.array(list(contrast.weights.values()))
    summed: Array = np.einsum("c,cs...->s...", weights, np.array(columns, dtype=np.float64))
    return summed
