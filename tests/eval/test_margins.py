"""Whether a model is ahead of a row without a model by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from eval.margins import AHEAD, margins

NAME = "a_bow.recall"


def columns(*values: float) -> dict[str, np.ndarray]:
    return {NAME: np.array(values), "distinct_replies": np.ones(len(values))}


PLACES = [("c1", 1), ("c1", 2), ("c2", 1), ("c3", 1)]


def test_the_difference_is_the_models_minus_the_rows_with_its_interval() -> None:
    found = margins(columns(0.9, 0.8, 0.7, 0.6), columns(0.5, 0.6, 0.5, 0.5), PLACES)[AHEAD]
    assert found.keys() == {"a_bow"}
    assert found["a_bow"]["mean"] == pytest.approx((0.4 + 0.2 + 0.2 + 0.1) / 4)
    # conversations differ by .3, .2 and .1: all of one resample may be the last or the first
    assert found["a_bow"]["low"] == pytest.approx(0.1)
    assert found["a_bow"]["high"] == pytest.approx(0.3)


def test_contexts_without_a_score_do_not_count() -> None:
    found = margins(columns(np.nan, 0.8, 0.7, 0.6), columns(0.5, 0.6, np.nan, 0.5), PLACES)[AHEAD]
    assert found["a_bow"]["mean"] == pytest.approx(0.15)


def test_a_single_conversation_and_a_missing_measure_have_no_interval() -> None:
    assert margins(columns(0.9, 0.8), columns(0.5, 0.6), PLACES[:2]) == {AHEAD: {}}
    assert margins(columns(np.nan, np.nan, np.nan, 0.1), columns(0.5, 0.6, 0.1, 0.1), PLACES) == {AHEAD: {}}
    assert margins({}, columns(0.5), PLACES[:1]) == {AHEAD: {}}
