"""The set of training conversations that a checkpoint keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.errors import CheckpointError
from dialog_cvae.types import Conversation, Utterance


def said(*texts: str) -> Conversation:
    return Conversation("c", tuple(Utterance("AB"[i % 2], text) for i, text in enumerate(texts)))


def test_a_conversation_is_recognised_by_its_texts_alone():
    known = said("Where is my order 66?", "On its way.")
    trained = TrainedConversations.of([known])
    respoken = tuple(Utterance("C", f"  {u.text.upper()} ") for u in known.utterances)
    assert trained.contain([replace(known, id="other", topic="ORDERS"), replace(known, utterances=respoken)]).all()
    others = [
        said("Where is my order 66?"),
        said("Where is my order 66?", "On its way.", "Thanks", "Bye", "Bye"),
        said("Where is my order 66? On its way."),
    ]
    assert not trained.contain(others).any()


def test_a_conversation_that_went_on_is_recognised_by_half_of_it():
    trained = TrainedConversations.of([said("hello", "hi"), said("it fails", "why?", "no power")])
    more = [said("it fails", "why?", "no power", *("so?" for _ in range(others))) for others in range(5)]
    assert trained.contain(more).tolist() == [True, True, True, True, False]
    assert trained.contain(
        [said("hello", "hi", "it", "fails"), said("hello", "hi", "it", "fails", "why")]
    ).tolist() == [
        True,
        False,
    ]
    assert not trained.contain([said("it fails", "why?"), said("so?", "it fails", "why?", "no power")]).any()


def test_conversations_are_read_once():
    trained = TrainedConversations.of([said("hello", "hi")])
    others = [said("hello", "hi", "it fails"), said("hello"), said("no", "yes"), said("hello", "HI")]
    assert trained.contain(iter(others)).tolist() == [True, False, False, True]
    assert trained.contain(iter([])).tolist() == []


def test_numbers_may_differ_unless_the_text_is_a_form():
    orders = [said(f"where is order {n}?", "on its way") for n in range(2)]
    forms = [said(f"your code is {n}", "thanks") for n in range(10, 40)]
    trained = TrainedConversations.of([*orders, *forms, said("hello", "hi")])
    assert trained.contain([said("where is order 77?", "on its way")]).all()
    assert trained.contain(forms).all()
    assert not trained.contain([said("your code is 77", "thanks"), said("where is order x?", "on its way")]).any()
    # in so small a file the splits may be of one text too
    assert not TrainedConversations.of(orders).contain([said("where is order 77?", "on its way")]).any()


@given(st.lists(st.integers(0, 9), max_size=6), st.lists(st.integers(0, 9), max_size=6))
def test_sets_are_joined_and_stored(some, others):
    every = [said(f"text {chr(97 + number)}", "yes") for number in range(10)]
    joined = TrainedConversations.of(every[n] for n in some) | TrainedConversations.of(every[n] for n in others)
    stored = TrainedConversations.from_bytes(joined.to_bytes())
    assert stored.contain(every).tolist() == [n in (*some, *others) for n in range(10)]
    assert bool(stored) == bool(some or others)
    assert stored.to_bytes() == joined.to_bytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a readable safetensors file"),
        (b"pickle", "not a readable safetensors file"),
        (save({"keys": np.zeros(3, "<u8")}), "it has no tensor 'hashes' of 64-bit hashes"),
        (save({"hashes": np.zeros(3, "<i8")}), "it has no tensor 'hashes' of 64-bit hashes"),
        (save({"hashes": np.zeros((3, 1), "<u8")}), "it has no tensor 'hashes' of 64-bit hashes"),
    ],
    ids=["empty", "no tensors", "another name", "another type", "another shape"],
)
def test_other_files_are_refused(data, reason):
    with pytest.raises(CheckpointError, match=reason):
        TrainedConversations.from_bytes(data)
