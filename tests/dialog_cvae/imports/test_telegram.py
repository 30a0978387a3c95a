"""Telegram's exports: chats with bots, forwarded posts, and control characters that are not JSON."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import BOTS
from dialog_cvae.imports.telegram import BOT_CHATS, FORWARDED, LATE


def chat(kind: str, *said: str, last: bool = False) -> dict[str, object]:
    """A chat of Ann and Bo, whose type comes first or last."""
    messages = [
        {"type": "message", "date_unixtime": "100", "from": ["Ann", "Bo"][i % 2], "from_id": f"user{i % 2}"}
        | {"text": text}
        for i, text in enumerate(said)
    ]
    head, body = {"name": "x", "type": kind, "id": 1}, {"messages": messages}
    return body | head if last else head | body


@pytest.mark.parametrize("last", [False, True])
def test_a_chat_with_a_bot_is_left_out(put, imported, last):
    chats = [chat("bot_chat", "/start", "beep", last=last), chat("personal_chat", "hi", "yo", last=last)]
    path = put("result.json", json.dumps({"chats": {"about": "", "list": chats}}))
    result = imported(path)
    talk, bot = ["Ann: hi", "Bo: yo"], ["Ann: /start", "Bo: beep"]
    assert result.said == ([bot, talk] if last else [talk])
    assert result.left_out == ({} if last else {BOTS: 2})
    assert result.report.parts[0].log.changed[LATE if last else BOT_CHATS] == 1
    assert imported(path, bots=True).said == [bot, talk]


def test_an_export_of_only_a_chat_with_a_bot(put, imported):
    path = put("result.json", json.dumps(chat("bot_chat", "/start", "beep")))
    with pytest.raises(DataError, match=r"2 messages of bots, 1 chats with bots, left out \(--bots keeps them\)"):
        imported(path)
    assert imported(path, bots=True).said == [["Ann: /start", "Bo: beep"]]
    late = put("late.json", json.dumps(chat("bot_chat", "/start", "beep", last=True)))
    assert imported(late).said == [["Ann: /start", "Bo: beep"]]


def test_forwarded_messages_are_kept_and_counted(put, imported):
    told = chat("personal_chat", "news", "oh")
    told["messages"][0]["forwarded_from"] = "Some Channel"
    result = imported(put("result.json", json.dumps(told)))
    assert result.said == [["Ann: news", "Bo: oh"]]
    assert result.report.parts[0].log.changed[FORWARDED] == 1


def test_a_control_character_does_not_refuse_the_export(put, imported):
    content = json.dumps(chat("personal_chat", "a=b", r"c:\x1b")).replace("=", r"\x1b")
    assert imported(put("result.json", content)).said == [["Ann: ab", r"Bo: c:\x1b"]]
