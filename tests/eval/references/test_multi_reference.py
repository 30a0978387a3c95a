"""Files of references: the published order, COTK's lines, ours, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.readers import zhao2017
from dialog_cvae.errors import DataError, DialogCvaeError
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import MAX_CONTEXT
from eval.references.multi_reference import References, load, save

BACKWARD_SIZE = 10


def talk(name: str, *texts: str) -> Conversation:
    """Two speakers in turn."""
    return Conversation(name, tuple(Utterance("AB"[i % 2], text) for i, text in enumerate(texts)))


SHORT = talk("short", "hi", "uh-huh", "bye")
SAME_LENGTH = talk("same length", "hello there", "i'm fine", "see you")
LONG = talk("long", *(f"number {i}" for i in range(14)))
TALKS = (LONG, SHORT, SAME_LENGTH)
ORDERS = [(SHORT, SAME_LENGTH, LONG), (SAME_LENGTH, SHORT, LONG)]


def official_windows(conversations: Sequence[Conversation]) -> list[tuple[Conversation, int, int]]:
    """The windows [s_id, e_id) of the official loader at batch size 1, in conversations that open with <d>."""
    windows = []
    for conversation in conversations:
        length = len(conversation.utterances) + 1
        segments = length - BACKWARD_SIZE
        if segments > 0:
            starts = [0] * (BACKWARD_SIZE - 2) + list(range(segments))
            ends = list(range(2, BACKWARD_SIZE)) + list(range(BACKWARD_SIZE, segments + BACKWARD_SIZE))
        else:
            starts, ends = [0] * (length - 2), list(range(2, length))
        windows += [(conversation, s, e) for s, e in zip(starts, ends, strict=True) if s < length - 1]
    return windows


def published(conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    """What the published file would hold of conversations in this order."""
    items = []
    for conversation, start, end in official_windows(conversations):
        said = (Utterance("A", "<d>"), *conversation.utterances)[start:end]
        items.append(
            {
                "context": [f"{u.speaker}: {u.text} " for u in said[:-1]],
                "speaker": said[-1].speaker,
                "responses": [said[-1].text, ") yeah", "right"],
                "resp_dialog_acts": ["other", "acknowledge_(backchannel)", "agree/accept"],
            }
        )
    return items


def written(folder: Path, content: object, name: str = "refs.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("order", ORDERS)
def test_the_published_order(tmp_path, order):
    rows = load(written(tmp_path, published(order)), TALKS)
    assert list(rows) == [(c.id, i) for c in order for i in range(len(c.utterances) - 1)]
    row = rows["long", 12]
    assert row.context == LONG.utterances[12 - MAX_CONTEXT : 12]
    assert (row.speaker, row.responses) == ("A", ("number 12", ") yeah", "right"))
    assert row.dialog_acts == ("other", "acknowledge_(backchannel)", "agree/accept")
    assert rows["short", 0].context == ()


@pytest.mark.parametrize("gold", [") uh-huh", "Uh - Huh", "uh-huh.", " uh-huh ", "uhhuh"])
def test_a_gold_reply_may_be_tokenised_and_punctuated_otherwise(tmp_path, gold):
    items = published(ORDERS[0])
    items[1]["responses"][0] = gold
    assert load(written(tmp_path, items), TALKS)["short", 1].responses[0] == " ".join(gold.split())


def test_utterances_that_readers_drop_are_skipped(tmp_path):
    items = published(ORDERS[0])
    items.insert(1, {**items[0], "responses": ["", "yes", "no"]})
    assert load(written(tmp_path, items), TALKS) == load(written(tmp_path, published(ORDERS[0])), TALKS)


def test_equal_conversations_are_matched_in_order(tmp_path):
    twin = Conversation("twin", SHORT.utterances)
    rows = load(written(tmp_path, published([SHORT, twin])), [twin, SHORT])
    assert set(rows) == {("short", 0), ("short", 1), ("twin", 0), ("twin", 1)}


def swapped(items: list[dict[str, Any]], one: int, two: int) -> list[dict[str, Any]]:
    items[one], items[two] = items[two], items[one]
    return items


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda items: items[:-1], r"has 16 items, but the 3 conversations of this split have 17 windows"),
        (lambda items: [*items, items[0]], r"has 18 items, but .* have 17 windows"),
        (
            lambda items: swapped(items, 6, 9),
            r"item 7: expected the reply 'number 2' \(utterance 2 of conversation long, .*\), found 'number 5'",
        ),
        (
            lambda items: [items[0], {**items[1], "responses": ["oh", "a", "b"]}, *items[2:]],
            r"item 2: expected the reply 'uh-huh' \(utterance 1 of conversation short, counted from 0\), found 'oh'",
        ),
        (
            lambda items: [*items[:4], {**items[4], "responses": ["oh", "a", "b"]}, *items[5:]],
            r"item 5: expected the reply 'number 0' \(utterance 0 of conversation long, .*\), found 'oh'",
        ),
        (lambda items: [{**items[0], "resp_dialog_acts": ["other"]}, *items[1:]], r"item 1: has 3 responses, but 1"),
        (lambda items: [*items[:2], {"responses": []}, *items[3:]], r"item 3: responses: "),
        (lambda items: [*items[:2], {"responses": [1]}, *items[3:]], r"item 3: responses.0: "),
        (lambda items: [*items[:2], {"response": ["a"]}, *items[3:]], r"item 3: responses: Field required"),
        (lambda items: [*items[:2], 7, *items[3:]], r"item 3: must be a JSON object"),
        (lambda items: [*items[:2], {**items[2], "position": 1}, *items[3:]], r"item 3: has only one of conversation"),
        (
            lambda items: [*items[:2], {**items[2], "conversation": "short", "position": 1}, *items[3:]],
            r"item 3: has a conversation, unlike item 1",
        ),
        (lambda items: [], r"has no items"),
        (lambda items: {"items": items}, r"must be a JSON list of items, but is of type dict"),
        (lambda items: json.dumps(items)[:-5], r"no valid JSON"),
        (lambda items: "[" * 100_000, r"no valid JSON"),
        (lambda items: '[{"responses": ["\\ud800"]}]', r"item 1: responses.0: is not valid Unicode"),
        (
            lambda items: '[{"responses": ["a"], "conversation": "\\ud800", "position": 0}]',
            r"conversation: is not valid",
        ),
    ],
)
def test_a_file_that_does_not_fit_the_conversations_is_refused(tmp_path, spoil, message):
    path = written(tmp_path, spoil(published(ORDERS[0])))
    with pytest.raises(DataError, match=message) as caught:
        load(path, TALKS)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "none.json", TALKS)
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load(tmp_path / "latin.json", TALKS)


def own(tmp_path: Path) -> tuple[Path, References]:
    rows = load(written(tmp_path, published(ORDERS[1])), TALKS)
    path = tmp_path / "folder" / "own.json"
    save(path, rows)
    return path, rows


def test_a_saved_file_is_read_back_with_conversations_in_any_order(tmp_path):
    path, rows = own(tmp_path)
    assert load(path, TALKS) == rows
    assert list(load(path, TALKS)) == list(rows)
    shuffled = json.loads(path.read_text())[::-1]
    assert load(written(tmp_path, shuffled), TALKS) == rows
    part = load(written(tmp_path, shuffled[3:5]), TALKS)
    assert part == {place: rows[place] for place in part}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: " ".join(text.split()) or "x")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.lists(TEXT, min_size=2, max_size=12), min_size=1, max_size=4))
def test_any_text_comes_back_by_place_and_by_order(tmp_path_factory, texts):
    conversations = [talk(f"c{index}", *said) for index, said in enumerate(texts)]
    folder = tmp_path_factory.mktemp("texts")
    ordered = sorted(conversations, key=lambda conversation: len(conversation.utterances))
    rows = load(written(folder, published(ordered)), conversations)
    for (name, position), row in rows.items():
        spoken = conversations[int(name[1:])].utterances[position]
        assert normalised(row.responses[0]) == normalised(spoken.text)
    save(folder / "own.json", rows)
    assert load(folder / "own.json", conversations) == rows


def test_a_saved_file_has_the_published_fields(tmp_path):
    path, _ = own(tmp_path)
    names = ("context", "speaker", "responses", "resp_dialog_acts")
    fields = [{name: item[name] for name in names} for item in json.loads(path.read_text())]
    assert fields == published(ORDERS[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversation": "other"}, r"item 2: conversation is 'other', which is none of the 3 of this split"),
        ({"position": 3}, r"item 2: position must be below 3, the utterances of same length, but is 3"),
        ({"position": -1}, r"item 2: position: "),
        ({"position": True}, r"item 2: position: "),
        ({"position": 0}, r"item 2: expected the reply 'hello there' .*, found \"i'm fine\""),
        ({"conversation": None, "position": None}, r"item 2: has no conversation, unlike item 1"),
    ],
)
def test_a_wrong_place_is_refused(tmp_path, change, message):
    items = json.loads(own(tmp_path)[0].read_text())
    items[1] |= change
    with pytest.raises(DataError, match=message):
        load(written(tmp_path, items), TALKS)


def test_a_duplicate_place_is_refused(tmp_path):
    items = json.loads(own(tmp_path)[0].read_text())
    with pytest.raises(DataError, match=r"item 18: conversation same length, position 0 is a duplicate"):
        load(written(tmp_path, [*items, items[0]]), TALKS)


def test_a_file_that_cannot_be_written(tmp_path):
    _, rows = own(tmp_path)
    (tmp_path / "taken").mkdir()
    with pytest.raises(DialogCvaeError, match="cannot be written"):
        save(tmp_path / "taken", rows)


def cotk_line(conversation: Conversation, position: int) -> str:
    said = (Utterance("A", "<d>"), *conversation.utterances)[max(0, position + 1 - MAX_CONTEXT) : position + 1]
    utterances = [[u.speaker, u.text, ["other", [0, 0, 0, 0]]] for u in said]
    reply = conversation.utterances[position]
    responses = [["other", reply.text], ["acknowledge_(backchannel)", ") oh"]]
    return json.dumps({"topic": '"PETS"', "utts": utterances, "speaker": reply.speaker, "responses": responses})


def test_lines_of_cotk(tmp_path):
    places = [(LONG, 11), (SHORT, 1), (LONG, 3), (SAME_LENGTH, 0)]
    text = "\n\n".join(cotk_line(*place) for place in places)
    rows = load(written(tmp_path, text, "refs.jsonl"), TALKS)
    assert list(rows) == [(conversation.id, position) for conversation, position in places]
    assert rows["long", 11].context == LONG.utterances[2:11]
    assert rows["short", 1].responses == ("uh-huh", ") oh")
    assert rows["short", 1].dialog_acts == ("other", "acknowledge_(backchannel)")


def test_numbers_and_signs_may_be_tokenised_otherwise(tmp_path):
    asked = talk("x", "how much", "It costs 1,000.50, or -5% in C++")
    line = cotk_line(talk("x", "how much", "it costs 1 , 000 . 50 , or - 5 % in c ++"), 1)
    assert list(load(written(tmp_path, line, "refs.jsonl"), [asked])) == [("x", 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (cotk_line(talk("x", "hi", "no"), 1), r"line 3: item 2: no conversation has the reply 'no' after 'hi'"),
        (cotk_line(talk("x", "no"), 0), r"line 3: item 2: no conversation has the reply 'no' at the beginning"),
        (cotk_line(SHORT, 1), r"line 3: item 2: no conversation has the reply 'uh-huh' after 'hi'"),  # was there before
        ('{"utts": [["A"]], "responses": [["a", "b"]]}', r"line 3: item 2: utts.0: "),
        ('{"utts": [["A", 1]], "responses": [["a", "b"]]}', r"line 3: item 2: utts has the text 1, which is no string"),
        ("{", r"line 3: no valid JSON"),
    ],
)
def test_a_line_of_cotk_that_matches_no_context_is_refused(tmp_path, line, message):
    path = written(tmp_path, f"{cotk_line(SHORT, 1)}\n\n{line}", "refs.jsonl")
    with pytest.raises(DataError, match=message):
        load(path, TALKS)


@pytest.mark.parametrize("kind", ["quicksort", "stable"])
def test_real_conversations_in_the_published_order(tmp_path, data_folder, kind):
    path = data_folder / "zhao2017" / "valid.jsonl"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of Zhao et al. (2017) in zhao2017/")
    conversations = zhao2017.read(path.parent, ["valid"]).valid
    lengths = [len(conversation.utterances) for conversation in conversations]
    order = [conversations[index] for index in np.argsort(lengths, kind=kind)]
    rows = load(written(tmp_path, published(order)), conversations)
    assert list(rows) == [(c.id, position) for c in order for position in range(len(c.utterances) - 1)]
    assert len(rows) == 5165
