"""The TF-IDF index against scikit-learn's vectorizer on whole contexts, and against a search one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from dialog_cvae.data import context_search
from dialog_cvae.data.readers import sample
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import MAX_CONTEXT, Window, windows
from eval.metrics.tokens import metric_tokens
from eval.references.context_index import ContextIndex

CORPUS = sample.read()
TRAIN, TEST = CORPUS.train[:60], CORPUS.test[:12]


def conversation(name: str, said: str, topic: str | None = None) -> Conversation:
    """From "A hi, B hello"."""
    turns = (turn.split(" ", 1) for turn in said.split(", "))
    return Conversation(name, tuple(Utterance(speaker, text) for speaker, text in turns), topic)


PETS = conversation("pets", "A do you like dogs, B yes, A big dogs, A and cats", "PETS")
CARS = conversation("cars", "A do you like cars, B no, A why", "CARS")
BARE = conversation("bare", "A do you like dogs, B who knows")


def query(said: str, topic: str | None = None) -> Window:
    asked = conversation("query", said, topic)
    return Window(asked, len(asked.utterances) - 1)


def replies(index: ContextIndex, window: Window, n: int, *, by_topic: bool = True) -> list[str]:
    (found,) = index.nearest([window], n, by_topic=by_topic)
    return [one.window.reply.text for one in found]


def test_windows_are_places_in_conversations():
    found = windows([PETS])
    assert [(w.place, w.reply.text, w.continues) for w in found] == [
        (("pets", 1), "yes", False),
        (("pets", 2), "big dogs", False),
        (("pets", 3), "and cats", True),
    ]
    assert found[2].context == PETS.utterances[:3]
    long = Conversation("long", tuple(Utterance("A", str(i)) for i in range(12)))
    assert Window(long, 11).context == long.utterances[11 - MAX_CONTEXT : 11]
    assert Window(PETS, 0).context == ()
    assert not Window(PETS, 0).continues


@pytest.mark.parametrize("by_topic", [True, False])
@pytest.mark.parametrize("chunk", [1, 5, 256])
def test_the_index_equals_a_search_one_by_one(by_topic, chunk, monkeypatch):
    monkeypatch.setattr(context_search, "CHUNK", chunk)
    index, queries = ContextIndex(TRAIN), windows(TEST)
    joined = [" ".join(u.text for u in w.context) for w in (*index.windows, *queries)]
    vectorizer = TfidfVectorizer(analyzer=metric_tokens)
    known = vectorizer.fit_transform(joined[: len(index.windows)]).toarray()
    asked = vectorizer.transform(joined[len(index.windows) :]).toarray()
    counted: list[int] = []
    found = index.nearest(queries, 7, by_topic=by_topic, advance=counted.append)
    assert sum(counted) == len(queries) == len(found)
    for one, neighbours, vector in zip(queries, found, asked, strict=True):
        cosines = known @ vector
        expected = [
            (w, cosine)
            for w, cosine in zip(index.windows, cosines, strict=True)
            if w.continues == one.continues and (not by_topic or w.conversation.topic == one.conversation.topic)
        ]
        best = sorted((cosine for _, cosine in expected), reverse=True)[:7]
        assert np.allclose([neighbour.similarity for neighbour in neighbours], best, atol=1e-12)
        of_window = {id(w.conversation): {} for w in index.windows}
        for w, cosine in expected:
            of_window[id(w.conversation)][w.position] = cosine
        for neighbour in neighbours:
            there = of_window[id(neighbour.window.conversation)][neighbour.window.position]
            assert neighbour.similarity == pytest.approx(there, abs=1e-12)


def test_no_queries_have_no_neighbours():
    assert ContextIndex(TRAIN).nearest([], 3) == []


def test_topic_and_floor_must_be_equal():
    index = ContextIndex([CARS, PETS, BARE])
    assert replies(index, query("A do you like dogs, B yes", "PETS"), 10) == ["yes", "big dogs"]
    assert replies(index, query("A do you like dogs, B yes", "CARS"), 10) == ["no", "why"]
    assert replies(index, query("A do you like dogs, A hm", "PETS"), 10) == ["and cats"]
    assert replies(index, query("A do you like dogs, A hm", "CARS"), 10) == []


@pytest.mark.parametrize("topic", [None, "BOATS"])
def test_without_a_known_topic_all_are_compared(topic):
    index = ContextIndex([CARS, PETS, BARE])
    found = replies(index, query("A do you like dogs, B yes", topic), 10)
    assert sorted(found) == ["big dogs", "no", "who knows", "why", "yes"]
    assert set(found[:2]) == {"yes", "who knows"}  # their contexts are the query's
    assert found == replies(index, query("A do you like dogs, B yes", "PETS"), 10, by_topic=False)


def test_equally_similar_windows_are_in_the_order_of_the_corpus():
    twins = [conversation(str(i), f"A same words, B reply {i}", "PETS") for i in range(5)]
    index = ContextIndex([PETS, *twins])
    assert replies(index, query("A same words, B x", "PETS"), 3) == ["reply 0", "reply 1", "reply 2"]


def test_a_context_without_a_known_word_gets_the_first_windows():
    index = ContextIndex([PETS, CARS])
    assert replies(index, query("A zebra, B x", "PETS"), 5) == ["yes", "big dogs"]


def test_alike_windows_have_equal_topic_and_floor():
    index = ContextIndex([CARS, PETS, BARE])
    texts = [[index.windows[i].reply.text for i in index.alike(w)] for w in index.windows]
    every = ["no", "why", "yes", "big dogs", "who knows"]
    assert texts == [["no", "why"], ["no", "why"], ["yes", "big dogs"], ["yes", "big dogs"], ["and cats"], every]


@pytest.mark.parametrize("conversations", [[], [conversation("x", "A hi")], [conversation("x", "A <pad>, B hi")]])
def test_conversations_without_words_cannot_be_indexed(conversations):
    with pytest.raises(ConfigError, match="no word in any context"):
        ContextIndex(conversations)


def test_neighbours_of_a_role_are_its_own_windows():
    train = [
        replace(conversation(str(n), f"c {word} please, a yes {word}, c thanks, a bye"), respond_as=("a",))
        for n, word in enumerate(("apples", "pears", "plums", "figs"))
    ]
    index = ContextIndex(train)
    for number, word in enumerate(("apples", "pears", "plums", "figs")):
        query = windows([replace(conversation("q", f"c {word} please, a ok"), respond_as=("a",))])
        (found,) = index.nearest(query, 1)
        assert (found[0].window.conversation.id, found[0].window.position) == (str(number), 1)
