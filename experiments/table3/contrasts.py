"""What changes from M to C: effects of beta and of the learning rate, tested over conversations and over seeds.

Shape legend: N contexts, S seeds, M measures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.measures import Measure
from eval.metrics.significance import holm, paired_bootstrap
from experiments.table3.cells import RATES, SCHEDULES, Variant
from training.sweep.summary import Estimate, estimate

TESTED = (
    Measure("kl", "KL", 3),
    Measure("iw_nll", "IW-NLL", 3),
    Measure("bleu_nltk_3.4.5_4.precision", "B4 prec", 4),
    Measure("bleu_nltk_3.4.5_4.recall", "B4 recall", 4),
    Measure("bleu_nltk_3.6_4.precision", "B4 prec, today's NLTK", 4),
    Measure("bleu_nltk_3.6_4.recall", "B4 recall, today's NLTK", 4),
    Measure("a_bow.precision", "A-bow prec", 4),
    Measure("a_bow.recall", "A-bow recall", 4),
    Measure("e_bow.precision", "E-bow prec", 4),
    Measure("e_bow.recall", "E-bow recall", 4),
    Measure("distinct_replies", "different replies", 3),
)
"""Columns of an evaluation; Holm's correction is over these, within a contrast."""

Columns = Mapping[str, NDArray[np.float64]]


class Contrast(NamedTuple):
    """A weighted sum of cells' scores.

    Attributes:
        name: what it asks.
        weights: of the cells that take part.
    """

    name: str
    weights: Mapping[Variant, float]


class Effect(NamedTuple):
    """A contrast in one measure.

    Attributes:
        measure: which.
        mean: the contrast of the means over seeds and contexts.
        low: where its 95% interval begins, by the bootstrap over conversations; the seeds are taken as they are.
        high: where it ends.
        p: two-sided, by the same bootstrap.
        adjusted: p by Holm's method, over the measures of the contrast.
        over_seeds: mean and half interval of the contrast over the seeds, the conversations taken as they are.
        contexts: N, those that every cell has a score of.
    """

    measure: Measure
    mean: float
    low: float
    high: float
    p: float
    adjusted: float
    over_seeds: Estimate
    contexts: int


def contrasts(variants: Collection[Variant]) -> list[Contrast]:
    """What can be asked of these variants: C - M at each learning rate, on the paper's diagonal, and the 2 x 2."""
    found = []
    m, c = SCHEDULES
    constant, cosine = RATES
    for bow in (False, True):
        cell = {(schedule, rate): Variant(bow, schedule, rate) for schedule in SCHEDULES for rate in RATES}
        model = cell[m, constant].model
        asked = {
            "the paper's C - M: β and η together": {(c, cosine): 1.0, (m, constant): -1.0},
            "C - M of β, constant η": {(c, constant): 1.0, (m, constant): -1.0},
            "C - M of β, cyclical η": {(c, cosine): 1.0, (m, cosine): -1.0},
            "main effect of β": {(c, constant): 0.5, (c, cosine): 0.5, (m, constant): -0.5, (m, cosine): -0.5},
            "main effect of η": {(m, cosine): 0.5, (c, cosine): 0.5, (m, constant): -0.5, (c, constant): -0.5},
            "interaction of β and η": {(c, cosine): 1.0, (m, constant): 1.0, (c, constant): -1.0, (m, cosine): -1.0},
        }
        for name, weights in asked.items():
            contrast = Contrast(f"{model}: {name}", {cell[key]: weight for key, weight in weights.items()})
            if contrast.weights.keys() <= set(variants):
                found.append(contrast)
    return found


def effects(
    contrast: Contrast,
    scores: Mapping[Variant, Mapping[int, Columns]],
    conversations: Sequence[str],
    *,
    measures: Sequence[Measure] = TESTED,
    seed: int = 0,
) -> list[Effect]:
    """Test a contrast in each measure.

    Args:
        contrast: of cells that `scores` has.
        scores: of each cell the columns (N,) of each of its seeds; the seeds that all the cells have take part.
        conversations: (N,) of each context; at least two distinct.
        measures: of which the columns that are there are tested.
        seed: of the bootstrap.

    Returns:
        Nothing where the cells have no seed in common.
    """
    seeds = sorted(set.intersection(*(set(scores[variant]) for variant in contrast.weights)))
    found: list[Effect] = []
    for measure in measures if seeds else ():
        per_seed = _per_seed(contrast, scores, seeds, measure.name)
        if per_seed is None:
            continue
        there = np.flatnonzero(~np.isnan(per_seed).any(axis=0))  # where every cell has a score
        clusters = [conversations[index] for index in there.tolist()]
        if len(set(clusters)) > 1:
            tested = paired_bootstrap(per_seed[:, there].mean(axis=0), clusters, seed=seed)
            over_seeds = estimate(per_seed[:, there].mean(axis=1).tolist())
            mean, low, high, p = map(float, tested)
            found.append(Effect(measure, mean, low, high, p, p, over_seeds, len(clusters)))
    adjusted = holm([effect.p for effect in found])
    return [effect._replace(adjusted=p) for effect, p in zip(found, adjusted, strict=True)]


def _per_seed(
    contrast: Contrast, scores: Mapping[Variant, Mapping[int, Columns]], seeds: Sequence[int], name: str
) -> NDArray[np.float64] | None:
    """The contrast at each context, (S, N); None where a cell lacks the column."""
    columns = [[scores[variant][seed].get(name) for seed in seeds] for variant in contrast.weights]
    if any(column is None for rows in columns for column in rows):
        return None
    weights = np.array(list(contrast.weights.values()))
    summed: NDArray[np.float64] = np.einsum("c,csn->sn", weights, np.array(columns, dtype=np.float64))
    return summed
