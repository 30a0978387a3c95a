"""Skype's export: names, tags of texts, quotes, edits, groups, and what is left out."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from typing import Any

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import BOTS, MEDIA, SYSTEM
from dialog_cvae.imports.skype import QUOTED
from dialog_cvae.imports.source import open_source

ME, ANN, CY = "8:live:bo", "8:live:ann.lee", "8:cy"
QUOTE = (
    '<quote author="cy" authorname="Cy" timestamp="1705312800" conversation="8:cy" messageid="1" cuid="2">'
    "<legacyquote>[10:00:00] Cy: </legacyquote>{}<legacyquote>\n\n&lt;&lt;&lt; </legacyquote></quote>"
)


def message(minute: int, sender: str, content: Any, kind: str = "RichText", name: str | None = None) -> dict[str, Any]:
    """A message some minutes after 10 o'clock, as Skype writes it."""
    time = f"2024-01-15T{10 + minute // 60}:{minute % 60:02}:00.{minute % 7}Z"
    return {"id": "170", "displayName": name, "originalarrivaltime": time, "messagetype": kind, "version": 1} | {
        "content": content,
        "conversationid": "x",
        "from": sender,
        "properties": None,
        "amsreferences": None,
    }


def chat(identity: str, name: str | None, *messages: object, **fields: object) -> dict[str, object]:
    """A conversation, the newest message first."""
    head = {"id": identity, "displayName": name, "version": 1.0, "properties": {}, "threadProperties": None}
    return head | fields | {"MessageList": messages[::-1]}


def export(*chats: object) -> str:
    return json.dumps({"userId": ME, "exportDate": "2024-01-16T10:00", "conversations": chats})


TWO = export(chat(ANN, "Ann Lee", message(0, ANN, "hi"), message(1, ME, "yo")))


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


def test_an_export(put, imported):
    path = put(
        "messages.json",
        export(
            chat("48:calllogs", None, message(0, ME, "", "Event/Call")),
            chat(
                ANN,
                "Ann Lee",
                message(0, ANN, 'hi <ss type="smile">:)</ss> <3 &lt;b&gt; &amp; &apos;you&apos;'),
                message(1, ME, 'see <a href="https://x.org/?a=1&amp;b=2">https://x.org/?a=1&amp;b=2</a>'),
                message(2, ANN, QUOTE.format(QUOTE.format("inner") + "outer") + "\nI agree"),
                message(
                    3, ME, 'Edited previous message: <b raw_pre="*" raw_post="*">new</b><e_m ts="1" a="bo" t="61"/>'
                ),
                message(4, ANN, '<URIObject type="Picture.1" uri="x">photo</URIObject>', "RichText/UriObject"),
                message(5, ME, ""),
                message(6, ANN, '<partlist type="ended" alt=""></partlist>', "Event/Call"),
                message(7, ME, QUOTE.format("only a quote")),
                message(8, ANN, "a &lt; b", "Text"),
                message(9, "28:bot", "beep"),
                message(500, ME, "late"),
                message(501, ANN, "night"),
            ),
            chat("8:dee", "Dee") | {"MessageList": None},
        ),
    )
    assert kind(path) == "skype"
    result = imported(path)
    assert result.said == [
        [
            "Ann Lee: hi :) <3 <b> & 'you'",
            "Me: see https://x.org/?a=1&b=2",
            "Ann Lee: I agree",
            "Me: new",
            "Ann Lee: a &lt; b",
        ],
        ["Me: late", "Ann Lee: night"],
    ]
    assert [(line["id"], line.get("topic")) for line in result.lines] == [("1:Ann Lee", None), ("2:Ann Lee", None)]
    assert result.left_out == {SYSTEM: 2, MEDIA: 2, QUOTED: 1, BOTS: 1}
    assert "bot: beep" in imported(path, bots=True).said[0]


def test_a_group_has_a_topic_and_names_from_other_chats(put, imported):
    group = chat(
        "19:abc@thread.skype",
        "Garden",
        message(0, ME, "<addmember></addmember>", "ThreadActivity/AddMember"),
        message(1, ANN, "who waters?"),
        message(2, CY, 'I do, <at id="8:live:bo">Bo</at>'),
        message(3, ME, "fine", name="Bo"),
        threadProperties={"topic": "The garden", "membercount": 3},
    )
    path = put("messages.json", export(group, chat(ANN, "Ann Lee", message(0, ANN, "x"))))
    result = imported(path)
    assert result.said == [["Ann Lee: who waters?", "cy: I do, Bo", "Bo: fine"]]
    assert result.lines[0]["topic"] == "The garden"
    assert result.left_out == {SYSTEM: 1}
    assert imported(path, anonymous=True).said[0][1] == "cy: I do, @<NAME>"


def test_in_an_archive(tmp_path, imported):
    path = tmp_path / "8_live_bo_export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("messages.json", TWO)
        archive.writestr("endpoints.json", '{"endpoints": []}')
        archive.writestr("media/0-a.1.png", b"\x89PNG")
    assert imported(path).said == [["Ann Lee: hi", "Me: yo"]]


def test_a_tar_archive_is_refused_with_advice(put, imported):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("messages.json")
        member.size = len(TWO)
        archive.addfile(member, io.BytesIO(TWO.encode()))
    with pytest.raises(DataError, match=r"export\.tar: is a tar archive: unpack it, and name the folder or the file"):
        imported(put("export.tar", content.getvalue()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TWO[:-40], "x.json, line 1: the file ends too early"),
        (TWO.replace('"hi"', "5"), "x.json, line 1: conversation 1, message 2: content must be text, is a number"),
        (TWO.replace(f'"from": "{ANN}"', '"from": 5'), "conversation 1, message 2: from must be text, is a number"),
        (TWO.replace("2024-01-15T10:00", "noon"), "conversation 1, message 2: the time 'noon"),
        (export(chat(ANN, "Ann", 5)), "conversation 1, message 1 must be an object, is a number"),
        (
            TWO.replace('"MessageList": [', '"MessageList": 5, "x": ['),
            "x.json, line 1: not JSON: [ is expected, but '5'",
        ),
    ],
)
def test_a_broken_export_is_refused(put, imported, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put("x.json", content))
