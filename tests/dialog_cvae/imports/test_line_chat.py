"""LINE's text exports: whole chats in several languages, texts of several lines, and what is left out."""

from __future__ import annotations

import re

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA, SYSTEM
from dialog_cvae.imports.source import open_source

ENGLISH = """\
[LINE] Chat history with Ann
Saved on: 2024/01/17 10:00

2024/01/15(Mon)
10:05\tAnn\thello
10:06\tBo Lee\t"two ""good""

lines"
10:07\tAnn\t[Sticker]
10:07\tAnn\t[File] plan.pdf
10:08\tAnn\t☎ Call time 5:32
10:09\tBo Lee\t☎ Missed call
10:10\tAnn unsent a message.
10:11\t\tCy joined the group.
10:12\tAnn\t"quoted" words [Photo]
10:13\tBo Lee\t(emoji)
10:14\tBo Lee\tok (emoji)

2024/01/16(Tue)
23:58\tAnn\tlate
23:59\tBo Lee\tnight
"""


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_chat(put, imported, ends):
    path = put("[LINE]Ann.txt", "\ufeff" + ENGLISH.replace("\n", ends))
    assert kind(path) == "line"
    result = imported(path)
    assert result.said == [
        ["Ann: hello", 'Bo Lee: two "good"\n\nlines', 'Ann: "quoted" words [Photo]', "Bo Lee: ok (emoji)"],
        ["Ann: late", "Bo Lee: night"],
    ]
    assert result.left_out == {MEDIA: 3, SYSTEM: 4}
    assert result.report.parts[0].log.notes == [
        "dates are read year first (line 4 allows no other order)",
        "speakers, with their lines: Ann (3), Bo Lee (3)",
    ]


@pytest.mark.parametrize(
    ("title", "days", "clocks", "sticker"),
    [
        (
            "[LINE] Annとのトーク履歴\n保存日時：2024/01/17 10:00",
            ["2024/01/15(月)", "2024/01/16(火)"],
            "10:05",
            "[スタンプ]",
        ),
        (
            "[LINE] 與Ann的聊天記錄\n儲存日期：2024/01/17 10:00",
            ["2024/01/15（一）", "2024/01/16（二）"],
            "上午10:05",
            "[貼圖]",
        ),
        (
            "[LINE] 与Ann的聊天记录\n保存日期：2024/1/17 10:00",
            ["2024/1/15周一", "2024/1/16周二"],
            "上午10:05",
            "[贴图]",
        ),
        ("[LINE] 與Ann的聊天記錄\n儲存日期：2024/1/17", ["2024/1/15（週一）", "2024/1/16（週二）"], "10:05", "[照片]"),
        (
            "Chat history in Club\nSaved on: 1/17/2024, 10:00",
            ["Mon, 1/15/2024", "Tue, 1/16/2024"],
            "10:05AM",
            "[Photo]",
        ),
        (
            "[LINE] Chat history with Ann\nSaved on: 17/01/2024",
            ["Mon, 15/01/2024", "Tue, 16/01/2024"],
            "10:05",
            "[Video]",
        ),
        ("[LINE] ประวัติการแชทกับ Ann", ["จ., 15/01/2567 BE", "อ., 16/01/2567 BE"], "10:05", "[สติกเกอร์]"),
        ("2024.01.14 Sunday", ["2024.01.15 Monday", "2024.01.16 Tuesday"], "10:05 AM", "[Voice message]"),
        ("[LINE] Ann님과의 대화", ["2024년 1월 15일 월요일", "2024년 1월 16일 화요일"], "오전 10:05", "[사진]"),
    ],
)
def test_languages(put, imported, title, days, clocks, sticker):
    blocks = [f"{day}\n{clocks}\tAnn\thi {day[0]}\n{clocks}\tBo\t{sticker}\n{clocks}\tBo\tyo\n" for day in days]
    path = put("chat.txt", f"{title}\n\n" + "\n".join(blocks))
    assert kind(path) == "line"
    result = imported(path)
    assert result.said == [[f"Ann: hi {day[0]}", "Bo: yo"] for day in days]
    assert result.left_out == {MEDIA: 2}


def test_the_clock_has_two_halves(put, imported):
    said = "12:05AM\tAnn\tone\n12:05PM\tAnn\ttwo\n"
    result = imported(put("c.txt", f"[LINE] x\nMon, 1/15/2024\n{said}11:00PM\tBo\tthree\n"), gap=11.5 * 3600)
    assert result.said == [["Ann: two", "Bo: three"]]


def test_dates_in_texts_are_text(put, imported):
    body = "on\n15/01/2024\n2024.01.15 Monday\nMon, 1/15/2024 \n10:30 maybe"
    result = imported(put("c.txt", f'[LINE] x\n\n2024/01/15(Mon)\n10:05\tAnn\t"{body}"\n10:06\tBo\tok\n'))
    assert result.said == [[f"Ann: {body}", "Bo: ok"]]


def test_the_order_of_dates_may_be_named(put, imported):
    path = put("c.txt", "[LINE] x\nFri, 03/04/2024\n10:05\tAnn\thi\nTue, 07/04/2024\n10:05\tBo\tyo\n")
    assert imported(path, gap=5 * 24 * 3600.0).said == [["Ann: hi", "Bo: yo"]]
    with pytest.raises(DataError, match="no conversation of two or more messages"):
        imported(path, gap=5 * 24 * 3600.0, date_order="mdy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[LINE] x\n10:05\tAnn\thi\n", "c.txt, line 2: no line with a date in a known form is above the message"),
        ("[LINE] x\n2024/01/15(Mon)\n10:05 Ann hi\n", "c.txt: has no message of LINE, whose clock, name and text have"),
        (
            "[LINE] x\n2024/02/30(Mon)\n10:05\tAnn\thi\n",
            "c.txt, line 3: '2024/02/30(Mon) 10:05' is no date, year first (day",
        ),
        ("[LINE] x\n2024/01/15(Mon)\n25:05\tAnn\thi\n", "c.txt, line 3: '2024/01/15(Mon) 25:05' is no date"),
    ],
)
def test_a_broken_chat_is_refused(put, imported, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put("c.txt", content))
