import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.diversity import (
    Distinct,
    corpus_diversity,
    distinct,
    distinct_at,
    distinct_replies,
    intra_distinct,
    label_entropy,
    ngram_entropy,
    self_bleu,
)

REPLIES = [["i", "know"], ["i", "do", "i", "do"], ["yeah"]]
WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


def test_distinct_by_hand():
    assert distinct(REPLIES, 1) == Distinct(distinct=4, total=7)
    # i know, i do, do i, i do: bigrams do not cross replies
    assert distinct(REPLIES, 2) == Distinct(distinct=3, total=4)
    assert distinct(REPLIES, 2).ratio == 0.75
    assert distinct([["yeah"], []], 2) == Distinct(0, 0)
    assert distinct([["yeah"], []], 2).ratio == 0.0


def test_intra_distinct_by_hand():
    assert intra_distinct(REPLIES, 1) == pytest.approx((2 / 2 + 2 / 4 + 1 / 1) / 3)
    # one bigram of 1; i do, do i, i do: 2 of 3; no bigram at all
    assert intra_distinct(REPLIES, 2) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_distinct_at_a_fixed_number_of_tokens():
    # i know | i do i
    assert distinct_at(REPLIES, 1, 5) == Distinct(3, 5)
    assert distinct_at(REPLIES, 2, 5) == Distinct(3, 3)
    assert distinct_at(REPLIES, 2, 2) == Distinct(1, 1)
    assert distinct_at(REPLIES, 1, 7) == distinct(REPLIES, 1)
    with pytest.raises(ValueError, match="distinct-2 at 8 tokens needs replies of that many tokens, got 7"):
        distinct_at(REPLIES, 2, 8)
    with pytest.raises(ValueError, match="at 0 tokens"):
        distinct_at(REPLIES, 2, 0)


def test_length_alone_lowers_distinct_but_not_at_a_fixed_length():
    short, long = [["a", "b"]], [["a", "b"]] * 4
    assert distinct(long, 1).ratio < distinct(short, 1).ratio
    assert distinct_at(long, 1, 2) == distinct_at(short, 1, 2)


def test_self_bleu_by_hand():
    same = ["so", "do", "i"]
    assert self_bleu([same, same], 3) == pytest.approx(1.0)
    assert self_bleu([["a", "b"], ["c", "d"]], 2) == 0.0
    # a b against a c: p1 = 1/2, p2 = .1/1, no brevity penalty; the same the other way round
    assert self_bleu([["a", "b"], ["a", "c"]], 2) == pytest.approx(math.sqrt(0.5 * 0.1))
    # with all others as references every bigram of "a b c" is found: 1, sqrt(1), and two replies with a match each
    assert self_bleu([["a", "b", "c"], ["a", "b"], ["b", "c"]], 2) == pytest.approx(1.0)


def test_self_bleu_agrees_with_nltk():
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    replies = ["well i do not know", "i do not think so", "i do not know really", "yeah", "so do i think"]
    tokens = [reply.split() for reply in replies]
    expected = [
        sentence_bleu(tokens[:i] + tokens[i + 1 :], tokens[i], (1 / 3,) * 3, SmoothingFunction().method1)
        for i in range(len(tokens))
    ]
    assert self_bleu(tokens, 3) == pytest.approx(sum(expected) / len(expected), rel=1e-12)


def test_distinct_replies():
    assert distinct_replies([["a"], ["a"], ["a", "b"], [], []]) == 3
    assert distinct_replies([]) == 0


def test_label_entropy_by_hand():
    assert label_entropy(["question", "answer", "question", "answer"]) == pytest.approx(math.log(2))
    assert label_entropy(["question"] * 3) == 0.0
    assert math.copysign(1.0, label_entropy(["question"])) == 1.0
    assert label_entropy(["a", "a", "b", "c"]) == pytest.approx(1.5 * math.log(2))


def test_ngram_entropy_by_hand():
    # i 3, do 2, know, yeah; i know, i do 2, do i
    assert ngram_entropy(REPLIES, 1) == pytest.approx((3 * math.log(7 / 3) + 2 * math.log(7 / 2) + 2 * math.log(7)) / 7)
    assert ngram_entropy(REPLIES, 2) == pytest.approx((2 * math.log(2) + 2 * math.log(4)) / 4)
    assert ngram_entropy(REPLIES, 4) == 0.0
    assert ngram_entropy(REPLIES, 5) == 0.0


def test_ngram_entropy_differs_where_distinct_does_not():
    even, uneven = [["a", "a", "b", "b"]], [["a", "a", "a", "b"]]
    assert distinct(even, 1) == distinct(uneven, 1)
    assert ngram_entropy(even, 1) > ngram_entropy(uneven, 1)


def test_corpus_diversity_by_hand():
    contexts = [(REPLIES, [["a"]]), ([["yeah"], ["yeah"]], [["a"]]), ([["i", "know"]], [])]
    figures = corpus_diversity(contexts, tokens=11)
    assert figures.distinct_replies == pytest.approx((3 + 1 + 1) / 3)
    # the third context has one reply, which is compared with none
    assert figures.self_bleu_2 == pytest.approx((self_bleu(REPLIES, 2) + self_bleu([["yeah"], ["yeah"]], 2)) / 2)
    assert figures.self_bleu_3 == pytest.approx((self_bleu(REPLIES, 3) + self_bleu([["yeah"], ["yeah"]], 3)) / 2)
    assert figures.distinct_1 == figures.distinct_1_fixed == Distinct(4, 11)
    assert figures.distinct_2 == figures.distinct_2_fixed == Distinct(3, 5)
    assert figures.figures()["distinct_2"] == 3 / 5
    assert figures.entropy_4 == 0.0
    assert corpus_diversity([([["a", "b", "c", "d", "e"]], [])]).entropy_4 == pytest.approx(math.log(2))


def test_undefined_measures_of_diversity_are_left_out():
    alone = corpus_diversity([([["a", "b"]], [])], tokens=3)
    assert (alone.self_bleu_2, alone.self_bleu_3, alone.distinct_1_fixed, alone.distinct_2_fixed) == (None,) * 4
    assert alone.figures() == {"distinct_replies": 1.0, "distinct_1": 1.0, "distinct_2": 1.0, "entropy_4": 0.0}
    assert corpus_diversity([([[], []], [])], tokens=1).distinct_1 == Distinct(0, 0)


def test_fixed_tokens_come_from_the_whole_corpus():
    # the first hundred contexts all say the same
    contexts = [([["a", "a"]], [])] * 100 + [([[f"b{i}", f"c{i}"]], []) for i in range(100)]
    shuffled = corpus_diversity(contexts, tokens=100, seed=3)
    assert shuffled.distinct_1_fixed is not None
    assert 20 < shuffled.distinct_1_fixed.distinct < 80
    assert shuffled == corpus_diversity(contexts, tokens=100, seed=3)
    assert len({corpus_diversity(contexts, tokens=100, seed=seed).distinct_1_fixed for seed in range(5)}) > 1


@given(replies=st.lists(WORDS, min_size=1, max_size=6), n=st.integers(1, 3))
@settings(derandomize=True, deadline=None)
def test_ranges_and_order(replies, n):
    counted = distinct(replies, n)
    assert 0 <= counted.distinct <= counted.total == sum(max(0, len(reply) - n + 1) for reply in replies)
    assert distinct(replies[::-1], n) == counted
    assert 0.0 <= intra_distinct(replies, n) <= 1.0
    # the same replies once more say nothing new
    assert distinct(replies * 2, n).distinct == counted.distinct
    assert self_bleu(replies * 2, n) <= 1.0 + 1e-12
    entropy = ngram_entropy(replies, n)
    assert 0.0 <= entropy <= math.log(max(1, counted.distinct)) + 1e-12
    assert ngram_entropy(replies * 2, n) == pytest.approx(entropy)


@given(labels=st.lists(st.sampled_from("abcde"), min_size=1, max_size=40))
@settings(derandomize=True, deadline=None)
def test_entropy_is_at_most_that_of_equal_shares(labels):
    assert -1e-12 <= label_entropy(labels) <= math.log(len(set(labels))) + 1e-12


def test_refusals_name_the_limit():
    with pytest.raises(ValueError, match="at least 1 replies, got 0"):
        distinct([], 1)
    with pytest.raises(ValueError, match="at least 2 replies, got 1"):
        self_bleu([["a"]], 2)
    with pytest.raises(ValueError, match="n of at least 1, got 0"):
        intra_distinct([["a"]], 0)
    with pytest.raises(ValueError, match="at least 1 label, got 0"):
        label_entropy([])
    with pytest.raises(TypeError, match="got the string 'yeah'"):
        distinct(["yeah"], 1)
    with pytest.raises(ValueError, match="at least 1 replies, got 0"):
        ngram_entropy([], 4)
    with pytest.raises(ValueError, match="at least 1 context and 1 token, got 0 contexts, 10000 tokens"):
        corpus_diversity([])
    with pytest.raises(ValueError, match="at least 1 context and 1 token, got 1 contexts, 0 tokens"):
        corpus_diversity([([["a"]], [])], tokens=0)
    with pytest.raises(ValueError, match=r"context 1 of 2 \(from 0\) has no replies"):
        corpus_diversity([([["a"]], []), ([], [["a"]])])
