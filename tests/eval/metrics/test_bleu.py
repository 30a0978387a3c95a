"""BLEU against recorded NLTK releases, the installed NLTK, and formulas worked by hand."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.bleu import (
    BLEU_WEIGHTS,
    PROTOCOL,
    Smoothing,
    context_bleu,
    leave_one_out_bleu,
    pairwise_bleu,
)
from eval.metrics.matching import best_matches

# BLEU-1..4 printed by `bleu_score.py` of the released packages nltk 3.4.5 and 3.6 (method7, one reference; an
# exception as 0), rounded to 9 digits.
RECORDED = {
    "method7-3.4": [
        ("yeah", "yeah", 0.0, 0.0, 0.0, 0.0),
        ("i know", "i know", 1.333333333, 1.041765598, 0.717348502, 0.481833326),
        ("that is true", "that is true", 1.333333333, 1.217161239, 1.034752044, 0.755095083),
        ("i do not know", "i do not know", 1.333333333, 1.217161239, 1.153887578, 1.010629663),
        ("a x b x c x x x x x x", "a b c", 0.623195546, 0.497634861, 0.410633901, 0.323795264),
        ("uh - huh", "uh - huh yeah", 0.955375081, 0.872134138, 0.741432238, 0.54104927),
        ("i ' m not sure", "i don ' t know", 0.681168673, 0.504396453, 0.396147876, 0.303255066),
        ("yeah that is right", "yeah", 0.572357786, 0.429697951, 0.342415871, 0.265052787),
        ("it is a nice place to live", "it is a very nice place", 0.976190476, 0.738530338, 0.554603481, 0.409040384),
        ("the the the the", "the cat the mat", 0.739024453, 0.528642831, 0.404003799, 0.303756379),
        ("oh really", "no", 0.0, 0.0, 0.0, 0.0),
        ("i think so", "well i think that so do i", 0.307529994, 0.221721025, 0.156742397, 0.109802096),
        ("and and i i we", "we and i", 0.816666667, 0.586240147, 0.447147017, 0.335251682),
    ],
    "method7-3.6": [
        ("yeah", "yeah", 1.0, 0.577350269, 0.333333333, 0.19245009),
        ("i know", "i know", 1.333333333, 1.033365172, 0.68546995, 0.435897968),
        ("a x b x c x x x x x x", "a b c", 0.523144499, 0.312619986, 0.18911857, 0.114676399),
        ("i ' m not sure", "i don ' t know", 0.613411983, 0.373010105, 0.233291957, 0.147346478),
        ("the the the the", "the cat the mat", 0.682069937, 0.41648388, 0.265485008, 0.17267465),
        ("i think so", "well i think that so do i", 0.307529994, 0.219098535, 0.147251117, 0.096354703),
    ],
}
ROWS = [(smoothing, *row) for smoothing, rows in RECORDED.items() for row in rows]

WORDS = st.lists(st.sampled_from("abcde"), max_size=9)
SOME_WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9)
FEW_WEIGHTS = [*BLEU_WEIGHTS, (1.0,), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.2,) * 5]
WEIGHTS = st.sampled_from([*FEW_WEIGHTS, (1 / 6,) * 6])


def one_bleu(hypothesis, reference, weights=BLEU_WEIGHTS[3], smoothing="method7-3.4"):
    """BLEU of a single pair."""
    return pairwise_bleu([hypothesis], [reference], [smoothing], [weights]).item()


def nltk_bleu(hypothesis, references, weights, method):
    """The protocol as published: NLTK, with every exception scored 0."""
    from nltk.translate.bleu_score import SmoothingFunction
    from nltk.translate.bleu_score import sentence_bleu as nltk_sentence_bleu

    smoothing = getattr(SmoothingFunction(), method)
    try:
        return nltk_sentence_bleu(references, hypothesis, weights=list(weights), smoothing_function=smoothing)
    except (ZeroDivisionError, ValueError):
        return 0.0


@pytest.mark.parametrize(("smoothing", "hypothesis", "reference", "bleu1", "bleu2", "bleu3", "bleu4"), ROWS)
def test_recorded_releases_of_nltk(smoothing, hypothesis, reference, bleu1, bleu2, bleu3, bleu4):
    scores = [one_bleu(hypothesis.split(), reference.split(), w, smoothing) for w in BLEU_WEIGHTS]
    assert scores == pytest.approx([bleu1, bleu2, bleu3, bleu4], abs=1e-9)


def test_published_formula_worked_by_hand():
    # hypothesis a b, reference a c: p = 1/2, 0, 0, 0, 0 and l = r = 2, so BP = 1 and 5 / ln 2 = 7.2134752
    z = 5 / np.log(2)
    p1, p2, p3, p4 = 0.5, 1 / (1 + z), 1 / (2 + z), 1 / (3 + z)
    s1 = (1.5 + p1 + p2) / 3
    s2 = (s1 + p2 + p3) / 3
    s3 = (s2 + p3 + p4) / 3
    s4 = (s3 + p4 + 0) / 3
    assert one_bleu(["a", "b"], ["a", "c"]) == pytest.approx((s1 * s2 * s3 * s4) ** 0.25, rel=1e-12)


@given(hypothesis=WORDS, reference=WORDS, weights=st.sampled_from(FEW_WEIGHTS))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_equals_the_installed_nltk(hypothesis, reference, weights):
    for smoothing, method in (("method7-3.6", "method7"), ("method1", "method1")):
        expected = nltk_bleu(hypothesis, [reference], weights, method)
        assert one_bleu(hypothesis, reference, weights, smoothing) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_equals_the_installed_nltk_on_long_sentences():
    rng = random.Random(5)
    for _ in range(200):
        reference = [str(rng.randrange(8)) for _ in range(rng.randrange(1, 40))]
        cut = rng.randrange(len(reference))
        hypothesis = reference[cut:] + [str(rng.randrange(8)) for _ in range(rng.randrange(12))]
        for weights in BLEU_WEIGHTS:
            expected = nltk_bleu(hypothesis, [reference], weights, "method7")
            assert one_bleu(hypothesis, reference, weights, "method7-3.6") == pytest.approx(expected, rel=1e-12)


@given(tokens=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=20))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_perfect_reply_beats_a_perturbed_one(tokens):
    perturbed = [*tokens[:-1], "other"]
    for smoothing in PROTOCOL:
        perfect, worse = pairwise_bleu([tokens, perturbed], [tokens], [smoothing])[0, 3, :, 0]
        assert perfect > worse


@given(hypotheses=st.lists(WORDS, min_size=1, max_size=4), references=st.lists(WORDS, min_size=1, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_pairs_do_not_depend_on_each_other(hypotheses, references):
    together = pairwise_bleu(hypotheses, references)
    assert together.shape == (len(PROTOCOL), 4, len(hypotheses), len(references))
    for (s, w, h, r), score in np.ndenumerate(together):
        assert score == one_bleu(hypotheses[h], references[r], BLEU_WEIGHTS[w], PROTOCOL[s])
    scored = context_bleu(hypotheses, references)
    for s, smoothing in enumerate(PROTOCOL):
        assert scored[smoothing] == tuple(best_matches(together[s, n]) for n in range(4))


@given(sentences=st.lists(WORDS, min_size=2, max_size=5), weights=WEIGHTS)
@settings(derandomize=True, deadline=None)
def test_leaving_one_out_equals_the_installed_nltk(sentences, weights):
    for smoothing, method in (("method7-3.6", "method7"), ("method1", "method1")):
        expected = [
            nltk_bleu(sentence, sentences[:i] + sentences[i + 1 :], weights, method)
            for i, sentence in enumerate(sentences)
        ]
        assert leave_one_out_bleu(sentences, weights, smoothing) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(first=WORDS, second=WORDS, weights=st.sampled_from(FEW_WEIGHTS), smoothing=st.sampled_from(PROTOCOL))
@settings(derandomize=True, deadline=None)
def test_leaving_one_of_two_out_is_the_score_of_the_pair(first, second, weights, smoothing):
    expected = [one_bleu(first, second, weights, smoothing), one_bleu(second, first, weights, smoothing)]
    assert leave_one_out_bleu([first, second], weights, smoothing).tolist() == expected


def test_precision_and_recall_of_a_context_by_hand():
    right, wrong = ["i", "do", "not", "know"], ["no", "way"]
    # BLEU-1 of a perfect match of four tokens is 4/3 by method 7
    assert context_bleu([right], [right])["method7-3.4"][0] == pytest.approx((4 / 3, 4 / 3))
    assert context_bleu([wrong], [right])["method7-3.4"][0] == (0.0, 0.0)
    assert context_bleu([right, wrong], [right, right])["method7-3.4"][0] == pytest.approx((2 / 3, 4 / 3))


def test_no_common_word_and_empty_texts_score_zero():
    smoothings: tuple[Smoothing, ...] = ("method7-3.4", "method7-3.6", "method1")
    for smoothing in smoothings:
        for hypothesis, reference in ((["a", "b"], ["c"]), ([], ["c"]), (["a"], []), ([], [])):
            assert one_bleu(hypothesis, reference, BLEU_WEIGHTS[3], smoothing) == 0.0


def test_of_two_references_equally_near_in_length_the_shorter_counts():
    # no brevity penalty against two tokens, one of exp(-1/3) against four
    hypothesis, longer, shorter = ["a", "b", "c"], ["a", "b", "c", "d"], ["x", "y"]
    expected = nltk_bleu(hypothesis, [longer, shorter], (1.0,), "method1")
    assert expected == 1.0
    for references in ([longer, shorter], [shorter, longer]):
        assert leave_one_out_bleu([hypothesis, *references], (1.0,), "method1")[0] == expected


def test_weights_of_fewer_orders_are_another_metric():
    hypothesis, reference = ["i", "do", "not", "know"], ["i", "do", "not", "know", "yet"]
    protocol = one_bleu(hypothesis, reference, BLEU_WEIGHTS[2])
    assert one_bleu(hypothesis, reference, (1 / 3, 1 / 3, 1 / 3)) < protocol


def test_refusals_name_what_is_missing():
    with pytest.raises(ValueError, match="got 0 hypotheses and 1 references"):
        context_bleu([], [["a"]])
    with pytest.raises(TypeError, match="got the string 'yeah'"):
        pairwise_bleu(["yeah"], [["yeah"]])
    with pytest.raises(TypeError, match="got the string 'yeah'"):
        pairwise_bleu([["yeah"]], ["yeah"])
    with pytest.raises(ValueError, match="at least 2 sentences and 1 weight, got 1 and 1"):
        leave_one_out_bleu([["a"]], (1.0,), "method1")
