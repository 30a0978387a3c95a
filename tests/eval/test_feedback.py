"""Counting feedback, and learning from it."""

from __future__ import annotations

import json

from dialog_cvae.data.readers.jsonl_line import parse_line
from eval.feedback import main

TURN = {"speaker": "Ann", "text": "any pets ?"}
LINES = [
    {"outcome": "taken", "position": 0, "model": "m"},
    {
        "outcome": "taken",
        "position": 2,
        "model": "m",
        "sent": "two",
        "context": [TURN],
        "respond_as": "Bo",
        "topic": "PETS",
    },
    {"outcome": "edited", "model": "m", "sent": "three cats", "context": [TURN], "respond_as": "Bo"},
    {"outcome": "refused", "model": "m", "context": [TURN]},
]


def test_shares_and_conversations(tmp_path, capsys):
    file, out = tmp_path / "feedback.jsonl", tmp_path / "learned.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES) + '{"outcome": "ta\n')
    assert main([str(file), "--conversations", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    # Wilson's interval of 2 of 4 is 0.15 to 0.85
    assert printed[0] == "m: taken 2 of 4, 50.0% (15.0% to 85.0%)"
    assert [line.split(",")[0] for line in printed[1:3]] == ["m: edited 1 of 4", "m: refused 1 of 4"]
    assert printed[3:5] == ["m: taken by position: 0: 1, 2: 1", "1 damaged lines were left out"]
    read = [parse_line(line, 1).conversation for line in out.read_bytes().splitlines()]
    said = {each.id: [(turn.speaker, turn.text) for turn in each.utterances] for each in read}
    ann = ("Ann", "any pets ?")
    assert said == {"feedback-2": [ann, ("Bo", "two")], "feedback-3": [ann, ("Bo", "three cats")]}


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) != 0
    assert "can't be read" in capsys.readouterr().err
