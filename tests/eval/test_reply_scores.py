"""Scores of replies: each column against the metric that it names, and what is left out where."""

from __future__ import annotations

import numpy as np
import pytest

from dialog_cvae.data.vectors import WordVectors
from dialog_cvae.types import Utterance
from eval.baselines.people import LeftOut
from eval.contexts import AnsweredContext
from eval.metrics.bleu import context_bleu
from eval.metrics.diversity import corpus_diversity, label_entropy
from eval.metrics.embedding import context_embedding
from eval.metrics.matching import PrecisionRecall
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import ReferenceRow
from eval.reply_scores import metric_context, reply_scores

WORDS = ["yes", "no", "i", "like", "cats", "dogs", "they", "bark", "all", "night"]
VECTORS = WordVectors(
    {word: i for i, word in enumerate(WORDS)},
    np.random.default_rng(0).standard_normal((len(WORDS), 4)).astype(np.float32),
)


def sampled(place: tuple[str, int], speakers: str, said: str, *replies: str) -> AnsweredContext:
    """A context of one utterance."""
    return AnsweredContext(
        place[0], place[1], None, (Utterance(speakers[0], "hm"),), Utterance(speakers[1], said), replies
    )


CONTEXTS = [
    sampled(("c", 1), "AB", "i like cats", "i like dogs", "no", "i like dogs"),
    sampled(("c", 2), "BB", "they bark all night", "they bark", "yes i like cats all night", "no no no"),
    sampled(("d", 1), "AB", "xyzzy", "yes", "i like cats", "they bark all night"),
]


def row(*texts: str) -> ReferenceRow:
    return ReferenceRow((), "A", texts, (None,) * len(texts))


REFERENCES = {("c", 1): row("i like cats", "no i like dogs"), ("d", 1): row("xyzzy", "plugh")}


def test_without_references_the_real_reply_is_the_reference():
    scores = reply_scores(CONTEXTS, vectors=VECTORS)
    for index, one in enumerate(CONTEXTS):
        context = [metric_tokens(text) for text in one.replies], [metric_tokens(one.reference.text)]
        for smoothing, name in (("method7-3.4", "bleu_nltk_3.4.5"), ("method7-3.6", "bleu_nltk_3.6")):
            for n, score in enumerate(context_bleu(*context)[smoothing], start=1):
                assert scores.columns[f"{name}_{n}.precision"][index] == score.precision
                assert scores.columns[f"{name}_{n}.recall"][index] == score.recall
        known = context_embedding(*context, VECTORS)
        for name in ("average", "extrema", "greedy"):
            column = scores.columns[f"{name[0]}_bow.precision"][index]
            assert np.isnan(column) if known is None else column == getattr(known, name).precision
    assert not any(name.startswith("gold.") for name in scores.columns)
    assert scores.figures["contexts_without_word_vectors"] == 1
    assert "references_per_context" not in scores.figures


def test_corpus_values_are_means_over_contexts_that_have_a_score():
    scores = reply_scores(CONTEXTS, references=REFERENCES, vectors=VECTORS)
    columns, figures = scores.columns, scores.figures
    assert (figures["contexts"], figures["contexts_with_references"], figures["references_per_context"]) == (3, 2, 2.0)
    assert np.isnan(columns["bleu_nltk_3.6_1.recall"]).tolist() == [False, True, False]
    assert np.isnan(columns["a_bow.recall"]).tolist() == [False, True, True]
    assert figures["contexts_without_word_vectors"] == 1
    for name, found in {
        **{name: figures[name] for name in ("bleu_nltk_3.4.5_4", "bleu_nltk_3.6_1", "a_bow")},
        "gold.bleu_nltk_3.6_1": figures["gold"]["bleu_nltk_3.6_1"],
    }.items():
        mean = PrecisionRecall(*(float(np.nanmean(columns[f"{name}.{part}"])) for part in ("precision", "recall")))
        expected = {"precision": mean.precision, "recall": mean.recall, "f1": mean.f1}
        assert found == pytest.approx(expected)


def test_references_give_best_matches_and_scores_against_the_real_reply():
    scores = reply_scores(CONTEXTS, references=REFERENCES)
    replies = [metric_tokens(text) for text in CONTEXTS[0].replies]
    targets = [["i", "like", "cats"], ["no", "i", "like", "dogs"]]
    assert metric_context(CONTEXTS[0], REFERENCES) == (replies, targets)
    assert metric_context(CONTEXTS[1], REFERENCES)[1] == []
    against_both, gold = context_bleu(replies, targets), context_bleu(replies, targets[:1])
    assert scores.columns["bleu_nltk_3.6_2.precision"][0] == against_both["method7-3.6"][1].precision
    assert scores.columns["gold.bleu_nltk_3.6_2.precision"][0] == gold["method7-3.6"][1].precision
    assert not np.isnan(scores.columns["gold.bleu_nltk_3.6_2.precision"]).any()


def test_changes_of_speaker_and_continuations_apart():
    scores = reply_scores(CONTEXTS)
    assert scores.columns["floor_change"].tolist() == [1.0, 0.0, 1.0]
    name = "bleu_nltk_3.6_1"
    column = scores.columns[f"{name}.recall"]
    changes, continuations = scores.figures["floor_change"], scores.figures["continuation"]
    assert (changes["contexts"], continuations["contexts"]) == (2, 1)
    assert changes[name]["recall"] == pytest.approx(column[[0, 2]].mean())
    assert continuations[name]["recall"] == column[1]


def test_diversity_is_that_of_the_replies():
    scores = reply_scores(CONTEXTS, seed=3)
    expected = corpus_diversity([metric_context(one) for one in CONTEXTS], seed=3).figures()
    assert scores.columns["distinct_replies"].tolist() == [2.0, 3.0, 3.0]
    assert scores.figures["distinct_replies_per_context"] == expected.pop("distinct_replies") == pytest.approx(8 / 3)
    assert {name: scores.figures[name] for name in expected} == expected
    assert scores.figures["mean_reply_tokens"] == pytest.approx((3 + 1 + 3 + 2 + 6 + 3 + 1 + 3 + 4) / 9)
    assert scores.figures["mean_reference_tokens"] == pytest.approx((3 + 4 + 1) / 3)


def test_the_entropy_is_that_of_the_tags_of_all_replies():
    def tag(texts):
        return ["no" if text.startswith("no") else "other" for text in texts]

    assert "act_entropy" not in reply_scores(CONTEXTS).figures
    assert reply_scores(CONTEXTS, tag=tag).figures["act_entropy"] == label_entropy(["no"] * 2 + ["other"] * 7)


def test_a_lone_reference_is_no_context_without_word_vectors():
    pair = ([["yes"]], [["no"]])
    references = REFERENCES | {("c", 2): row("they bark all night")}
    scores = reply_scores(
        CONTEXTS, references=references, vectors=VECTORS, left_out={("c", 1): LeftOut([pair] * 2, [pair] * 2)}
    )
    assert scores.figures["contexts_with_references"] == 3
    assert scores.figures["contexts_without_word_vectors"] == 0


def test_people_are_matched_with_the_other_references():
    left_out = {
        ("c", 1): LeftOut(
            [([["a", "b"]], [["a", "b"]]), ([["a"]], [["z"]])], [([["a", "b"]], [["a", "b"]]), ([["z"]], [["a"]])]
        )
    }
    scores = reply_scores(CONTEXTS, references=REFERENCES, left_out=left_out)
    perfect = context_bleu([["a", "b"]], [["a", "b"]])["method7-3.6"][0].precision
    column = scores.columns["bleu_nltk_3.6_1.precision"]
    assert column[0] == pytest.approx(perfect / 2)
    assert np.isnan(column[1:]).all()
    assert not any(name.startswith("gold.") for name in scores.columns)


def test_progress_counts_every_context():
    calls: list[None] = []
    reply_scores(CONTEXTS, advance=lambda: calls.append(None))
    assert len(calls) == 3
