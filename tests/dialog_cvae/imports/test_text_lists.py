"""Conversations in JSON as lists of texts, or of pairs of a speaker and a text."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.turns import LISTS

TEXTS = [["hi", "yo", "a refund"], ["one", "two"]]
PAIRS = [[["agent", "hi"], ["customer", "yo"], ["agent", "a refund"]], [["agent", "one"], ["customer", "two"]]]


def said(speakers):
    return [[f"{speakers[index % 2]}: {text}" for index, text in enumerate(texts)] for texts in TEXTS]


def written(put, form, lists, key="dialog"):
    rows = [{"id": f"c{number}", "topic": "t", key: turns, "act": [1, 2]} for number, turns in enumerate(lists)]
    return put(
        "t.json",
        {
            "lists": json.dumps(lists),
            "lines": "".join(json.dumps(row) + "\n" for row in rows),
            "list": json.dumps(rows, indent=1),
            "data": json.dumps({"data": rows}),
        }[form],
    )


@pytest.mark.parametrize("form", ["lists", "lines", "list", "data"])
@pytest.mark.parametrize(("lists", "speakers"), [(TEXTS, "AB"), (PAIRS, ("agent", "customer"))])
def test_each_list_is_a_conversation(put, imported, form, lists, speakers):
    result = imported(written(put, form, lists))
    assert result.said == said(speakers)
    assert [line["id"] for line in result.lines] == (["1", "2"] if form == "lists" else ["1:c0", "2:c1"])
    assert {line.get("topic") for line in result.lines} == {None if form == "lists" else "t"}
    notes = result.report.parts[0].log.notes
    assert notes == (["the texts of a conversation are by A and B in turn"] if lists is TEXTS else [])


@pytest.mark.parametrize("key", LISTS)
def test_names_of_the_list(put, imported, key):
    assert imported(written(put, "lines", TEXTS, key)).said == said("AB")


def test_speakers_may_be_numbers(put, imported):
    lists = [[[index % 2, text] for index, text in enumerate(texts)] for texts in TEXTS]
    assert imported(written(put, "lines", lists)).said == said("01")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([TEXTS[0], *[TEXTS[1]] * 20, [7]], "line 22: turn 1 must be text, or a speaker and a text, is a number"),
        ([*[TEXTS[0]] * 20, None], "line 21: dialog must be a list, is null"),
        ([*[TEXTS[0]] * 20, [["a", "b", "c"]]], "line 21: turn 1 must be text, or a speaker and a text, is a list"),
    ],
)
def test_malformed_lists_are_refused_with_their_place(put, imported, lists, message):
    with pytest.raises(DataError, match=rf"t.json: {message}"):
        imported(written(put, "lines", lists))


@pytest.mark.parametrize(
    "value",
    [
        [["Ann", "hi there"], ["Bo", "yo"], ["Ann", "a refund"], ["Bo", "done"]],
        [["speaker", "text", "n"], ["Ann", "hi there", "1"], ["Bo", "yo", "2"]],
        [["red", "green"], ["milk", "bread", "eggs"]],
        [{"id": 1, "items": ["milk", "bread"]}, {"id": 2, "items": ["eggs", "salt"]}],
    ],
)
def test_rows_of_a_table_and_words_are_no_conversations(put, imported, value):
    with pytest.raises(DataError, match="is in no known format"):
        imported(put("t.json", json.dumps(value)))
    assert imported(put("t.json", json.dumps(value)), format="texts").said  # as the user says


@pytest.mark.parametrize("count", [1, 30])
def test_a_second_list_is_refused(put, imported, count):
    line = json.dumps(TEXTS * count)
    with pytest.raises(
        DataError, match="t.json.*: is in no known format" if count == 1 else "t.json, line 2: text after"
    ):
        imported(put("t.json", f"{line}\n{line}\n"))


@pytest.mark.parametrize(
    "content", ["[]", "[[]]", '["hi", "yo"]', "[[1, 2]]", '{"tags": ["a", "b"]}', '[["hi", "yo"]', "["]
)
def test_other_json_is_no_list_of_texts(put, imported, content):
    with pytest.raises(DataError):
        imported(put("t.json", content))
