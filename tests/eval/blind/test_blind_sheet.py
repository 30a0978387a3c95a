"""Contexts, shuffling and the files of a sheet: nothing on it shows where a reply comes from."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Utterance
from eval.blind.places import draw_places
from eval.blind.sheet import Key, build_sheet
from eval.blind.sheet_files import COLUMNS, QUESTIONS, RULES, csv_bytes, page_bytes
from eval.contexts import Window
from tests.eval.blind.conftest import conversation


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_contexts_have_two_utterances_and_each_is_drawn_once():
    conversations = [conversation(number, length) for number, length in enumerate((1, 2, 3, 6))]
    places = draw_places(conversations, 5, 7)
    assert {place.window.place for place in places} == {("c2", 2), ("c3", 2), ("c3", 3), ("c3", 4), ("c3", 5)}
    for place in places:
        assert conversations[place.conversation_number] is place.window.conversation
        assert place.before.utterances == place.window.conversation.utterances[: place.window.position]
    assert places == draw_places(conversations, 5, 7)
    assert places != draw_places(conversations, 5, 8)


def test_more_contexts_than_there_are_get_refused():
    with pytest.raises(ConfigError, match=r"at most 1, .* but is 2"):
        draw_places([conversation(0, 3)], 2, 0)


def test_contexts_are_drawn_of_the_role_alone() -> None:
    roles = [replace(conversation(number), respond_as=("B",)) for number in range(4)]
    assert {place.window.reply.speaker for place in draw_places(roles, 4, 7)} == {"B"}


def test_a_text_that_several_said_is_shown_once_and_counts_for_all(made):
    sheet, key = made
    texts = [[text for _, text in context.replies] for context in sheet.contexts]
    assert [sorted(each) for each in texts] == [
        ["one", "three", "two"],
        ['<b>four</b> & "five"', "=1+1", "Uh-huh."],
        ["six, seven", "Ünicode"],
    ]
    first, second, third = (context.replies for context in key.contexts)
    assert first["model"][1] == first["people"][0]
    assert first["other"][1] is None
    assert second["model"][0] == second["model"][1]
    assert third["model"] == []
    assert [key.texts[one] for one in third["other"]] == ["Ünicode", "six, seven"]


@settings(max_examples=50, deadline=None)
@given(st.permutations(["model", "people", "other"]), st.integers(0, 5))
def test_the_sheet_is_the_same_whoever_said_what(places, names, seed):
    """The sheet's bytes follow from the texts of each context, so nothing on it can depend on their sources."""
    said = [[["a", "b"], ["c"], ["d"]], [["b"], [" e\n f"], ["d", "g"]], [["h"], ["c"], ["i\u0301"]]]
    plain = build_sheet(places, dict(zip(["model", "people", "other"], said, strict=True)), 3, seed, {})[0]
    swapped = build_sheet(places, dict(zip(names, said, strict=True)), 3, seed, {"any": "thing"})[0]
    # each text is said by one source alone, in another order, with other spaces and in another form of Unicode
    merged = [["b", "a", "h"], ["e f", "c"], ["g", "d", "\u00ed"]]
    alone = build_sheet(places, {"only": merged}, 3, seed, {})[0]
    assert csv_bytes(plain) == csv_bytes(swapped) == csv_bytes(alone)
    assert page_bytes(plain) == page_bytes(swapped) == page_bytes(alone)


def test_no_file_for_readers_has_a_name_or_a_conversation_of_the_key(places):
    answers = {"secret-model": [["a"], ["b"], ["c"]], "people": [[place.window.reply.text] for place in places]}
    sheet, key = build_sheet(places, answers, 3, 0, {"data": "secret-data"})
    for content in (csv_bytes(sheet), page_bytes(sheet)):
        text = content.decode()
        assert "secret" not in text
        assert not re.search(r'"c[0-9]"', text)
    assert key.sources == ["secret-model", "people"]


def test_each_place_in_the_order_is_as_likely_for_each_text(places):
    firsts = Counter()
    for seed in range(300):
        sheet, _ = build_sheet(places, {"a": [["x", "y"], [], []], "b": [["z"], [], []]}, 3, seed, {})
        firsts[sheet.contexts[0].replies[0][1]] += 1
    assert all(70 < firsts[text] < 130 for text in "xyz"), firsts


def test_the_table_has_the_rules_and_one_row_for_each_reply(made):
    sheet, key = made
    content = csv_bytes(sheet)
    assert content.startswith(b"\xef\xbb\xbf")
    table = rows(content)
    header = table.index(list(COLUMNS))
    assert all(f"{name}: {rule}" in [row[0] for row in table[:header] if row] for name, rule in RULES.items())
    assert [row[0] for row in table[header + 1 :]] == list(key.texts)
    for row in table[header + 1 :]:
        shown, reply = row[COLUMNS.index("conversation")], row[COLUMNS.index("reply")]
        assert len(shown.splitlines()) in (2, 3)
        assert reply.partition(": ")[2] == key.texts[row[0]]
        assert row[-len(QUESTIONS) :] == [""] * len(QUESTIONS)


def test_a_spreadsheet_computes_no_cell(places):
    odd = Conversation("c", tuple(Utterance("=cmd", f"+{i}") for i in range(5)), "-topic")
    place = places[0]._replace(window=Window(odd, 3))
    sheet, _ = build_sheet([place], {"a": [["@1"]]}, 3, 0, {})
    assert rows(csv_bytes(sheet))[-1][1] == " -topic"
    for row in rows(csv_bytes(sheet))[-1:]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row), row


def test_the_page_needs_no_network_and_its_data_ends_no_script(made):
    text = page_bytes(made[0]).decode()
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=|url\(|https?:|@import", text)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data is not None
    assert "<" not in data[1]
    assert json.loads(data[1])["sheet"] == made[0].id


def test_a_key_is_read_as_it_was_written(key, tmp_path):
    path = tmp_path / "key.json"
    path.write_bytes(key.to_bytes())
    assert Key.load(path) == key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key: "{", "is not the key of a sheet"),
        (lambda key: json.dumps({**key, "sheet": 5}), r"\(sheet: "),
        (lambda key: json.dumps({**key, "contexts": []}), "no context or no source"),
        (lambda key: json.dumps({**key, "texts": {}}), "no text for s"),
        (
            lambda key: json.dumps({**key, "contexts": [*key["contexts"], {**key["contexts"][0], "replies": {}}]}),
            "sources",
        ),
    ],
)
def test_a_broken_key_is_refused(key, tmp_path, change, message):
    path = tmp_path / "key.json"
    path.write_text(change(key.model_dump()), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Key.load(path)


def test_a_missing_key_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"key\.json: cannot be read"):
        Key.load(tmp_path / "key.json")
