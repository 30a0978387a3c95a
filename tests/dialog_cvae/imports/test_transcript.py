"""Transcripts: who is a speaker, where a conversation ends, and which files are none."""

from __future__ import annotations

import pytest

from dialog_cvae.imports.assemble import ALONE

TURNS = [f"{'AB'[turn % 2]}: t{turn}" for turn in range(12)]
SPACED = "\n\n".join(TURNS)
FEW_BLANKS = "blank lines stand between most messages: only two or more end a conversation"


@pytest.mark.parametrize(
    "content",
    [
        SPACED.replace("\n\nB: t5", "\nB: t5"),
        SPACED.replace("t5", "t5 and\nNote: this"),
        SPACED.replace("t5", "t5\nsee: one").replace("t8", "t8\nsee: two"),
    ],
    ids=["a missing blank line", "a wrapped line with a colon", "several wrapped lines"],
)
def test_one_line_does_not_change_where_conversations_end(put, imported, content):
    result = imported(put("x.txt", content + "\n\n\nA: new\n\nB: yes\n"))
    assert [len(said) >= 12 for said in result.said] == [True, False]
    assert FEW_BLANKS in result.report.parts[0].log.notes


@pytest.mark.parametrize(("touching", "conversations"), [(3, 10), (2, 1)])
def test_one_blank_line_ends_a_conversation_if_a_quarter_of_the_messages_touch(put, imported, touching, conversations):
    # Of the 12 messages below another one, 3 are a quarter.
    content = "A: start" + "".join(("\n" if turn < touching else "\n\n") + f"B: t{turn}" for turn in range(12))
    result = imported(put("x.txt", content))
    log = result.report.parts[0].log
    assert len(result.said) + log.changed[ALONE] == conversations
    assert (FEW_BLANKS in log.notes) is (conversations == 1)


def test_conversations_of_two_lines_are_divided_by_single_blank_lines(put, imported):
    content = "\n\n".join(f"A: question {number}\nB: answer {number}" for number in range(9))
    assert [len(said) for said in imported(put("x.txt", content)).said] == [2] * 9
