import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_cvae.data.readers import zhao2017
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import UNKNOWN_PROFILE, Conversation, Profile, Utterance

SENTIMENT = [0.0, 1.0, 0.0, 0.0]
DIALOG = {
    "A": {"age": 47, "education": " 2", "sex": ' "MALE"', "dialect": ' "NYC"'},
    "B": {"age": "53", "education": " 9", "sex": ' "FEMALE"', "dialect": ' "NYC"'},
    "topic": '"MUSIC"',
    "prompt": " \"DISCUSS  THE OTHER CALLER'S MUSIC",
    "utts": [["A", "do  you\tsing ", ["yes-no-question", SENTIMENT]], ["B", "no", ["no_answers", SENTIMENT]]],
}


def expected(name: str) -> Conversation:
    return Conversation(
        name,
        (Utterance("A", "do you sing", "yes-no-question"), Utterance("B", "no", "no_answers")),
        "MUSIC",
        "DISCUSS THE OTHER CALLER'S MUSIC",
        {"A": Profile("male", 47, 2), "B": Profile("female", 53, None)},
    )


def write_jsonl(folder: Path, **splits: list[object]) -> Path:
    for split, dialogs in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(dialog) + "\n" for dialog in dialogs))
    return folder


def changed(**fields: object) -> dict[str, object]:
    return {**DIALOG, **fields}


def test_jsonl_and_pickle_read_the_same(tmp_path: Path):
    dialogs = {"train": [DIALOG, DIALOG], "valid": [DIALOG], "test": [DIALOG]}
    from_jsonl = zhao2017.read(write_jsonl(tmp_path, **dialogs))
    as_tuples = changed(utts=[tuple(turn) for turn in DIALOG["utts"]])
    file = tmp_path / "corpus.p"
    file.write_bytes(pickle.dumps({split: [as_tuples] * len(value) for split, value in dialogs.items()}, protocol=2))
    assert zhao2017.read(file) == from_jsonl
    assert from_jsonl.name == "zhao2017"
    assert from_jsonl.train == [expected("train-1"), expected("train-2")]
    assert (from_jsonl.valid, from_jsonl.test) == ([expected("valid-1")], [expected("test-1")])


def test_jsonl_goes_before_the_pickle_of_the_folder(tmp_path: Path):
    write_jsonl(tmp_path, valid=[DIALOG])
    other = changed(topic="PETS")
    (tmp_path / zhao2017.PICKLE_NAME).write_bytes(pickle.dumps({key: [other] for key in zhao2017.SPLITS}, protocol=0))
    assert zhao2017.read(tmp_path, ["valid"]).valid[0].topic == "MUSIC"
    assert zhao2017.read(tmp_path).valid[0].topic == "PETS"


# What Python 2.7 writes for {'train': [...]}, with byte strings: protocol 0, by hand after its opcodes.
PYTHON_2 = (
    b"(dp0\nS'train'\np1\n(lp2\n(dp3\nS'utts'\np4\n(lp5\n(S'A'\nS'caf\\xe9 hi'\n(S'hedge'\nF0.5\nltp6\n"
    b"a(S'B'\nS'hi'\n(S'hedge'\nltp7\nasS'A'\n(dp8\nS'age'\nL40L\nsS'sex'\nS' \"MALE\"'\nssas."
)


def test_a_python_2_pickle(tmp_path: Path):
    file = tmp_path / zhao2017.PICKLE_NAME
    file.write_bytes(PYTHON_2)
    (conversation,) = zhao2017.read(file, ["train"]).train
    assert conversation.utterances == (Utterance("A", "caf\u00e9 hi", "hedge"), Utterance("B", "hi", "hedge"))
    assert conversation.speakers == {"A": Profile("male", 40), "B": UNKNOWN_PROFILE}


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_names_a_function_is_refused(tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "hostile.p"
    file.write_bytes(pickle.dumps({"train": [DIALOG, Hostile()]}, protocol=protocol))
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"ran {command}"))
    with pytest.raises(DataError, match=r"hostile.p: refused to load (posix|nt)\.system: only plain containers"):
        zhao2017.read(file)


@pytest.mark.parametrize(
    "name", ["builtins.eval", "__builtin__.getattr", "collections.Counter", "copyreg._reconstructor"]
)
def test_no_other_global_is_loaded(tmp_path: Path, name: str):
    file = tmp_path / "hostile.p"
    file.write_bytes(b"c" + name.replace(".", "\n").encode() + b"\n.")
    with pytest.raises(DataError, match=f"refused to load {name}"):
        zhao2017.read(file)


def test_plain_containers_are_admitted(tmp_path: Path):
    file = tmp_path / "plain.p"
    dialog = OrderedDict(changed(seen={1, 2}, extra=frozenset(b"x")))
    for protocol in range(6):
        file.write_bytes(pickle.dumps({"valid": [dialog]}, protocol=protocol))
        assert zhao2017.read(file, ["valid"]).valid == [expected("valid-1")]


WHOLE = pickle.dumps({"train": [DIALOG]}, protocol=2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a valid pickle, perhaps truncated"),
        (b"hello\n", "not a valid pickle"),
        (WHOLE[: len(WHOLE) // 2], "not a valid pickle, perhaps truncated"),
        (b"\x80\x02Ppid\n.", "not a valid pickle"),
        (b"\x80\x04r\xff\xff\xff\x7f.", "not a valid pickle"),
        (b"(" * 10 + b"t" * 20, "not a valid pickle"),
        (pickle.dumps([DIALOG]), "holds a list, not a dict of train, valid, test"),
        (pickle.dumps({"train": DIALOG}), "train is dict, not a list of dialogs"),
        (WHOLE, "valid is missing, not a list of dialogs"),
        (pickle.dumps({"train": [DIALOG, 3]}), "train, dialog 2: the dialog is 3, not an object"),
    ],
)
def test_a_damaged_pickle(tmp_path: Path, content: bytes, reason: str):
    file = tmp_path / "corpus.p"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        zhao2017.read(file)
    assert caught.value.reason.startswith(reason)


def test_splits_that_are_not_requested_may_be_missing(tmp_path: Path):
    corpus = zhao2017.read(write_jsonl(tmp_path, valid=[DIALOG]), splits=("valid",))
    assert (corpus.train, corpus.valid, corpus.test) == ([], [expected("valid-1")], [])
    with pytest.raises(DataError, match=r"train.jsonl, test.jsonl not found, nor full_swda_clean"):
        zhao2017.read(tmp_path)
    with pytest.raises(DataError, match="is a single split"):
        zhao2017.read(tmp_path / "valid.jsonl")
    with pytest.raises(ConfigError, match="split is 'dev', not one of train, valid, test"):
        zhao2017.read(tmp_path, ["dev"])


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    write_jsonl(tmp_path, valid=[DIALOG])
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"valid.jsonl: cannot be read \(Permission denied\)"):
        zhao2017.read(tmp_path, ["valid"])


def test_skips_are_counted(tmp_path: Path):
    short = changed(utts=[["A", "hi", ["hedge"]], ["B", "  ", ["hedge"]]])
    old = changed(A={"age": 1000, "education": 2.5, "sex": "?"})
    corpus = zhao2017.read(write_jsonl(tmp_path, valid=[short, old]), ["valid"])
    assert corpus.valid[0].id == "valid-2"
    assert corpus.valid[0].profile("A") == UNKNOWN_PROFILE
    assert corpus.notes == (
        "ages are as of 2016, not of the time of the call",
        "1 utterances without text dropped",
        "1 dialogs of fewer than two utterances skipped",
        "1 speakers without a plausible age, age unknown",
    )
    write_jsonl(tmp_path, valid=[short])
    with pytest.raises(DataError, match="no dialog of at least two utterances"):
        zhao2017.read(tmp_path, ["valid"])


@pytest.mark.parametrize(
    ("dialog", "reason"),
    [
        ([], "the dialog is list, not an object"),
        ({}, "utts is missing, not a list"),
        (changed(utts="hi"), "utts is 'hi', not a list"),
        (changed(utts=[["A"]]), r"utts\[0\] is list, not \[speaker, text"),
        (changed(utts=[["A", "hi"], ["C", "hi"]]), r"the speaker of utts\[1\] is 'C', not A or B"),
        (changed(utts=[[["A"], "hi"]]), r"the speaker of utts\[0\] is list, not A or B"),
        (changed(utts=[["A", 7]]), r"the text of utts\[0\] is 7, not a string"),
        (changed(utts=[["A", "\ud800"]]), r"utts\[0\] is not valid Unicode"),
        (changed(utts=[["A", "hi", [["x"]]]]), r"the dialog act of utts\[0\] is list, not text"),
        (changed(A=3), "A is 3, not an object"),
        (changed(B={"age": [1]}), "B's age is list, not text"),
        (changed(topic={}), "topic is dict, not text"),
    ],
)
def test_malformed_dialogs_are_named_by_line(tmp_path: Path, dialog: object, reason: str):
    write_jsonl(tmp_path, valid=[DIALOG, dialog])
    with pytest.raises(DataError, match=rf"valid.jsonl, line 2: {reason}"):
        zhao2017.read(tmp_path, ["valid"])


@pytest.mark.parametrize("line", [b"{", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_lines_that_are_no_json(tmp_path: Path, line: bytes):
    file = write_jsonl(tmp_path, valid=[DIALOG]) / "valid.jsonl"
    file.write_bytes(file.read_bytes() + b"\n" + line)
    with pytest.raises(DataError, match=r"valid.jsonl, line 3: not valid JSON"):
        zhao2017.read(tmp_path, ["valid"])


def test_the_published_validation_set(data_folder: Path):
    folder = data_folder / "zhao2017"
    if not (folder / "valid.jsonl").is_file():
        pytest.skip("needs zhao2017/valid.jsonl below DIALOG_CVAE_DATA")
    corpus = zhao2017.read(folder, ["valid"])
    assert len(corpus.valid) == 60
    assert sum(len(conversation.utterances) for conversation in corpus.valid) == 5225
    assert corpus.valid[0].topic == "MUSIC"
    assert corpus.valid[0].speakers == {"A": Profile("male", 47, 2), "B": Profile("female", 53, 1)}
    profiles = [profile for conversation in corpus.valid for profile in conversation.speakers.values()]
    assert {profile.sex for profile in profiles} == {"male", "female"}
