"""Exports of personal chats: each is recognised as its own format and no other, and the command line reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialog_cvae import console
from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import FORMATS, recognised
from dialog_cvae.imports.source import open_source


def sms() -> str:
    line = '<sms address="+49301" date="{}" type="{}" body="{}" contact_name="Ann" />\n'
    said = [(hour, box, f"text {hour} {box}") for hour in (0, 10, 20) for box in (1, 2)]
    lines = [line.format(1704186000000 + 3600000 * hour + box, box, text) for hour, box, text in said]
    return f"<?xml version='1.0' encoding='UTF-8' ?>\n<smses count=\"6\">\n{''.join(lines)}</smses>\n"


def line() -> str:
    days = [f"2024/01/{day}(Mon)\n10:05\tAnn\ttext {day}\n10:06\tBo\tyes {day}\n" for day in (15, 22, 29)]
    return "[LINE] Chat history with Ann\nSaved on: 2024/02/01 10:00\n\n" + "\n".join(days)


def kakaotalk(day: str, message: str) -> str:
    said = [(date, name) for date in (15, 22, 29) for name in ("Ann", "Bo")]
    return "".join(f"{day.format(date)}{message.format(name, f'text {date} {name}')}\n" for date, name in said)


def matrix() -> str:
    said = [(minute, name) for minute in (0, 600, 1200) for name in ("ann", "bo")]
    events = [
        {"type": "m.room.message", "sender": f"@{name}:x.org", "event_id": f"${minute}{name}"}
        | {"content": {"msgtype": "m.text", "body": f"text {minute} {name}"}}
        | {"origin_server_ts": 1704186000000 + 60000 * minute}
        for minute, name in said
    ]
    return json.dumps({"room_name": "Garden", "exported_by": "Ann", "messages": events}, indent=4)


def skype() -> str:
    messages = [
        {"id": f"{hour}{name}", "displayName": None, "originalarrivaltime": f"2024-01-15T{hour}:00:00.12Z"}
        | {"messagetype": "RichText", "content": f"text {hour} {name}", "from": f"8:live:{name}"}
        for hour in ("20", "10", "01")
        for name in ("ann", "bo")
    ]
    chats = [{"id": "8:live:ann", "displayName": "Ann", "threadProperties": None, "MessageList": messages}]
    return json.dumps({"userId": "8:live:bo", "exportDate": "2024-01-16T10:00", "conversations": chats})


def imessage() -> str:
    said = [(day, minute, name) for day in (15, 22, 29) for minute, name in ((5, "Ann"), (6, "Me"))]
    lines = [f"Jan {day}, 2024 10:{minute:02}:00 AM\n{name}\ntext {day} {name}\n\n" for day, minute, name in said]
    return "".join(lines)


# Files of three conversations, by the name of their format.
CHATS = {
    "sms-backup": ("sms-1.xml", sms()),
    "line": ("[LINE] Ann.txt", line()),
    "matrix": ("export.json", matrix()),
    "skype": ("messages.json", skype()),
    "imessage": ("Ann.txt", imessage()),
    "kakaotalk": ("talk.txt", kakaotalk("--- 2024년 1월 {}일 월요일 ---\n", "[{}] [오전 10:05] {}")),
    "kakaotalk-csv": ("c.csv", "Date,User,Message\n" + kakaotalk("2024-01-{} 10:05:00,", '"{}","{}"')),
}
OTHERS = {
    "whatsapp": ("chat.txt", "[13.01.24, 10:00:00] Ann: hi\n[13.01.24, 10:00:02] Bo: there\n"),
    "transcript": ("talk.txt", "Ann: hi, 10:05\nBo: [LINE] yo\nAnn: <smses > ok\nBo: bye\n"),
    "csv": ("t.csv", "date,speaker,text\n2024-01-13 10:00,Ann,<smses >\n2024-01-13 10:01,Bo,[LINE] yo\n"),
    "subtitles": ("s.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>hi\n\n00:03.000 --> 00:04.000\n<v Bo>yo\n"),
    "messages": ("m.json", json.dumps([{"sender": "Ann", "body": "hi", "time": 1}] * 2)),
}


@pytest.mark.parametrize(("name", "file"), [*CHATS.items(), *OTHERS.items()])
def test_one_format_recognises_a_file(put, name, file):
    source = open_source(put(*file))
    ((_, found),) = recognised(source)
    assert found.name == name
    assert [each for each in CHATS if FORMATS[each].recognise(source)] == ([name] if name in CHATS else [])


@pytest.mark.parametrize("page", ["<!DOCTYPE html>\n<html><body>{}</body></html>", "<html>{}</html>"])
@pytest.mark.parametrize("name", CHATS)
def test_a_web_page_is_in_no_format(put, name, page):
    source = open_source(put("x.txt", page.format(CHATS[name][1].replace("\n", "<br>\n"))))
    with pytest.raises(DataError, match="is a web page"):
        list(recognised(source))


@pytest.mark.parametrize("name", CHATS)
def test_the_commands(put, tmp_path, capsys, name):
    path, out = put(*CHATS[name]), tmp_path / "out" / "mine.jsonl"
    assert console.main(["import", str(path), "--out", str(out)]) == 0
    assert f"{path}: {FORMATS[name].title}\n" in capsys.readouterr().out
    assert len(Path(out).read_text(encoding="utf-8").splitlines()) == 3
    assert console.main(["check", str(path), "--cache", "off"]) == 0
    assert f"read as       {FORMATS[name].title}" in capsys.readouterr().out
