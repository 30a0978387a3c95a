"""Whether a model is ahead of a row without a model by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from eval.baselines.without_model import BASELINES
from eval.margins import AHEAD, NEIGHBOURS, margins
from eval.score_thresholds import FEW

NAME = "a_bow.recall"
PLACES = [(f"c{number}", 1) for number in range(FEW)]


def columns(*values: float) -> dict[str, np.ndarray]:
    return {NAME: np.array(values), "distinct_replies": np.ones(len(values))}


def row(value: float, contexts: int = FEW) -> dict[str, np.ndarray]:
    return columns(*[value] * contexts)


def test_the_difference_is_the_models_minus_the_rows_with_its_interval() -> None:
    ahead = 0.1 + 0.02 * np.arange(FEW)  # one conversation each
    found = margins(columns(*(0.5 + ahead)), row(0.5), PLACES)[AHEAD]
    assert found.keys() == {"a_bow"}
    assert found["a_bow"]["mean"] == pytest.approx(ahead.mean())
    # a mean of 10 conversations has this standard error; an interval is 1.96 of it to each side, nearly
    error = ahead.std() / np.sqrt(FEW)
    assert found["a_bow"]["low"] == pytest.approx(ahead.mean() - 1.96 * error, abs=0.1 * error)
    assert found["a_bow"]["high"] == pytest.approx(ahead.mean() + 1.96 * error, abs=0.1 * error)


def test_columns_with_a_prefix_are_compared_under_it() -> None:
    model = row(0.9) | {f"gold.{NAME}": np.full(FEW, 0.4)}
    other = row(1.0) | {f"gold.{NAME}": np.full(FEW, 0.3)}
    found = margins(model, other, PLACES, "gold.")[AHEAD]
    assert found.keys() == {"gold.a_bow"}
    assert found["gold.a_bow"]["low"] == pytest.approx(0.1)


def test_rows_of_neighbours_are_baselines() -> None:
    assert set(NEIGHBOURS) < BASELINES.keys()


def test_contexts_without_a_score_do_not_count() -> None:
    places = [*PLACES, ("c0", 2), ("c1", 2)]
    model, other = row(0.8, len(places)), row(0.6, len(places))
    model[NAME][0] = other[NAME][1] = np.nan
    model[NAME][-1] = 0.6 + 0.2 * FEW  # the other known contexts are ahead by .2
    found = margins(model, other, places)[AHEAD]
    assert found["a_bow"]["mean"] == pytest.approx((0.2 * (FEW - 1) + 0.2 * FEW) / FEW)


@pytest.mark.parametrize("conversations", [1, 2, FEW - 1])
def test_few_conversations_have_no_interval_however_many_contexts_they_have(conversations: int) -> None:
    places = [(f"c{number % conversations}", 1 + number) for number in range(40)]
    assert margins(row(0.9, 40), row(0.5, 40), places) == {AHEAD: {}}


def test_a_missing_measure_has_no_interval() -> None:
    model = row(0.9)
    model[NAME][0] = np.nan
    assert margins(model, row(0.5), PLACES) == {AHEAD: {}}
    assert margins({}, row(0.5), PLACES) == {AHEAD: {}}
