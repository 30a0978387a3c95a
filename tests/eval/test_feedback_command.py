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


def test_the_file_of_feedback_is_not_overwritten(tmp_path, capsys):
    file, link = tmp_path / "feedback.jsonl", tmp_path / "link"
    file.write_text('{"outcome": "taken"}\n')
    link.symlink_to(file)
    assert main([str(file), "--conversations", str(link)]) == 2
    assert "is the file of feedback" in capsys.readouterr().err
    assert file.read_text() == '{"outcome": "taken"}\n'


def test_lines_that_fit_would_refuse_are_left_out(tmp_path, capsys):
    file, out = tmp_path / "feedback.jsonl", tmp_path / "learned.jsonl"
    whole = {"outcome": "edited", "sent": "two", "context": [TURN], "respond_as": "Bo"}
    wrong = ({"topic": "\u0000 a"}, {"context": "hm"}, {"respond_as": None}, {"sent": " "})
    lines = [{**whole, "topic": " "}, *({**whole, **change} for change in wrong)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([str(file), "--conversations", str(out)]) == 0
    assert "4 conversations that fit would refuse were left out" in capsys.readouterr().out
    (line,) = out.read_bytes().splitlines()
    assert parse_line(line, 1).conversation.topic is None


def test_damaged_lines_are_counted_and_names_are_printable(tmp_path, capsys):
    file = tmp_path / "feedback.jsonl"
    named = json.dumps({"outcome": "taken", "model": "\u001b]0;x\u0007\u202em"})
    file.write_text("[" * 100_000 + '\n{"outcome": "taken", "position": [1]}\n' + named + "\n")
    assert main([str(file)]) == 0
    printed = capsys.readouterr().out
    assert "2 damaged lines were left out" in printed
    assert printed.replace("\n", "").isprintable()
    file.write_text("")
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == "no feedback yet\n"


def feedback(outcome: str, *scores: object, **fields: object) -> str:
    return json.dumps({"outcome": outcome, "model": "m", "scores": scores, **fields}) + "\n"


def test_what_a_min_score_would_have_left(tmp_path, capsys):
    file = tmp_path / "feedback.jsonl"
    taken = [feedback("taken", 0.2, 0.5, position=1), feedback("edited", 0.4, 0.1, position=0)]
    beside = [feedback("taken", 0.9), feedback("taken", 0.9, position=1), feedback("refused")]
    broken = [feedback("refused", score) for score in ("x", 2, float("nan"), None)]
    file.write_text("".join([*taken * 20, *[feedback("refused", 0.1, 0.3)] * 40, *beside, *broken]))
    assert main([str(file)]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if "min_score" in line]
    # half of all scores are 0.3, the others 0.4 and 0.5; Wilson's interval of 40 of 40 is 91.2% to 100%
    assert printed[0] == (
        "m: min_score 0.3 leaves 40 of 40 suggestions that were used, 100.0% (91.2% to 100.0%), and something in 40 of "
        "40 refusals, 100.0% (91.2% to 100.0%)"
    )
    assert "0.35 leaves 40 of 40 suggestions that were used" in printed[1]
    assert "and something in 0 of 40 refusals, 0.0% (0.0% to 8.8%)" in printed[1]
    assert (
        printed[-1] == "m: a min_score of 0.35 or 0.425 clearly leaves out more of what is refused than of what is used"
    )


def test_scores_that_do_not_tell_used_from_refused(tmp_path, capsys):
    file = tmp_path / "feedback.jsonl"
    both = feedback("taken", 0.2, position=0), feedback("taken", 0.4, position=0)
    file.write_text("".join([*both, feedback("refused", 0.2), feedback("refused", 0.4)] * 10))
    assert main([str(file)]) == 0
    assert "none of these clearly leaves out more of what is refused" in capsys.readouterr().out
    file.write_text("".join(both))
    assert main([str(file)]) == 0
    assert "min_score" not in capsys.readouterr().out


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) != 0
    assert "can't be read" in capsys.readouterr().err
