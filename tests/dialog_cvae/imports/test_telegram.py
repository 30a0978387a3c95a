"""Telegram's exports: chats with bots, topics, forwarded posts, and control characters that are not JSON."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import BOTS
from dialog_cvae.imports.privacy import Privacy
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


def forum(*messages: dict[str, object]) -> dict[str, object]:
    """A group with topics; ids and times increase."""
    said = [{"id": 10 + i, "type": "message", "date_unixtime": str(100 + i), "text": ""} for i in range(len(messages))]
    return {"name": "x", "type": "private_supergroup", "messages": [a | b for a, b in zip(said, messages, strict=True)]}


def topic(title: object) -> dict[str, object]:
    return {"type": "service", "action": "topic_created", "title": title}


def said(who: str, text: str, reply: object = None, **other: object) -> dict[str, object]:
    return {"from": who, "from_id": who, "text": text, "reply_to_message_id": reply} | other


def test_each_topic_of_a_group_is_a_conversation(put, imported):
    messages = [
        said("Ann", "before topics"),  # 10
        topic("Bugs"),
        topic("Pets"),
        said("Ann", "it crashes", 11),
        said("Bo", "a cat", 12),
        said("Bo", "in general"),  # 15
        said("Bo", "where?", 13),
        said("Cy", "", 14),  # a picture
        said("Ann", "sweet", 17),
        said("Ann", "yes", 15),
        said("Cy", "at the start", 16),  # 20
        said("Di", "of another chat", 13, reply_to_peer_id="channel1"),
    ]
    result = imported(put("result.json", json.dumps(forum(*messages))))
    assert result.said == [
        ["Ann: before topics", "Bo: in general", "Ann: yes", "Di: of another chat"],
        ["Ann: it crashes", "Bo: where?", "Cy: at the start"],
        ["Bo: a cat", "Ann: sweet"],
    ]
    assert [(line["id"], line.get("topic")) for line in result.lines] == [
        ("1", None),
        ("2:Bugs", "Bugs"),
        ("3:Pets", "Pets"),
    ]


def test_topics_of_several_groups_with_the_same_titles_and_ids(put, imported):
    messages = [topic("Pets"), topic("Pets"), topic(None), topic("a\0b\n c")]
    messages += [said(who, f"{who} {root}", root) for root in (10, 11, 12, 13) for who in ("Ann", "Bo")]
    chats = [forum(*messages), forum(*messages)]
    result = imported(put("result.json", json.dumps({"chats": {"list": chats}})))
    assert result.said == [[f"Ann: Ann {root}", f"Bo: Bo {root}"] for root in (10, 11, 12, 13)] * 2
    names = [f"chat {number}{title}" for number in (1, 2) for title in (", Pets", ", Pets", "", ", a b c")]
    assert [line["id"].partition(":")[2] for line in result.lines] == names
    private = imported(put("result.json", json.dumps(forum(*messages))), privacy=Privacy(anonymous=True))
    assert [line["id"] for line in private.lines] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("identity", [None, "12", 2**70, -(2**70), 1.5, [12], 11, True])
def test_ids_of_other_forms_belong_to_no_topic(put, imported, identity):
    messages = [said("Ann", "hi"), topic("Bugs"), topic("Pets") | {"id": identity}, said("Bo", "yo", identity)]
    result = imported(put("result.json", json.dumps(forum(*messages, said("Ann", "one", 11), said("Bo", "two", 11)))))
    if identity == 11:  # the first message of an id is the one that others reply to
        assert result.said == [["Bo: yo", "Ann: one", "Bo: two"]]
    else:
        assert result.said == [["Ann: hi", "Bo: yo"], ["Ann: one", "Bo: two"]]
