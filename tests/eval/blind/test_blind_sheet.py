"""Contexts, shuffling and the files of a sheet: nothing on it shows where a reply comes from."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Utterance
from eval.blind.places import draw_places
from eval.blind.sheet import Key, build_sheet
from eval.blind.sheet_files import COLUMNS, QUESTIONS, RULES, csv_bytes, page_bytes, rules_bytes
from eval.contexts import Window
from tests.eval.blind.conftest import conversation


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_contexts_have_two_utterances_and_each_is_drawn_once():
    conversations = [conversation(number, length) for number, length in enumerate((1, 2, 3, 6, 7))]
    drawn = {place.window.place for seed in range(60) for place in draw_places(conversations, 3, seed, 6)}
    expected = {("c2", 2), *(("c3", position) for position in range(2, 6)), *(("c4", n) for n in range(2, 7))}
    assert drawn == expected
    places = draw_places(conversations, 3, 7, 6)
    for place in places:
        assert conversations[place.conversation_number] is place.window.conversation
        assert place.before.utterances == place.window.conversation.utterances[: place.window.position]
    assert places == draw_places(conversations, 3, 7, 6)
    assert places != draw_places(conversations, 3, 8, 6)


def test_each_context_is_of_another_conversation_while_there_are_enough():
    conversations = [conversation(number, 3 + number) for number in range(12)]
    for seed in range(20):
        numbers = [place.conversation_number for place in draw_places(conversations, 12, seed, 6)]
        assert sorted(numbers) == list(range(12))


def test_a_seed_keeps_its_contexts_but_those_of_a_conversation_that_has_one():
    conversations = [conversation(number, 20) for number in range(30)]
    every = [(number, position) for number in range(30) for position in range(2, 20)]
    for seed in range(20):
        before = [every[i] for i in np.random.default_rng(seed).choice(len(every), 10, replace=False)]
        kept = list({number: (number, position) for number, position in reversed(before)}.values())[::-1]
        places = draw_places(conversations, 10, seed, 6)
        found = [(place.conversation_number, place.window.position) for place in places]
        assert found[: len(kept)] == [each for each in before if each in kept]


@pytest.mark.parametrize("shown", [2, 6])
def test_no_context_shows_what_was_said_at_another(shown):
    conversations = [conversation(number, 40) for number in range(3)]
    for seed in range(20):
        places = draw_places(conversations, 8, seed, shown)
        assert {place.conversation_number for place in places[:3]} == {0, 1, 2}
        replies = {place.window.reply.text for place in places}
        assert len(replies) == 8
        for context in build_sheet(places, {"a": [[] for _ in places]}, shown, seed, {})[0].contexts:
            assert replies.isdisjoint(text for _, text in context.turns)


def test_more_contexts_than_there_are_get_refused():
    with pytest.raises(ConfigError, match=r"at most 1, .* but is 2"):
        draw_places([conversation(0, 3)], 2, 0, 6)


def test_more_contexts_than_can_be_kept_apart_get_refused():
    with pytest.raises(ConfigError, match=r"at most 2 .* but is 3: the split has 2 conv.* more than --shown 6 utter"):
        draw_places([conversation(0, 8), conversation(1, 4)], 3, 0, 6)


def test_contexts_are_drawn_of_the_role_alone() -> None:
    roles = [replace(conversation(number), respond_as=("B",)) for number in range(4)]
    assert {place.window.reply.speaker for place in draw_places(roles, 4, 7, 6)} == {"B"}


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


def test_the_rules_have_each_question():
    text = rules_bytes().decode()
    assert all(f"**{name}**: {rule}" in text for name, rule in RULES.items())


def test_the_table_has_a_header_and_one_row_for_each_reply(made):
    sheet, key = made
    content = csv_bytes(sheet)
    assert content.startswith(b"\xef\xbb\xbf")
    table = rows(content)
    assert table[0] == list(COLUMNS)
    assert [row[0] for row in table[1:]] == list(key.texts)
    for row in table[1:]:
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
