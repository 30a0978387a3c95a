"""A user's own data: what is accepted, what is refused and in which words, and how it is split."""

import json
import os
import re
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.readers import jsonl
from dialog_cvae.data.readers.jsonl_line import MAX_LINE_BYTES, LineError, parse_line
from dialog_cvae.data.readers.jsonl_splits import KEY_BYTES, Sizes, beginning_keys, content_keys, groups
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Corpus, Profile, Utterance

TWO = [{"speaker": "A", "text": "got a dog?"}, {"speaker": "B", "text": "yes, two"}]


def talk(i: int, **fields: Any) -> dict[str, Any]:
    return {"utterances": [{"speaker": "A", "text": f"number {i}?"}, {"speaker": "B", "text": "yes"}], **fields}


def write(path: Path, *objects: object) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in objects), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> Corpus:
    return jsonl.read(path, **{"valid_share": 0.1, "test_share": 0.1, **options})


def ids(corpus: Corpus) -> list[list[str]]:
    return [[c.id for c in split] for split in (corpus.train, corpus.valid, corpus.test)]


def all_ids(corpus: Corpus) -> list[str]:
    return [name for part in ids(corpus) for name in part]


def test_every_field_arrives() -> None:
    line = {
        "id": " 17 ",
        "topic": "pets",
        "prompt": "Talk about pets.",
        "split": "test",
        "utterances": [
            {"speaker": "Ann", "text": " Do you? ", "dialog_act": "yes-no-question"},
            {"speaker": "Bob", "text": "ja 🙂", "dialog_act": None},
            {"speaker": "Cid", "text": "Me too"},
        ],
        "speakers": {"Ann": {"sex": "female", "age": 34, "education": 2}, "Bob": {"age": None}},
    }
    record = parse_line(json.dumps(line).encode(), 3)
    conversation = record.conversation
    assert (record.line, record.split, conversation.id) == (3, "test", "17")
    assert (conversation.topic, conversation.prompt) == ("pets", "Talk about pets.")
    assert conversation.utterances == (
        Utterance("Ann", "Do you?", "yes-no-question"),
        Utterance("Bob", "ja 🙂"),
        Utterance("Cid", "Me too"),
    )
    assert conversation.profile("Ann") == Profile("female", 34, 2)
    assert conversation.profile("Bob") == conversation.profile("Cid") == Profile()


def test_byte_order_mark_line_ends_and_blank_lines(tmp_path: Path) -> None:
    lines = [json.dumps(talk(i)).encode() for i in range(3)]
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n  \n" + lines[1] + b"\n\n" + lines[2])
    corpus = read(path)
    assert corpus.name == "own"
    assert sorted(all_ids(corpus)) == ["line-1", "line-4", "line-6"]


REFUSED = {
    "not an object": (b"[1]", "must be an object with utterances, is a list"),
    "no utterances": (b'{"topic": "x"}', "utterances is missing"),
    "empty list": (b'{"utterances": []}', "utterances is empty"),
    "text as utterances": (b'{"utterances": "hi"}', 'utterances must be a list, is "hi"'),
    "utterance as text": (b'{"utterances": ["hi"]}', r'utterances\[0\] must be an object, is "hi"'),
    "no text": (b'{"utterances": [{"speaker": "A"}]}', r"utterances\[0\]\.text is missing"),
    "blank text": (b'{"utterances": [{"speaker": "A", "text": " \\t"}]}', r"utterances\[0\]\.text is blank"),
    "blank topic": (b'{"topic": "", "utterances": [{"speaker": "A", "text": "a"}]}', "topic is blank"),
    "number as text": (b'{"utterances": [{"speaker": "A", "text": 3}]}', r"\.text must be text, is 3"),
    "misspelt": (b'{"utterances": [{"speeker": "A", "text": "a"}]}', 'unknown field "speeker" .did you mean "speaker"'),
    "strange": (b'{"zzz": 1, "utterances": []}', 'unknown field "zzz" .known are id, topic'),
    "sex": (b'{"utterances": [], "speakers": {"A": {"sex": "F"}}}', r"speakers\.A\.sex must be 'female' or 'male', is"),
    "age": (b'{"utterances": [], "speakers": {"A": {"age": 34.0}}}', r"\.age must be a whole number, is 34\.0"),
    "truth as age": (b'{"utterances": [], "speakers": {"A": {"age": true}}}', r"\.age must be a whole number, is true"),
    "education": (b'{"utterances": [], "speakers": {"A": {"education": 4}}}', "education must be at most 3, is 4"),
    "nameless": (b'{"utterances": [], "speakers": {" ": {}}}', "speakers: a name is blank"),
    "split": (b'{"split": "dev", "utterances": []}', "split must be 'train', 'valid' or 'test', is \"dev\""),
    "not JSON": (b'{"utterances": [}', "not a JSON object in one line: .* at character 17"),
    "two objects": (b"{} {}", "not a JSON object in one line: Extra data at character 4"),
    "NaN": (b'{"utterances": NaN}', "NaN is not JSON"),
    "infinity": (b'{"utterances": -Infinity}', "-Infinity is not JSON"),
    "key twice": (b'{"topic": "a", "topic": "b"}', 'key "topic" occurs twice in an object'),
    "latin 1": ('{"topic": "café"}'.encode("latin-1"), r"not UTF-8 at byte 15 \(0xe9\)"),
    "utf 16": ("{}".encode("utf-16"), r"not UTF-8 at byte 1 \(0xff\)"),
    "surrogate": (b'{"utterances": [{"speaker": "A", "text": "\\ud800"}]}', "text is not valid Unicode"),
    "bell": (
        b'{"utterances": [{"speaker": "A", "text": "a\\u0007b"}]}',
        r"\[0\]\.text has a control character \(U\+0007\)",
    ),
    "C1": ('{"utterances": [{"speaker": "A", "text": "it\x92s"}]}'.encode(), r"control character \(U\+0092\)"),
    "escape in a name": (
        b'{"utterances": [{"speaker": "\\u001b[2J", "text": "a"}]}',
        r"speaker has a control character",
    ),
    "escape in a profile": (
        b'{"utterances": [], "speakers": {"\\u001b": {}}}',
        r"speakers: a name has a control charact",
    ),
    "surrogate key": (b'{"\\ud800": 1}', "a key is not valid Unicode"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "many digits": (b'{"topic": ' + b"9" * 5000 + b"}", "a number has too many digits"),
    "terminal": (
        b'{"utterances": [], "speakers": {"\\u001b[31m": 1}}',
        r"speakers\.\\x1b\[31m must be an object, is 1",
    ),
}


def test_white_space_is_no_control_character() -> None:
    record = parse_line(b'{"utterances": [{"speaker": "A", "text": "a\\tb\\r\\nc"}]}', 1)
    assert record.conversation.utterances[0].text == "a\tb\r\nc"


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_lines_are_named(case: str, tmp_path: Path) -> None:
    raw, message = REFUSED[case]
    with pytest.raises(LineError, match=message):
        parse_line(raw, 1)
    path = tmp_path / "own.jsonl"
    good = "".join(json.dumps(talk(i)) + "\n" for i in range(3)).encode()
    path.write_bytes(good + b"\n" + raw + b"\n")
    found = jsonl.scan(path)
    assert {problem.line for problem in found.problems} == {5}
    assert any(re.search(message, problem.reason) for problem in found.problems)
    with pytest.raises(DataError, match=r"own\.jsonl, line 5: .*see python -m training\.check .*own\.jsonl\)"):
        read(path)


def test_the_first_problem_is_told_and_the_others_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", talk(0), {"utterances": [{"text": 1}]}, [], talk(2))
    with pytest.raises(DataError, match=r"line 2: utterances\[0\]\.speaker is missing .*first of 3 problems"):
        read(path)
    assert [problem.line for problem in jsonl.scan(path).problems] == [2, 2, 3]


def test_many_problems_on_a_line_stay_readable(tmp_path: Path) -> None:
    with pytest.raises(LineError, match=r"and 96 more problems on this line") as caught:
        parse_line(json.dumps({"utterances": [1] * 100}).encode(), 1)
    assert len(caught.value.reasons) == 5


def test_duplicate_ids_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", talk(0, id="x"), talk(1, id="line-3"), talk(2), talk(3, id="x"))
    reasons = [(p.line, p.reason) for p in jsonl.scan(path).problems]
    assert reasons == [(3, 'id "line-3" is a duplicate of line 2'), (4, 'id "x" is a duplicate of line 1')]


def test_a_huge_line_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(talk(0)).encode() + b"\n")
        file.write(b'{"topic": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n')
        file.write(json.dumps(talk(1)).encode() + b"\n")
    found = jsonl.scan(path)
    assert [(p.line, p.reason.split(";")[0]) for p in found.problems] == [
        (2, "the line is longer than 16,777,216 bytes")
    ]
    assert [conversation.id for conversation in found.conversations] == ["line-1", "line-3"]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "needs at least 3 different conversations, one for each split, has 0"),
        ([talk(0), talk(1)], "has 2"),
        ([talk(0)] * 5, "has 1"),
        ([talk(0), talk(1), {"utterances": TWO[:1]}], r"has 2 \(1 with one utterance do not count\)"),
    ],
)
def test_too_few_conversations(objects: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "own.jsonl", *objects))


def test_conversations_are_read_from_the_file_at_each_access(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    lines = [json.dumps(talk(i, split="train")).encode() for i in range(5)]
    held_out = b"".join(json.dumps(talk(9, split=split)).encode() + b"\n" for split in ("valid", "test"))
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\n" + b"\n".join(lines[1:]) + b"\n" + held_out)
    train = read(path).train
    expected = [parse_line(line, i + 1 + (i > 0)).conversation for i, line in enumerate(lines)]
    assert list(train) == list(train) == expected
    assert list(reversed(train)) == expected[::-1]
    assert [train[0], train[4], train[-1]] == [expected[0], expected[4], expected[4]]
    assert [list(train[1:3]), list(train[::-2]), list(train[9:])] == [expected[1:3], expected[::-2], []]
    for index in (5, -6):
        with pytest.raises(IndexError):
            train[index]


@pytest.mark.parametrize("change", ["grown", "rewritten", "other line", "gone"])
def test_a_file_that_changes_while_it_is_used_is_refused(change: str, tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(talk(i, split=("train", "valid", "test")[i % 3]) for i in range(9)))
    train, content = read(path).train, path.read_bytes()
    if change == "grown":
        path.write_bytes(content + b"\n")
    elif change == "other line":
        path.write_bytes(content.replace(b"number", b"NUMBER"))
        os.utime(path, ns=(0, 0))
    else:
        path.unlink()
    if change == "rewritten":
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
    with pytest.raises(DataError, match=r"own\.jsonl: (has changed since it was first read|cannot be read \(No such)"):
        list(train)


def test_a_change_while_the_conversations_go_by_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(talk(i, split=("train", "valid", "test")[i % 3]) for i in range(3000)))
    train = iter(read(path).train)
    next(train)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match="has changed since it was first read"):
        list(train)


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").symlink_to("/dev/null")
    with pytest.raises(DataError, match=r"own\.jsonl: is not a regular file"):
        read(tmp_path / "own.jsonl")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read \(No such file"):
        read(tmp_path / "gone.jsonl")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory"):
        read(tmp_path)


def test_one_utterance_is_skipped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(talk(i) for i in range(4)), {"utterances": TWO[:1]}, {"utterances": TWO[1:]})
    corpus = read(path)
    assert corpus.notes == ("2 conversations with a single utterance skipped: they have no response",)
    assert len(all_ids(corpus)) == 4


def test_splits_of_the_file_are_kept(tmp_path: Path) -> None:
    splits = ("train", "test", "train", "valid", "train")
    path = write(tmp_path / "own.jsonl", *(talk(i, id=str(i), split=s) for i, s in enumerate(splits)))
    assert ids(read(path)) == [["0", "2", "4"], ["3"], ["1"]]


def test_splits_on_some_lines_or_without_test_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", talk(0), talk(1, split="train"), talk(2))
    with pytest.raises(DataError, match=r"line 2: split: this line has one, but line 1 has none \(the only problem"):
        read(path)
    path = write(tmp_path / "own.jsonl", talk(0, split="train"), talk(1))
    with pytest.raises(DataError, match="line 2: split: this line has none, but line 1 has one"):
        read(path)
    path = write(tmp_path / "own.jsonl", *(talk(i, split="train") for i in range(4)))
    with pytest.raises(DataError, match="no conversation of two or more utterances has split valid or test"):
        read(path)


@pytest.mark.parametrize(("valid", "test"), [(0.6, 0.4), (-0.1, 0.2), (1.0, 1.0), (float("nan"), 0.1)])
def test_shares_must_leave_something_to_train_on(valid: float, test: float, tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(talk(i) for i in range(5)))
    with pytest.raises(ConfigError, match=r"valid_share \+ corpus\.test_share must be below 1"):
        read(path, valid_share=valid, test_share=test)


derandomized = settings(derandomize=True, deadline=None, max_examples=60)


@derandomized
@given(n=st.integers(3, 60), valid=st.floats(0, 0.49), test=st.floats(0, 0.49), seed=st.integers(0, 99))
def test_splits_are_a_partition_of_the_requested_sizes(n: int, valid: float, test: float, seed: int) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "own.jsonl", *(talk(i) for i in range(n)))
        corpus = jsonl.read(path, valid_share=valid, test_share=test, seed=seed)
        parts = ids(corpus)
    assert sorted(name for part in parts for name in part) == sorted(f"line-{i + 1}" for i in range(n))
    assert all(parts)
    assert abs(len(parts[1]) - valid * n) <= 1
    assert abs(len(parts[2]) - test * n) <= 1 + (n == 3)


def test_the_split_follows_the_content_and_the_seed(tmp_path: Path) -> None:
    objects = [talk(i, id=str(i)) for i in range(40)]
    forward = read(write(tmp_path / "a.jsonl", *objects))
    backward = read(write(tmp_path / "b.jsonl", *objects[::-1]))
    assert [sorted(part) for part in ids(forward)] == [sorted(part) for part in ids(backward)]
    assert ids(read(tmp_path / "a.jsonl", seed=1)) != ids(forward)


def test_copies_share_a_split(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(talk(i % 20) for i in range(100)))
    said = [{c.utterances for c in split} for split in read(path)[1:4]]
    assert not said[0] & said[1]
    assert not (said[0] | said[1]) & said[2]


keys = st.sampled_from(["utterances", "speakers", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
    max_leaves=8,
)


@derandomized
@given(json_values | st.fixed_dictionaries({"utterances": st.lists(json_values, max_size=3), "speakers": json_values}))
def test_any_other_json_is_a_line_error(value: object) -> None:
    with pytest.raises(LineError) as caught:
        parse_line(json.dumps(value).encode(), 1)
    assert caught.value.reasons
    assert all(reason.isprintable() for reason in caught.value.reasons)


@derandomized
@given(st.binary(max_size=40))
def test_any_bytes_are_a_line_error(raw: bytes) -> None:
    with pytest.raises(LineError):
        parse_line(raw, 1)


# What is seen, and in which form.


@pytest.mark.parametrize("text", ["\u200e", "\u200b \u200d", "\u3164", "\ufe0f", "\u00ad"])
@pytest.mark.parametrize("field", ["text", "speaker", "topic"])
def test_text_without_a_visible_character_is_refused(field: str, text: str) -> None:
    said = [dict(turn) for turn in TWO]
    line: dict[str, Any] = {"utterances": said}
    (line if field == "topic" else said[0])[field] = text
    with pytest.raises(LineError, match=f"{field} has no visible character"):
        parse_line(json.dumps(line).encode(), 1)
    assert parse_line(json.dumps(line).encode(), 1, reading=1).conversation


def test_invisible_characters_beside_visible_ones_are_kept() -> None:
    said = [{"speaker": "A", "text": "\u200eok\u200f"}, {"speaker": "B", "text": "👍🏽"}]
    texts = [u.text for u in parse_line(json.dumps({"utterances": said}).encode(), 1).conversation.utterances]
    assert texts == ["\u200eok\u200f", "👍🏽"]


def test_text_is_brought_into_normal_form() -> None:
    line = {
        "topic": "Cafe\u0301",
        "utterances": [{"speaker": "Jose\u0301", "text": "cafe\u0301?"}],
        "speakers": {"Jose\u0301": {}},
    }
    conversation = parse_line(json.dumps(line).encode(), 1).conversation
    assert (conversation.topic, *conversation.speakers) == ("Caf\u00e9", "Jos\u00e9")
    assert conversation.utterances == (Utterance("Jos\u00e9", "caf\u00e9?"),)
    assert parse_line(json.dumps(line).encode(), 1, reading=1).conversation.topic == "Cafe\u0301"


@pytest.mark.parametrize(("field", "limit"), [("topic", 1000), ("speaker", 200), ("text", 100_000)])
def test_lengths_have_the_limits_of_requests(field: str, limit: int) -> None:
    for count in (limit, limit + 1):
        said = [dict(turn) for turn in TWO]
        line: dict[str, Any] = {"utterances": said}
        (line if field == "topic" else said[0])[field] = "é" * count
        raw = json.dumps(line).encode()
        if count == limit:
            parse_line(raw, 1)
        else:
            message = f"{field} has {count} characters, at most {limit} are possible"
            with pytest.raises(LineError, match=message):
                parse_line(raw, 1)
            parse_line(raw, 1, reading=1)


# Copies.


def script(number: int, words: str, name: str = "A") -> dict[str, Any]:
    return {"utterances": [{"speaker": name, "text": words}, {"speaker": "bot", "text": "yes"}], "id": str(number)}


WORDS = [f"{one} {two}" for one in "abcdefghij" for two in "klmnopqrst"]


def texts(split: Any) -> set[tuple[str, ...]]:
    return {tuple(u.text for u in c.utterances) for c in split}


def test_copies_that_differ_in_names_or_numbers_share_a_split(tmp_path: Path) -> None:
    lines = [script(i, f"{WORDS[i % 60]} order {i}", f"customer {i}") for i in range(300)]
    corpus = read(write(tmp_path / "own.jsonl", *lines))
    forms = [{re.sub(r"\d", "", c.utterances[0].text) for c in split} for split in corpus[1:4]]
    assert not forms[0] & forms[1]
    assert not (forms[0] | forms[1]) & forms[2]
    assert [len(corpus.valid), len(corpus.test)] == [30, 30]


def test_a_form_with_very_many_numbers_is_divided(tmp_path: Path) -> None:
    lines = [script(i, f"order {i}", f"customer {i}") for i in range(100)]
    lines += [script(100 + i, "I want to return it", f"customer {i}") for i in range(200)]
    corpus = read(write(tmp_path / "own.jsonl", *lines))
    assert [len(part) for part in corpus[1:4]] == [240, 30, 30]
    assert not texts(corpus.train) & (texts(corpus.valid) | texts(corpus.test))


def said_by_turns(number: int, texts: list[str]) -> dict[str, Any]:
    said = [{"speaker": "AB"[i % 2], "text": text.replace("\n", " ")} for i, text in enumerate(texts)]
    return {"utterances": said, "id": str(number)}


def test_a_conversation_and_its_continuations_share_a_split(tmp_path: Path) -> None:
    # Each record repeats the talk so far, as logs of chat completions do; some write the same in other ways.
    lines = [
        said_by_turns(
            10 * i + end,
            [text.upper() if end == 4 else text for text in [WORDS[i], "yes", f"so {WORDS[i]}", "no"]][:end],
        )
        for i in range(60)
        for end in (2, 3, 4)
    ]
    path = write(tmp_path / "own.jsonl", *lines)
    talks = [{int(name) // 10 for name in part} for part in ids(read(path))]
    assert [len(part) for part in talks] == [48, 6, 6]
    assert not talks[0] & talks[1]
    assert not (talks[0] | talks[1]) & talks[2]
    second = [{int(name) // 10 for name in part} for part in ids(read(path, reading=2))]
    assert second[0] & second[2]  # as a run of that time was divided


def test_conversations_with_the_same_greeting_are_divided(tmp_path: Path) -> None:
    lines = [
        said_by_turns(i, ["hello", "hi, how can I help?", WORDS[i], "yes"][: 2 if i == 0 else 4]) for i in range(100)
    ]
    path = write(tmp_path / "own.jsonl", *lines)
    assert [len(part) for part in ids(read(path))] == [80, 10, 10]
    assert ids(read(path)) == ids(read(path, reading=2))


def test_a_file_of_one_growing_conversation_is_divided(tmp_path: Path) -> None:
    lines = [said_by_turns(i, WORDS[: i + 2]) for i in range(3)]
    path = write(tmp_path / "own.jsonl", *lines)
    assert ids(read(path)) == ids(read(path, reading=2))


@derandomized
@given(st.lists(st.sampled_from(["a", "b", 'say "é"', "\u2028", "7"]), min_size=2, max_size=6))
def test_keys_of_beginnings_are_those_of_shorter_conversations(said: list[str]) -> None:
    utterances = tuple(Utterance("A", text) for text in said)
    shorter = [Conversation("c", utterances[:end]) for end in range(1, len(said))]
    expected = [content_keys(each, 0)[KEY_BYTES : KEY_BYTES + 8] for each in shorter]
    assert list(beginning_keys(Conversation("c", utterances))) == expected


@pytest.mark.parametrize("context", [1, 2])
def test_answers_to_one_prompt_share_a_split(tmp_path: Path, context: int) -> None:
    # Some answers also differ in a number, and some conversations go on.
    lines = [
        said_by_turns(10 * i + j, [*[WORDS[i].upper() if j else WORDS[i], "so?"][:context], answer, *more])
        for i in range(60)
        for j, (answer, more) in enumerate([("yes 1", []), ("no", []), ("yes 2", []), ("no", ["why?", f"{WORDS[i]}!"])])
    ]
    path = write(tmp_path / "own.jsonl", *lines)
    parts = [{int(name) // 10 for name in part} for part in ids(read(path))]
    assert [len(part) for part in parts] == [48, 6, 6]
    second = [{int(name) // 10 for name in part} for part in ids(read(path, reading=2))]
    assert second[0] & second[2]  # as a run of that time was divided


def test_a_prompt_with_very_many_answers_is_divided(tmp_path: Path) -> None:
    lines = [said_by_turns(i, ["hi", word]) for i, word in enumerate(WORDS)]
    lines += [said_by_turns(100 + i, [word, "yes", f"{word} {word}"][:2]) for i, word in enumerate(WORDS)]
    path = write(tmp_path / "own.jsonl", *lines)
    assert [len(part) for part in ids(read(path))] == [160, 20, 20]
    assert ids(read(path)) == ids(read(path, reading=2))


def test_a_file_of_answers_to_one_prompt_is_divided(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *(said_by_turns(i, ["hi", WORDS[i // 2]]) for i in range(6)))
    assert ids(read(path)) == ids(read(path, reading=2))


@derandomized
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_groups_of_answers_are_those_of_a_naive_search(said: list[tuple[int, int]], test: int) -> None:
    copies = np.array([f"{copy:016}" for copy, _ in said], dtype="S16")
    exact = np.array([f"{i:016}" for i in range(len(said))], dtype="S16")
    contexts = np.array([context for _, context in said], dtype=np.uint64)
    most = max(2, test // 2)
    prompts = Counter(context for _, context in said)

    def together(one: set[int], other: set[int]) -> bool:
        pairs = product((said[i] for i in one), (said[i] for i in other))
        return any(a[0] == b[0] or (a[1] == b[1] and prompts[a[1]] <= most) for a, b in pairs)

    parts = [{i} for i in range(len(said))]
    for _ in said:
        for one, other in combinations(parts, 2):
            if together(one, other):
                parts = [part for part in parts if part not in (one, other)] + [one | other]
                break
    expected = [
        part
        for whole in parts
        for part in (
            [whole] if len(whole) <= most else [{i for i in whole if said[i][0] == copy} for copy in range(10)]
        )
        if part
    ]
    expected = (
        expected if len(expected) > 2 else [{i for i, (c, _) in enumerate(said) if c == copy} for copy in range(10)]
    )
    group, counts = groups(exact, copies, copies, Sizes(1, test), contexts)
    assert {frozenset(np.flatnonzero(group == g)) for g in range(len(counts))} == {frozenset(p) for p in expected if p}


def test_few_scripts_with_many_copies_stay_in_training(tmp_path: Path) -> None:
    lines = [script(i, f"script {'abcdef'[i % 6]}") for i in range(900)]
    lines += [script(900 + i, WORDS[i]) for i in range(100)]
    corpus = read(write(tmp_path / "own.jsonl", *lines))
    assert len(corpus.valid) == len(texts(corpus.valid)) == 34
    assert len(corpus.test) == len(texts(corpus.test)) == 33
    assert len(texts(corpus.train)) == 6 + 33
    first = read(tmp_path / "own.jsonl", reading=1)
    assert len(texts(first.valid)) == 11  # by shares of the 106 distinct conversations


@pytest.mark.parametrize(("scripts", "copies", "held_out"), [(10, 100, 100), (6, 150, 150), (30, 33, 99), (3, 2, 2)])
def test_where_all_are_copies_the_splits_are_near_their_shares(
    scripts: int, copies: int, held_out: int, tmp_path: Path
) -> None:
    corpus = read(write(tmp_path / "own.jsonl", *(script(i, WORDS[i % scripts]) for i in range(scripts * copies))))
    assert [len(corpus.valid), len(corpus.test)] == [held_out, held_out]
    assert not texts(corpus.train) & (texts(corpus.valid) | texts(corpus.test))
    assert not texts(corpus.valid) & texts(corpus.test)


@derandomized
@given(st.lists(st.integers(1, 30), min_size=3, max_size=20), st.floats(0, 0.49), st.floats(0, 0.49))
def test_no_split_is_empty_and_no_copies_are_separated(counts: list[int], valid: float, test: float) -> None:
    with TemporaryDirectory() as folder:
        lines = [script(0, WORDS[i]) | {"id": f"{i} {j}"} for i, count in enumerate(counts) for j in range(count)]
        corpus = jsonl.read(write(Path(folder) / "own.jsonl", *lines), valid_share=valid, test_share=test)
        parts = [texts(part) for part in corpus[1:4]]
        sizes = [len(part) for part in corpus[1:4]]
    assert all(parts)
    assert sum(map(len, parts)) == len(counts)
    assert sum(sizes) == sum(counts)


@derandomized
@given(n=st.integers(3, 90), valid=st.floats(0, 0.49), test=st.floats(0, 0.49), seed=st.integers(0, 9))
def test_without_copies_the_splits_are_those_of_the_first_reading(n: int, valid: float, test: float, seed: int) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "own.jsonl", *(script(i, WORDS[i]) for i in range(n)))
        one, two, three = (
            ids(jsonl.read(path, valid_share=valid, test_share=test, seed=seed, reading=reading))
            for reading in (1, 2, 3)
        )
    assert one == two == three
