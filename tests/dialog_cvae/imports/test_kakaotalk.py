"""KakaoTalk's exports: each form read exactly, the program's own words left out, dates and clocks that are text."""

from __future__ import annotations

import re

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA, SYSTEM
from dialog_cvae.imports.source import open_source

WINDOWS = """\
우리집 님과 카카오톡 대화
저장한 날짜 : 2024-01-17 10:00:00

--------------- 2024년 1월 15일 월요일 ---------------
지훈님이 들어왔습니다.
[민지] [오전 10:05] 안녕
[지훈] [오전 10:06] 응
둘째 줄

넷째 줄
지훈님이 수아님을 초대했습니다.
[민지] [오전 10:07] 사진
[민지] [오전 10:07] 사진 3장
[지훈] [오전 10:08] 파일: 계획.pdf
[지훈] [오전 10:08] 보이스톡 해요
[지훈] [오전 10:09] 보이스톡 0:17
[민지] [오전 10:10] 삭제된 메시지입니다.
[민지] [오전 10:11] [지훈] [오전 10:06] 응
[지훈] [오전 10:12] 사진 좋다
--------------- 2024년 1월 16일 화요일 ---------------
[민지] [오후 11:58] 늦었네
[지훈] [오후 11:59] 잘 자
"""
ENGLISH = """\
Home with KakaoTalk Chats
Date Saved : 2024-01-17 10:00:00

--------------- Monday, January 15, 2024 ---------------
[Ann [work]] [10:05 AM] hello
[Bo] [10:06 AM] hi
there
Cy left.
Bo invited Cy and Di.
[Bo] [10:07 AM] Photo
[Bo] [10:08 AM] Emoticons
[Bo] [10:09 AM] Voice Call 1:20
[Ann [work]] [10:10 AM] This message was deleted.
[Ann [work]] [10:11 AM] ok
"""
ANDROID = """\
민지 님과 카카오톡 대화
저장한 날짜 : 2024년 1월 17일 오전 10:00


2024년 1월 15일 오전 10:05
2024년 1월 15일 오전 10:05, 민지 : 시간 : 세 시
2024년 1월 15일 오전 10:06, 지훈 : 응
오전 10:30, 좋아 : 그때
2024년 1월 15일 오전 10:07, 지훈님이 나갔습니다.
2024년 1월 15일 오전 10:08, 민지 : 7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069.jpg

2024년 1월 15일 오후 11:00
2024년 1월 15일 오후 11:00, 민지 : 늦게
2024년 1월 15일 오후 11:01, 지훈 : 응
"""


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_korean_windows(put, imported, ends):
    path = put("talk.txt", "\ufeff" + WINDOWS.replace("\n", ends))
    assert kind(path) == "kakaotalk"
    result = imported(path)
    assert result.said == [
        ["민지: 안녕", "지훈: 응\n둘째 줄\n\n넷째 줄", "민지: [지훈] [오전 10:06] 응", "지훈: 사진 좋다"],
        ["민지: 늦었네", "지훈: 잘 자"],
    ]
    assert result.left_out == {SYSTEM: 4, MEDIA: 4}
    assert result.report.parts[0].log.notes == ["speakers, with their lines: 민지 (3), 지훈 (3)"]


def test_english_windows(put, imported):
    path = put("talk.txt", ENGLISH)
    assert kind(path) == "kakaotalk"
    result = imported(path)
    assert result.said == [["Ann [work]: hello", "Bo: hi\nthere", "Ann [work]: ok"]]
    assert result.left_out == {SYSTEM: 3, MEDIA: 3}


def test_korean_android(put, imported):
    path = put("KakaoTalkChats.txt", ANDROID)
    assert kind(path) == "kakaotalk"
    result = imported(path)
    assert result.said == [["민지: 시간 : 세 시", "지훈: 응\n오전 10:30, 좋아 : 그때"], ["민지: 늦게", "지훈: 응"]]
    assert result.left_out == {SYSTEM: 1, MEDIA: 1}


@pytest.mark.parametrize(
    "lines",
    [
        "2024년 1월 15일 월요일\n오전 10:05: Ann님이 Bo님을 초대했습니다.\n"
        "오전 10:05, Ann : hello\nmore\n오후 1:06, Bo : Photo\n"
        "오후 1:07, Bo : hi\n\n2024년 1월 16일 화요일\n오후 12:10, Ann : noon\n오후 12:11, Bo : yes",
        "2024년 1월 15일 월요일\n"
        "10:05, Ann님이 들어왔습니다.\n10:05, Ann : hello\nmore\n13:06, Bo : 동영상\n13:07, Bo : hi\n"
        "2024년 1월 16일 화요일\n12:10, Ann : noon\n12:11, Bo : yes",
        "2024년 1월 15일 월요일\n"
        "2024. 1. 15. 오전 10:05: Ann님이 들어왔습니다.\n2024. 1. 15. 오전 10:05, Ann : hello\nmore\n"
        "2024. 1. 15. 오후 1:06, Bo : 이모티콘\n2024. 1. 15. 오후 1:07, Bo : hi\n\n2024년 1월 16일 화요일\n"
        "2024. 1. 16. 오후 12:10, Ann : noon\n2024. 1. 16. 오후 12:11, Bo : yes",
        "Monday, January 15, 2024\nJan 15, 2024 at 10:05: Ann invited Bo.\nJan 15, 2024 at 10:05, Ann : hello\nmore\n"
        "Jan 15, 2024 at 13:06, Bo : Photo\nJan 15, 2024 at 13:07, Bo : hi\n\nTuesday, January 16, 2024\n"
        "Jan 16, 2024 at 12:10, Ann : noon\nJan 16, 2024 at 12:11, Bo : yes",
        "January 15, 2024, 10:05 AM\nJanuary 15, 2024, 10:05 AM, Ann joined this chatroom.\n"
        "January 15, 2024, 10:05 AM, Ann : hello\nmore\nJanuary 15, 2024, 1:06 PM, Bo : 2 photos\n"
        "January 15, 2024, 1:07\u202fPM, Bo : hi\n\n"
        "January 16, 2024, 12:10 PM\nJanuary 16, 2024, 12:10 PM, Ann : noon\n"
        "January 16, 2024, 12:11 PM, Bo : yes",
    ],
)
def test_telephones(put, imported, lines):
    path = put("Talk.txt", f"Talk_2024.1.17 10:00-1.txt\nDate Saved : Jan 17, 2024 at 10:00\n\n\n{lines}\n")
    assert kind(path) == "kakaotalk"
    result = imported(path)
    assert result.said == [["Ann: hello\nmore", "Bo: hi"], ["Ann: noon", "Bo: yes"]]
    assert result.left_out == {SYSTEM: 1, MEDIA: 1}


def test_clocks_and_dates_in_texts_are_text(put, imported):
    body = "10:30\n10:30, see you\nJan 15, 2024\n2024. 1. 15.\n[Bo] at [10:30]\nCy님이 늦어"
    result = imported(put("c.txt", f"Monday, January 15, 2024\n오전 10:05, Ann : {body}\n오전 10:06, Bo : ok\n"))
    assert result.said == [[f"Ann: {body}", "Bo: ok"]]


def test_csv(put, imported):
    rows = ['10:05:00,"Ann","hi ""you"""', '10:06:00,"Bo","two\nlines"', '10:06:30,"Bo","Photo"']
    rows += ['10:07:00,"Bo","Ann left."', '10:08:00,"Cy","Cy left this chatroom."', '23:00:00,"Ann","late"']
    path = put("chat.csv", "\ufeffDate,User,Message\n" + "".join(f"2024-01-15 {row}\n" for row in rows))
    assert kind(path) == "kakaotalk-csv"
    result = imported(path)
    assert result.said == [['Ann: hi "you"', "Bo: two\nlines\nAnn left."]]
    assert result.left_out == {MEDIA: 1, SYSTEM: 1}


def test_a_csv_with_other_times_is_a_table(put, imported):
    rows = "2024-01-15 10:05,Ann,hi\n2024-01-15 10:06,Bo,Photo\n"
    path = put("chat.csv", f"Date,User,Message\n{rows}")
    assert kind(path) == "csv"
    assert imported(path).said == [["Ann: hi", "Bo: Photo"]]


@pytest.mark.parametrize(
    ("name", "content", "forced", "message"),
    [
        ("c.txt", "x\n오전 10:05, Ann : hi\n", "kakaotalk", "c.txt, line 2: no line with a date is above the message"),
        ("c.txt", "2024년 1월 15일 월요일\nhi\n", "kakaotalk", "c.txt: has no message of KakaoTalk"),
        (
            "c.txt",
            "2024년 2월 30일 오전 10:05, Ann : hi\n",
            None,
            "c.txt, line 1: there is no time 2024-02-30 10:05 (day",
        ),
        (
            "c.csv",
            "Date,User,Message\nnoon,Ann,hi\n",
            "kakaotalk-csv",
            "c.csv, line 2: the time 'noon' is not ISO 8601",
        ),
        ("c.csv", "Date,User,Message\n2024-01-15,Ann\n", None, "c.csv, line 2: has 2 fields, but the first line 3"),
        (
            "c.csv",
            "Date,Who,Message\n",
            "kakaotalk-csv",
            "c.csv, line 1: a CSV of KakaoTalk has the columns Date, User, M",
        ),
    ],
)
def test_a_broken_chat_is_refused(put, imported, name, content, forced, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put(name, content), format=forced)
