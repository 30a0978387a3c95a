"""Chats of imessage-exporter: texts, edits, what the program adds, and answers that it repeats."""

from __future__ import annotations

import re

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA, SYSTEM
from dialog_cvae.imports.source import open_source

CHAT = """\
Jan 15, 2024  9:05:00 AM (Read by them after 5 minutes)
Me
hello

second paragraph
Sent with Echo
Tapbacks:
Loved by Ann Lee
Sticker from Ann Lee: attachments/s.heic

    Jan 15, 2024  9:07:00 AM
    Ann Lee
    an answer
of two lines

Jan 15, 2024  9:06:00 AM Ann Lee renamed the conversation to Garden

Jan 15, 2024  9:06:10 AM You added +4930111 to the conversation.

Jan 15, 2024  9:07:00 AM
Ann Lee
an answer
of two lines
This message responded to an earlier message.

Jan 15, 2024  9:08:00 AM
Me
attachments/AB/CD/IMG_0001.HEIC

Jan 15, 2024  9:08:30 AM
+4930111
/Users/me/Library/Messages/Attachments/ab/11/my file.pdf
see page 2

Jan 15, 2024  9:09:00 AM
Me
Jan 15, 2024  9:09:00 AM frist
Edited 30 seconds later: fisrt
Edited 1 minute, 2 seconds later: first: 1

Jan 15, 2024  9:10:00 AM
Ann Lee
This message was deleted from the conversation!
secret

Jan 15, 2024  9:11:00 AM
Ann Lee
They unsent this message part 5 seconds after sending!

Jan 15, 2024 10:00:00 PM
Ann Lee
late

Jan 15, 2024 10:01:00 PM
Me
night
"""


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_chat(put, imported, ends):
    path = put("Ann Lee.txt", CHAT.replace("\n", ends))
    assert kind(path) == "imessage"
    result = imported(path)
    assert result.said == [
        [
            "Me: hello\n\nsecond paragraph",
            "Ann Lee: an answer\nof two lines",
            "+4930111: see page 2",
            "Me: first: 1",
        ],
        ["Ann Lee: late", "Me: night"],
    ]
    assert result.left_out == {SYSTEM: 2, MEDIA: 3}
    assert result.report.parts[0].log.notes == ["speakers, with their lines: Me (3), Ann Lee (2), +4930111 (1)"]


def test_times_in_a_text_are_text(put, imported):
    body = "we met\nJan 15, 2024  9:05:00 AM\nJan 15, 2024  9:05:00 AM at home"
    path = put("c.txt", f"Jan 15, 2024  9:05:00 AM\nAnn\n{body}\n\nJan 15, 2024  9:06:00 AM\nMe\nyes\n\n")
    assert imported(path).said == [[f"Ann: {body}", "Me: yes"]]


def test_text_below_reactions_stays(put, imported):
    said = "attachments/a.jpg\nTapbacks:\nLoved by Me\n\na caption\nTapbacks:\nLoved by Me\n\n"
    path = put("c.txt", f"Jan 15, 2024  9:05:00 AM\nAnn\n{said}\nJan 15, 2024  9:06:00 AM\nMe\nyes\n\n")
    assert imported(path).said == [["Ann: a caption", "Me: yes"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Jan 45, 2024  9:05:00 AM\nAnn\nhi\n", "c.txt, line 1: there is no time 'Jan 45, 2024 9:05:00 AM'"),
        ("\nAnn\nhi\n\nJan 15, 2024  9:05:00 AM\nAnn\nhi\n", "c.txt, line 2: the line has no time, as in 'Jan 15"),
        ("\n\n", "c.txt: has no message of imessage-exporter"),
        ("Jan 15, 2024  9:05:00 AM\nAnn\nhi\n", "c.txt: no conversation of two or more messages"),
    ],
)
def test_a_broken_chat_is_refused(put, imported, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put("c.txt", content), format="imessage")
