"""Building references on the synthetic corpus: candidates, filter, threshold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from dialog_cvae.data.readers import sample
from dialog_cvae.errors import ConfigError
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import Window, windows
from eval.references import reply_filter
from eval.references.builder import build
from eval.references.context_index import ContextIndex
from eval.references.reply_filter import Pair, ReplyFilter

CORPUS = sample.read()


@pytest.fixture(scope="module")
def index() -> ContextIndex:
    return ContextIndex(CORPUS.train)


@pytest.fixture(scope="module")
def fitted(index: ContextIndex) -> ReplyFilter:
    return ReplyFilter(index, seed=0)


def test_the_filter_learns_from_real_replies_and_others_of_equal_topic_and_floor(index):
    pairs, real = reply_filter._training_pairs(index, np.random.default_rng(0))
    assert real.tolist() == [True, False] * (len(pairs) // 2)
    assert len({pair.window.place for pair in pairs}) == len(pairs) // 2
    pools = {}
    for pair, is_real in zip(pairs, real, strict=True):
        if is_real:
            assert pair.reply is pair.window.reply
            continue
        key = pair.window.conversation.topic, pair.window.continues
        if key not in pools:
            pools[key] = {id(index.windows[i].reply) for i in index.alike(pair.window)}
        assert id(pair.reply) in pools[key]
        assert pair.reply is not pair.window.reply


def test_the_filter_recognises_real_replies(index, fitted):
    """On conversations that it never saw, each reply against that of the next context of equal topic and floor."""
    assert 0.6 < fitted.accuracy < 1.0
    test = windows(CORPUS.test)
    groups: dict[object, list[Window]] = {}
    for window in test:
        groups.setdefault((window.conversation.topic, window.continues), []).append(window)
    rotated = [(w, o) for group in groups.values() for w, o in zip(group, group[1:] + group[:1], strict=True)]
    real = fitted.scores([Pair(w, w.reply) for w, _ in rotated])
    other = fitted.scores([Pair(w, o.reply) for w, o in rotated])
    assert (real > other).mean() > 0.75


def test_accuracy_is_measured_on_held_out_conversations(index, fitted):
    """Against a model that is fitted to the other nine tenths here."""
    pairs, real = reply_filter._training_pairs(index, np.random.default_rng(0))
    names = list(dict.fromkeys(pair.window.conversation.id for pair in pairs))
    unseen = np.isin([pair.window.conversation.id for pair in pairs], names[::10])
    seen_pairs, unseen_pairs = (
        [pair for pair, is_in in zip(pairs, which, strict=True) if is_in] for which in (~unseen, unseen)
    )
    vectorizer = CountVectorizer(analyzer=reply_filter._features, min_df=20, binary=True)
    refitted = LogisticRegression(C=0.03, solver="liblinear").fit(vectorizer.fit_transform(seen_pairs), real[~unseen])
    predicted = refitted.predict(vectorizer.transform(unseen_pairs))
    assert fitted.accuracy == (predicted == real[unseen]).mean()
    assert fitted.pairs == len(seen_pairs)
    assert fitted.accuracy < refitted.score(vectorizer.transform(seen_pairs), real[~unseen])


def test_equal_seeds_give_equal_filters(index, fitted):
    pairs = [Pair(window, window.reply) for window in windows(CORPUS.test)]
    assert np.array_equal(ReplyFilter(index, seed=0).scores(pairs), fitted.scores(pairs))
    assert not np.array_equal(ReplyFilter(index, seed=1).scores(pairs), fitted.scores(pairs))


def test_the_features_of_a_pair():
    """Each joins something of the context with something of the reply."""
    asked, said = Utterance("A", "got a dog?", "yes-no-question"), Utterance("B", "yes, two dogs", "yes_answers")
    window = Window(Conversation("x", (Utterance("B", "dogs or cats"), asked, said)), 2)
    assert sorted(reply_filter._features(Pair(window, said))) == sorted(
        [
            *("words dog yes", "words dog ,", "words ? yes", "words ? ,"),
            "last length, length 2 2",  # of 4 tokens each, log2(4 + 1) rounded down
            "length, last word 2 ?",
            "last length, first word 2 yes",
            "length, words of the last 2 0",
            "length, words of the context 2 1",  # dogs
            "length, repeats the last 2 False",
            "act, act yes-no-question yes_answers",
            "acts, act None yes-no-question yes_answers",
            "act, length yes-no-question 2",
            *(f"act, word yes-no-question {word}" for word in ("yes", ",", "two", "dogs")),
        ]
    )


def test_known_acts_are_features():
    acts = (Utterance("A", "got a dog?", "yes-no-question"), Utterance("B", "yes", "yes_answers"))
    bare = tuple(Utterance(u.speaker, u.text) for u in acts)
    for utterances, expected in ((acts, True), (bare, False)):
        found = list(reply_filter._features(Pair(Window(Conversation("x", utterances), 1), utterances[1])))
        assert any(feature.startswith("act") for feature in found) is expected


@pytest.mark.parametrize("count", [9, 40])
def test_too_few_windows_for_a_filter_are_refused(count):
    with pytest.raises(ConfigError, match=r"at least 500 training contexts of 10 conversations, but has \d+ of \d+"):
        ReplyFilter(ContextIndex(CORPUS.train[:count]), seed=0)


def test_without_a_filter_extras_are_the_neighbours_replies(index):
    built = build(index, CORPUS.test, candidates=4)
    assert built.threshold is None
    queries = windows(CORPUS.test)
    nearest = {q.place: n for q, n in zip(queries, index.nearest(queries, 4), strict=True)}
    every = {(c.id, position) for c in CORPUS.test for position in range(len(c.utterances))}
    assert built.references.keys() == every
    for (name, position), row in built.references.items():
        conversation = next(c for c in CORPUS.test if c.id == name)
        gold = conversation.utterances[position]
        extras = [one.window.reply for one in nearest.get((name, position), [])]
        assert row.responses == (gold.text, *(u.text for u in extras))
        assert row.dialog_acts == (gold.dialog_act, *(u.dialog_act for u in extras))
        assert (row.speaker, row.context) == (gold.speaker, Window(conversation, position).context)
    lengths = [len(c.utterances) for c in CORPUS.test]
    order = list(dict.fromkeys(name for name, _ in built.references))
    assert order == [CORPUS.test[i].id for i in np.argsort(lengths, kind="stable")]


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_the_filter_keeps_the_requested_share(index, fitted, share):
    whole, kept = build(index, CORPUS.test), build(index, CORPUS.test, reply_filter=fitted, keep_share=share)
    changes = [place for place, row in whole.references.items() if row.context and not row.continues]
    counts = [sum(len(built.references[place].responses) - 1 for place in changes) for built in (kept, whole)]
    assert counts[0] / counts[1] == pytest.approx(share, abs=0.02)  # equal candidates score the same
    for place, row in kept.references.items():
        rest = iter(whole.references[place].responses)
        assert row.responses[0] == whole.references[place].responses[0]
        assert all(text in rest for text in row.responses)  # in the same order
    assert all(len(kept.references[c.id, 0].responses) == 1 for c in CORPUS.test)


@pytest.mark.parametrize("offset", [-1.0, 1.0])
def test_the_share_is_of_candidates_where_the_speaker_changes(index, offset):
    """Where a speaker goes on, every candidate scores below, or above, all at changes."""

    class Offset:
        def scores(self, pairs: list[Pair]) -> np.ndarray:
            shifted = [offset * pair.window.continues for pair in pairs]
            return np.linspace(0, 0.5, len(pairs)) + shifted

    whole, kept = build(index, CORPUS.test), build(index, CORPUS.test, reply_filter=Offset(), keep_share=0.5)
    extras = {True: [0, 0], False: [0, 0]}
    for i, built in enumerate((kept, whole)):
        for row in built.references.values():
            extras[row.continues][i] += len(row.responses) - 1
    assert extras[False][0] / extras[False][1] == pytest.approx(0.5, abs=1e-3)
    assert extras[True][1] > 0
    assert extras[True][0] == (extras[True][1] if offset > 0 else 0)


def test_the_filter_keeps_the_best(index, fitted):
    kept = build(index, CORPUS.test, reply_filter=fitted, keep_share=0.5)
    queries = windows(CORPUS.test)
    for window, near in zip(queries, index.nearest(queries, 10), strict=True):
        scores = fitted.scores([Pair(window, one.window.reply) for one in near])
        chosen = [one.window.reply.text for one, score in zip(near, scores, strict=True) if score >= kept.threshold]
        assert list(kept.references[window.place].responses[1:]) == chosen


def test_a_corpus_without_changes_of_speaker_has_a_threshold(index, fitted):
    monologue = Conversation("m", tuple(Utterance("A", u.text) for u in CORPUS.test[0].utterances))
    built = build(index, [monologue], reply_filter=fitted, keep_share=0.5)
    extras = sum(len(row.responses) - 1 for row in built.references.values())
    assert extras == pytest.approx(5 * (len(monologue.utterances) - 1), abs=3)


def test_distinct_references(index):
    every, distinct = build(index, CORPUS.test).references, build(index, CORPUS.test, distinct=True).references
    assert any(len(every[place].responses) > len(row.responses) for place, row in distinct.items())
    for place, row in distinct.items():
        keys = list(map(normalised, row.responses))
        assert len(set(keys)) == len(keys) == len(row.dialog_acts)
        assert keys == list(dict.fromkeys(map(normalised, every[place].responses)))


def test_a_context_without_similar_ones_keeps_its_gold_reply(fitted):
    """In none of these training conversations a speaker goes on."""
    index = ContextIndex([c for c in CORPUS.train if not any(w.continues for w in windows([c]))])
    said = (Utterance("A", "hello"), Utterance("A", "are you there"), Utterance("B", "yes"))
    rows = build(index, [Conversation("x", said)], reply_filter=fitted).references
    assert rows["x", 1].responses == ("are you there",)
    assert len(rows["x", 2].responses) > 1
    alone = build(index, [Conversation("x", said[:2])], reply_filter=fitted)
    assert [row.responses for row in alone.references.values()] == [("hello",), ("are you there",)]
    assert alone.threshold is None
