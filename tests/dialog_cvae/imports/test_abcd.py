"""The Action-Based Conversations Dataset: the original texts are read."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports import abcd
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import TURNS
from dialog_cvae.imports.source import open_source


def talk(number=1, **more):
    turns = [
        ("agent", "Hi! How can I help?"),
        ("customer", "I am Cy Dee."),
        ("action", "Account pulled up."),
        ("agent", "OK, Cy."),
    ]
    return {
        "convo_id": number,
        "scenario": {"personal": {"customer_name": "cy dee"}, "flow": "product_defect", "subflow": "return_size"},
        "original": [list(turn) for turn in turns],
        "delexed": [
            {"speaker": who, "text": text.lower(), "turn_count": i, "targets": []}
            for i, (who, text) in enumerate(turns)
        ],
        **more,
    }


SAID = ["agent: Hi! How can I help?", "customer: I am Cy Dee.", "agent: OK, Cy."]


@pytest.mark.parametrize("form", ["list", "splits"])
def test_the_original_is_read(put, imported, form):
    value = [talk(1), talk(2)] if form == "list" else {"train": [talk(1)], "dev": [talk(2)], "test": []}
    path = put("abcd.json", json.dumps(value))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["abcd"]
    result = imported(path)
    assert result.said == [SAID, SAID]
    assert [(line["id"], line["topic"]) for line in result.lines] == [
        ("1:1", "product defect"),
        ("2:2", "product defect"),
    ]
    assert result.left_out == {TURNS: 2}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (5, "must be an object, is a number"),
        (talk(original={}), "original must be a list, is an object"),
        (talk(original=[["agent"]]), r"original\[0\] must be a speaker and a text, is a list"),
        (talk(original=[["agent", 5]]), r"original\[0\] must be a speaker and a text, is a list"),
    ],
)
def test_a_broken_conversation(put, imported, record, reason):
    with pytest.raises(DataError, match=rf"abcd\.json: dev, element 1: {reason}"):
        imported(put("abcd.json", json.dumps({"train": [talk()], "dev": [record]})))


def test_lists_with_one_of_the_forms_are_not_recognised(put):
    one, other = talk(), talk()
    del one["original"]
    del other["delexed"]
    for record in (one, other):
        assert not abcd.FORMAT.recognise(open_source(put("x.json", json.dumps([record]))))
