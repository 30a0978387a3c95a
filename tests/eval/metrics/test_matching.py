import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.matching import PrecisionRecall, best_matches, mean_over_contexts


def test_worked_by_hand():
    # rows are hypotheses, columns references
    scores = np.array([[0.9, 0.1, 0.0], [0.4, 0.2, 0.3]])
    assert best_matches(scores) == pytest.approx(((0.9 + 0.4) / 2, (0.9 + 0.2 + 0.3) / 3))


def test_corpus_f1_comes_from_the_means():
    mean = mean_over_contexts([PrecisionRecall(1.0, 0.0), PrecisionRecall(0.0, 0.5)])
    assert mean == PrecisionRecall(0.5, 0.25)
    assert mean.f1 == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert PrecisionRecall(0.0, 0.0).f1 == 0.0


@given(
    rows=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5), copies=st.integers(1, 3)
)
@settings(derandomize=True, deadline=None)
def test_repeating_all_samples_changes_nothing(rows, copies):
    once, repeated = best_matches(np.array(rows)), best_matches(np.array(rows * copies))
    assert repeated == pytest.approx(once)


@pytest.mark.parametrize(("hypotheses", "references"), [(0, 1), (1, 0), (0, 0)])
def test_nothing_to_compare_is_refused(hypotheses, references):
    with pytest.raises(ValueError, match=f"got {hypotheses} hypotheses and {references} references"):
        best_matches(np.zeros((hypotheses, references)))


def test_no_contexts_is_refused():
    with pytest.raises(ValueError, match="at least 1 context, got 0"):
        mean_over_contexts([])
