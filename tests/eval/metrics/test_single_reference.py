"""DialogWAE's protocol: worked by hand, and against NLTK and plain loops."""

import math
import warnings
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.matching import Context
from eval.metrics.single_reference import SingleReference, per_context, summarize


class Vectors(NamedTuple):
    rows: dict[str, int]
    matrix: np.ndarray


WORDS = ["yeah", "so", "do", "i", "not", "know"]
VECTORS = Vectors({w: i for i, w in enumerate(WORDS)}, np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
COMPASS = Vectors({"east": 0, "north": 1, "west": 2}, np.array([[2, 0], [0, 1], [-4, 0]], dtype=np.float32))
REPLY = st.lists(st.sampled_from([*WORDS, "unheard-of"]), max_size=7)
CONTEXT = st.tuples(st.lists(REPLY, min_size=1, max_size=4), st.lists(REPLY, min_size=1, max_size=2))


def single_reference(contexts: list[Context], vectors: Vectors | None) -> SingleReference:
    return summarize(per_context(contexts, vectors))


def test_bleu_by_hand():
    scores = single_reference([([["yeah"], ["uh"]], [["yeah"]])], None)

    def bleu(*smoothed):
        return math.prod(smoothed) ** (1 / 3)

    # NLTK up to 3.4.5 fails on one token, and with </s> replaces the zeros of orders 2 and 3 by these
    second, third = 1 / (1 + 5 / math.log(2)), 1 / (2 + 5 / math.log(2))
    # yeah </s>: precisions 1, 1, 0, each averaged with its neighbours; no 5-gram
    s1 = (2 + 1 + 1) / 3
    s2 = (s1 + 1 + third) / 3
    right = bleu(s1, s2, (s2 + third + 0) / 3)
    # uh </s>: 1/2, 0, 0
    s1 = (1.5 + 0.5 + second) / 3
    s2 = (s1 + second + third) / 3
    wrong = bleu(s1, s2, (s2 + third + 0) / 3)
    assert scores.bleu3_end_nltk_3_4_5 == pytest.approx(((right + wrong) / 2, right))
    assert scores.bleu3_words_nltk_3_4_5 == (0.0, 0.0)
    # today's NLTK leaves the zeros of one token: 1, 0, 0
    s1 = (2 + 1 + 0) / 3
    s2 = (s1 + 0 + 0) / 3
    alone = bleu(s1, s2, s2 / 3)
    assert scores.bleu3_words_nltk_3_6 == pytest.approx((alone / 2, alone))
    # and its first and second zero become ln 2 / (5 * 2) and ln 2 / (5 * 4), over a denominator of 1
    zero = math.log(2) / 10
    s1 = (2 + 1 + 1) / 3
    s2 = (s1 + 1 + zero) / 3
    assert scores.bleu3_end_nltk_3_6.recall == pytest.approx(bleu(s1, s2, (s2 + zero + 0) / 3))


def test_f1_comes_from_the_means_over_contexts():
    same, other = ([["so", "do", "i"]], [["so", "do", "i"]]), ([["so"], ["so", "do"]], [["do", "i", "know"]])
    one, two, both = (
        single_reference(contexts, None).bleu3_end_nltk_3_6 for contexts in ([same], [other], [same, other])
    )
    precision, recall = (one.precision + two.precision) / 2, (one.recall + two.recall) / 2
    assert both == pytest.approx((precision, recall))
    figures = single_reference([same, other], None).figures()
    assert figures["bleu3_end_nltk_3_6_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def nltk_bleu(hypothesis, reference):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_bleu([reference], hypothesis, (1 / 3,) * 3, SmoothingFunction().method7) if hypothesis else 0.0


@given(contexts=st.lists(CONTEXT, min_size=1, max_size=3))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_bleu_equals_nltk_with_and_without_the_end(contexts):
    scores = single_reference(contexts, None)
    for figure, end in ((scores.bleu3_words_nltk_3_6, []), (scores.bleu3_end_nltk_3_6, ["</s>"])):
        of_samples = [[nltk_bleu(h + end, references[0] + end) for h in samples] for samples, references in contexts]
        assert figure == pytest.approx((fmean(map(fmean, of_samples)), fmean(map(max, of_samples))), rel=1e-9)


def test_embedding_scores_are_the_raw_cosines_of_the_best_sample():
    scores = single_reference([([["west"], ["north", "east"]], [["east"]])], COMPASS)
    # cosines to east: of west -1; of the mean (1, .5) and the extremes (2, 1) of the other sample alike
    assert scores.average == pytest.approx(2 / math.sqrt(5))
    assert scores.extrema == pytest.approx(2 / math.sqrt(5))
    assert scores.greedy == pytest.approx(((0 + 1) / 2 + 1) / 2)
    assert single_reference([([["west"]], [["east"]])], COMPASS).average == pytest.approx(-1)


def test_diversity_by_hand():
    samples = [["i", "do", "i", "do"], ["yeah"], []]
    scores = single_reference([(samples, [["i"]]), ([["so"]] * 3, [["i"]])], None)
    assert scores.intra_distinct_1 == pytest.approx(((2 / 4 + 1 + 0) / 3 + 1) / 2)
    assert scores.intra_distinct_2 == pytest.approx(((2 / 3 + 0 + 0) / 3 + 0) / 2)
    assert scores.inter_distinct_1 == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert scores.inter_distinct_2 == pytest.approx((2 / 3 + 0) / 2)
    assert scores.length == pytest.approx((5 / 3 + 1) / 2)


def test_contexts_without_known_words_are_left_out_and_counted():
    known, unknown = ([["east"], []], [["east"]]), ([["zzz"], []], [["east"]])
    scores = single_reference([known, unknown, ([["east"]], [[]])], COMPASS)
    assert (scores.average, scores.contexts, scores.contexts_without_word_vectors) == (pytest.approx(1), 3, 2)
    nothing = single_reference([unknown], COMPASS)
    assert (nothing.average, nothing.extrema, nothing.greedy) == (None, None, None)
    assert nothing.contexts_without_word_vectors == 1
    without = single_reference([known], None)
    assert (without.average, without.contexts_without_word_vectors) == (None, None)
    assert not {"average", "contexts_without_word_vectors"} & without.figures().keys()
    assert all(type(figure) in (int, float) for figure in scores.figures().values())


def test_empty_replies_score_nothing():
    scores = single_reference([([[], []], [["yeah"]])], VECTORS)
    assert scores.bleu3_words_nltk_3_4_5 == scores.bleu3_words_nltk_3_6 == (0.0, 0.0)
    assert (scores.length, scores.intra_distinct_1, scores.inter_distinct_2, scores.greedy) == (0, 0, 0, None)


@given(contexts=st.lists(CONTEXT, min_size=1, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_columns_have_the_scores_of_single_contexts(contexts):
    columns = per_context(contexts, VECTORS)
    for index, (samples, references) in enumerate(contexts):
        # further references and the order of the samples change nothing
        alone = single_reference([(samples[::-1], references[:1])], VECTORS).figures()
        for name, column in columns.items():
            if name in alone:
                assert column[index] == pytest.approx(alone[name], rel=1e-9, abs=1e-12)
            else:
                assert np.isnan(column[index])
    everything = single_reference(contexts, VECTORS)
    for name, column in columns.items():
        if not np.isnan(column).all():
            assert everything.figures()[name] == pytest.approx(np.nanmean(column), rel=1e-9, abs=1e-12)


def test_one_sample_has_precision_equal_to_recall():
    scores = single_reference([([["so", "i", "know"]], [["so", "do", "i"]])], None)
    for bleu in scores[:4]:
        assert bleu.precision == bleu.recall == pytest.approx(bleu.f1)
        assert bleu.recall > 0


def test_refusals_name_what_is_missing():
    with pytest.raises(ValueError, match="at least 1 context, got 0"):
        single_reference([], None)
    with pytest.raises(ValueError, match="got 0 hypotheses and 1 references"):
        single_reference([([], [["so"]])], None)
    with pytest.raises(ValueError, match="got 1 hypotheses and 0 references"):
        single_reference([([["so"]], [])], None)
    with pytest.raises(TypeError, match="got the string 'so'"):
        single_reference([(["so"], [["so"]])], None)
