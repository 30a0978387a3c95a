"""Transcripts: who is a speaker, where a conversation ends, and which files are none."""

from __future__ import annotations

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.assemble import ALONE
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.source import open_source
from dialog_cvae.imports.transcript_lines import TIMES, parted

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


def test_a_name_of_one_line_does_not_count_beside_others(put, imported):
    content = "Ann: hello\n\nBo: hi\nThe rule: one\n\nAnn: so\n\nBo: yes\n"
    assert len(imported(put("x.txt", content)).said) == 1


def test_conversations_of_two_lines_are_divided_by_single_blank_lines(put, imported):
    content = "\n\n".join(f"A: question {number}\nB: answer {number}" for number in range(9))
    assert [len(said) for said in imported(put("x.txt", content)).said] == [2] * 9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Bo: hi\nAnn: yo\nBo:hello\nAnn: so\nBo: ok", ["Bo: hi", "Ann: yo", "Bo: hello", "Ann: so", "Bo: ok"]),
        (
            "Bo: hi\nAnn: yo\nBo: a\nBo:)\nBo:D\nBo://x\nAnn: b",
            ["Bo: hi", "Ann: yo", "Bo: a\nBo:)\nBo:D\nBo://x", "Ann: b"],
        ),
        ("Bo: hi\nAnn:yo\nBo: a\nBo: b\n", ["Bo: hi\nAnn:yo", "Bo: a", "Bo: b"]),
        ("10: a\n11: b\n10: c\n10:30\n11: d", ["10: a", "11: b", "10: c\n10:30", "11: d"]),
        ("http: a\nBo: b\nhttp: c\nhttp://x.org\nBo: d", ["http: a", "Bo: b", "http: c\nhttp://x.org", "Bo: d"]),
        (
            "Smith, John: hi\nBo: yo\nWell, Bo: no\nSmith, John: thanks",
            ["Smith, John: hi", "Bo: yo\nWell, Bo: no", "Smith, John: thanks"],
        ),
    ],
    ids=["no space", "emoticons", "not known", "times", "links", "comma"],
)
def test_which_lines_begin_with_a_speaker(put, imported, content, said):
    assert imported(put("x.txt", content)).said == [said]


def test_lines_without_a_space_are_counted_in_the_report(put, imported):
    result = imported(put("x.txt", "Bo: hi\nAnn: yo\nBo:hello\nBo: ok\nAnn: so"))
    assert result.report.parts[0].log.notes == ["speakers, with their lines: Bo (3), Ann (2)"]


@pytest.mark.parametrize(
    "content",
    [
        "From: a@x.org\nTo: b@x.org\nReceived: one\nReceived: two\nReceived: three\n\nhello\n",
        "services:\n  web:\n    image: x\n    build: y\n  db:\n    image: z\n    build: w\n",
        "Resources:\n  Bucket:\n    Type: a\n  Queue:\n    Type: b\n    Name: c\n",
        "- name: a\n  size: 1\n- name: b\n  size: 2\n- name: c\n  size: 3\n",
        "---\ntitle: a\nauthor: x\ntitle: b\nauthor: y\n",
    ],
    ids=["mail", "nested", "nested capitals", "items", "front matter"],
)
def test_mails_and_yaml_are_no_transcripts_unless_the_user_says_so(put, imported, content):
    path = put("x.txt", content)
    with pytest.raises(DataError, match="is in no known format"):
        list(recognised(open_source(path)))
    assert [kind.name for _, kind in recognised(open_source(path), "transcript")] == ["transcript"]


@pytest.mark.parametrize(
    "content",
    [
        "user: hi\nagent: yo\n---\nuser: hi\nagent: yo\n",
        "Ann:\n- hello\nBo:\n- hi\nAnn:\n- so\n",
        "Date: today\nAnn: hi\nBo: yo\nAnn: so\n",
        "user: hi\nassistant:\n- one\n- note: two\nuser: so\nassistant: ok\n",
        "Ann:\n  Note: milk\nBo: yo\nAnn: so\n",
        "user: a list?\nassistant: yes\n- food: bread\n- drinks: water\nuser: so\nassistant: ok\nuser: bye\n",
        "Date: 3 May 2024\nInterviewer: so?\nSubject: yes\nInterviewer: and?\nSubject: no\n",
        "From: hi\nTo: yo\nFrom: so\nTo: ok\n",
    ],
)
def test_transcripts_that_resemble_mails_and_yaml(put, content):
    assert [kind.name for _, kind in recognised(open_source(put("x.txt", content)))] == ["transcript"]


def shown(line):
    found = parted(line)
    return found.name, found.text, found.key.tight, found.timed


@pytest.mark.parametrize(
    "line",
    [
        "[00:00:01] Ann: hi",
        "[00:00:01.250 --> 00:00:03.000] Ann: hi",
        "(0:01) Ann: hi",
        "00:01 Ann: hi",
        "10:30 PM - Ann: hi",
        "Ann (00:01): hi",
        "Ann [00:00:01]: hi",
        "Ann: [00:00:01] hi",
        "Ann: (00:01)hi",
        "[00:01] **Ann:** hi",
        "**Ann (00:01):** hi",
        "**Ann** [00:01]: hi",
        "**[00:01] Ann:** hi",
    ],
)
def test_times_around_a_name_are_removed(line):
    assert shown(line) == ("Ann", "hi", False, True)


@pytest.mark.parametrize("line", ["**Ann:** hi", "**Ann**: hi", "**Ann：** hi"])
def test_a_name_in_bold_letters(line):
    assert shown(line) == ("Ann", "hi", False, False)


@pytest.mark.parametrize("line", ["10:30: hi", "**Ann: hi**", "**Very** important: hi", "10:30 Ann", "[Ann] hi"])
def test_lines_without_a_speaker(line):
    assert parted(line) is None


def test_other_numbers_in_a_text_stay():
    assert shown("Ann: 10:30 is fine") == ("Ann", "10:30 is fine", False, False)
    assert shown("Ann: (see 10:30) ok") == ("Ann", "(see 10:30) ok", False, False)
    assert shown("10:30 Am Rand: so") == ("Am Rand", "so", False, True)


def test_words_in_bold_letters_are_text_where_names_are_plain(put, imported):
    answer = "Assistant: take this\n\n**Ingredients:** flour\n\n**Steps:** mix\n**Note:** done"
    content = f"User: a cake?\n{answer}\nUser: thanks\nAssistant: **Sure:** welcome\nUser: bye\nAssistant: bye\n"
    (said,) = imported(put("x.txt", content)).said
    assert [line.partition(":")[0] for line in said] == ["User", "Assistant"] * 3
    assert said[1] == "Assistant: take this\n**Ingredients:** flour\n**Steps:** mix\n**Note:** done"
    assert said[3] == "Assistant: **Sure:** welcome"


def test_a_schedule_and_an_answer_that_is_a_time_stay(put, imported):
    plan = "Breakfast  8:00\nMuseum  10:30\n10:45 Tour: bring your ticket\nuntil then"
    content = f"Ann: the plan:\n{plan}\nBo: ok\nAnn: when?\nBo: (10:30)\nAnn: [11:15] or later\nBo: fine\n"
    result = imported(put("x.txt", content))
    assert result.said == [
        [f"Ann: the plan:\n{plan}", "Bo: ok", "Ann: when?", "Bo: (10:30)", "Ann: [11:15] or later", "Bo: fine"]
    ]
    assert not result.report.parts[0].log.changed[TIMES]


def test_times_are_removed_and_counted(put, imported):
    content = "Speaker 1: (00:01)\nhello\n(00:02) stays\n\nAnn:\n[00:03] yo\n\nSpeaker 1: (00:05)\nso\n"
    result = imported(put("x.txt", content))
    assert result.said == [["Speaker 1: hello\n(00:02) stays", "Ann: yo", "Speaker 1: so"]]
    assert result.report.parts[0].log.changed[TIMES] == 3


def test_transcripts_with_a_time_on_each_line_are_recognised(put):
    for form in ("[00:00:01] {}: hi\n", "{} (00:01): hi\n", "00:01 {}: hi\n", "**{}:** hi\n"):
        content = "".join(form.format(name) for name in ("Ann", "Bo", "Ann"))
        assert [kind.name for _, kind in recognised(open_source(put("x.txt", content)))] == ["transcript"]


def test_a_speaker_with_a_time_above_the_text(put, imported):
    content = "Ann Lee  0:03  \nHello.\nMeet at 10:30\n\nBo  1:00:05  \nYes.\n\nAnn Lee  1:01:00\nGood.\n"
    path = put("x.txt", content)
    assert [kind.name for _, kind in recognised(open_source(path))] == ["transcript"]
    assert imported(path).said == [["Ann Lee: Hello.\nMeet at 10:30", "Bo: Yes.", "Ann Lee: Good."]]
