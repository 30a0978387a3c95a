"""The tables of a page: our figures over seeds above the paper's, and effects.

Open it to change how any experiment shows a figure, an interval or an effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from eval.measures import Measure
from eval.report import markdown_table
from experiments.framework.effects import Contrast, Effect
from experiments.framework.rows import Result
from training.sweep.summary import Estimate

NOTHING = "–"
INTERVAL = "Ours: mean ± half of the 95% interval (Student's t) over seeds; one seed has no interval."


def table(results: Sequence[Result], measures: Sequence[Measure], *, difference: bool = False) -> list[str]:
    """Every row with its seeds, and below it the paper's figures if there are any.

    Args:
        results: rows.
        measures: columns; those that no row has are left out.
        difference: whether a third line has ours less the paper's.
    """
    columns = _present(results, measures)
    lines = []
    for result in results:
        found, paper = result.estimates, result.row.paper
        lines.append([result.row.name, result.seeds, *(shown(found.get(one.name), one.digits) for one in columns)])
        if paper:
            published = [paper.get(one.name) for one in columns]
            lines.append(["– the paper's", "", *(NOTHING if value is None else f"{value:g}" for value in published)])
        if paper and difference:
            gaps = [_gap(found.get(one.name), value) for one, value in zip(columns, published, strict=True)]
            signed = [number(gap, one.digits, sign="+") for gap, one in zip(gaps, columns, strict=True)]
            lines.append(["– ours less the paper's", "", *signed])
    return markdown_table(["row", "seeds", *(one.label for one in columns)], lines)


def further_table(results: Sequence[Result], measures: Sequence[Measure]) -> list[str]:
    """Measures that any row has, and the rows that have any of them."""
    columns = _present(results, measures)
    lines = [
        [result.row.name, *(shown(result.estimates.get(one.name), one.digits) for one in columns)]
        for result in results
        if any(one.name in result.estimates for one in columns)
    ]
    return markdown_table(["row", *(one.label for one in columns)], lines)


def effects_table(effects: Sequence[Effect]) -> list[str]:
    """A line for each measure of a contrast, tested over conversations and over seeds."""
    lines = []
    for effect in effects:
        digits, test = effect.measure.digits, effect.over_conversations
        tested = [NOTHING] * 3
        if test is not None:
            interval = f"{number(test.low, digits, sign='+')} to {number(test.high, digits, sign='+')}"
            tested = [interval, p_value(test.p), p_value(test.adjusted)]
        own = number(effect.mean, digits, sign="+")
        lines.append([effect.measure.label, own, *tested, shown(effect.over_seeds, digits)])
    return markdown_table(["", "effect", "95% interval", "p", "p (Holm)", "over seeds"], lines)


def compact_effects_table(effects: Sequence[tuple[Contrast, Sequence[Effect]]]) -> list[str]:
    """A line for each measure and a column for each contrast, over seeds."""
    by_measure: dict[Measure, dict[str, Estimate]] = {}
    for contrast, found in effects:
        for effect in found:
            by_measure.setdefault(effect.measure, {})[contrast.name] = effect.over_seeds
    names = [contrast.name for contrast, _ in effects]
    lines = [
        [measure.label, *(shown(found.get(name), measure.digits) for name in names)]
        for measure, found in by_measure.items()
    ]
    return markdown_table(["figure (nats)", *names], lines)


def shown(value: Estimate | None, digits: int) -> str:
    """A mean and half its interval, or that there is none."""
    return NOTHING if value is None else value.text(digits)


def number(value: float | None, digits: int, sign: str = "") -> str:
    """A number, or that there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:{sign}.{digits}f}"


def p_value(value: float) -> str:
    """A p-value; the bootstrap cannot tell the smallest ones apart."""
    return f"{value:.4f}" if value >= 0.0005 else "< 0.0005"


def _present(results: Sequence[Result], measures: Sequence[Measure]) -> list[Measure]:
    return [one for one in measures if any(one.name in result.estimates for result in results)]


def _gap(ours: Estimate | None, paper: float | None) -> float | None:
    return None if ours is None or paper is None else ours.mean - paper
