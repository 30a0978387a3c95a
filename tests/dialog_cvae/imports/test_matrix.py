"""Element's exports of Matrix rooms: edits, deletions, answers, threads, and what is left out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.matrix import EDITED, ENCRYPTED, LOST
from dialog_cvae.imports.message import BOTS, MEDIA, SYSTEM
from dialog_cvae.imports.people import SHARED
from dialog_cvae.imports.source import open_source

ANN, BO, CY = "@ann:example.org", "@bo:example.org", "@ann:other.org"


def event(name: str, minute: int, sender: str, content: object, kind: str = "m.room.message", **fields: object) -> Any:
    """An event some minutes after 10 o'clock, as Element writes it."""
    time = 1704186000000 + 60000 * minute
    return {"type": kind, "sender": sender, "content": content, "origin_server_ts": time, "event_id": f"${name}"} | {
        "room_id": "!r:example.org",
        "unsigned": {"age": 5},
        **fields,
    }


def said(body: str, form: str = "m.text", **more: object) -> dict[str, object]:
    return {"msgtype": form, "body": body} | more


def related(kind: str, name: str, **more: object) -> dict[str, object]:
    return {"m.relates_to": {"rel_type": kind, "event_id": f"${name}"} | more}


def room(*events: object) -> str:
    head = {
        "room_name": "Garden",
        "room_creator": "Ann",
        "topic": "",
        "export_date": "02/01/2024",
        "exported_by": "Ann",
    }
    return json.dumps(head | {"messages": events}, indent=4)


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


def test_a_room(put, imported):
    answer = {"m.relates_to": {"m.in_reply_to": {"event_id": "$1"}}}
    path = put(
        "matrix - Garden - Chat Export.json",
        room(
            event("0", 0, BO, {"membership": "join", "displayname": "Bo Lee"}, "m.room.member", state_key=BO),
            event("1", 1, ANN, said("hi\nall", "m.text", format="org.matrix.custom.html", formatted_body="<b>hi</b>")),
            event("2", 2, BO, said(f"> <{ANN}> hi\n> all\n\nyo", **answer)),
            event("3", 3, ANN, said("> a quote\nof my own", **answer)),
            event("4", 4, BO, said(f"waves\n> <{ANN}> hi\n", "m.emote", **answer)),
            event("5", 5, ANN, said("cat.jpg", "m.image", url="mxc://x")),
            event("6", 6, BO, said("look at it", "m.image", filename="cat.jpg")),
            event("7", 7, ANN, {}, unsigned={"redacted_because": {}}),
            event("8", 8, ANN, said("wrong")),
            event("9", 9, ANN, {"reason": "typo"}, "m.room.redaction", redacts="$8"),
            event("10", 10, BO, {"m.relates_to": {"rel_type": "m.annotation"}}, "m.reaction"),
            event("11", 11, ANN, {"algorithm": "m.megolm.v1.aes-sha2"}, "m.room.encrypted"),
            event("12", 12, ANN, said("** Unable to decrypt **", "m.bad.encrypted")),
            event("13", 13, BO, said("beep", "m.notice")),
            event("14", 14, ANN, {"body": "a cat", "info": {}}, "m.sticker"),
            event("15", 900, BO, said("late")),
            event("16", 901, ANN, said("night")),
        ),
    )
    assert kind(path) == "matrix"
    result = imported(path)
    assert result.said == [
        ["ann: hi\nall", "Bo Lee: yo", "ann: > a quote\nof my own", f"Bo Lee: waves\n> <{ANN}> hi\nlook at it"],
        ["Bo Lee: late", "ann: night"],
    ]
    assert result.left_out == {SYSTEM: 3, MEDIA: 4, ENCRYPTED: 2, BOTS: 1, LOST: 0}
    assert [line.get("topic") for line in result.lines] == [None, None]
    assert imported(path, bots=True).said[0][-1] == f"Bo Lee: waves\n> <{ANN}> hi\nlook at it\nbeep"


def test_the_last_edit_counts(put, imported):
    def edit(name: str, minute: int, body: str, sender: str, target: str) -> object:
        return event(
            name, minute, sender, said(f"* {body}", **{"m.new_content": said(body)}, **related("m.replace", target))
        )

    path = put(
        "e.json",
        room(
            event("1", 1, ANN, said("one")),
            event("2", 2, BO, said("two")),
            edit("5", 5, "TWO", BO, "2"),
            edit("4", 4, "Two", BO, "2"),
            edit("6", 6, "stolen", BO, "1"),
            edit("7", 7, "?", BO, "lost"),
        ),
    )
    result = imported(path)
    assert result.said == [["ann: one", "bo: TWO"]]
    assert result.left_out == {LOST: 1}
    assert result.report.parts[0].log.changed[EDITED] == 1


def test_threads_and_names(put, imported):
    path = put(
        "t.json",
        room(
            event("1", 1, ANN, said("who waters?")),
            event("2", 2, BO, said("nice day")),
            event("3", 3, CY, said("indeed")),
            event("4", 500, BO, said("I do", **related("m.thread", "1", is_falling_back=True))),
            event("5", 5, ANN, said("@bo:example.org: sun!")),
        ),
    )
    result = imported(path)
    assert result.said == [
        ["ann: who waters?", "bo: I do"],
        ["bo: nice day", "ann 2: indeed", "ann: @bo:example.org: sun!"],
    ]
    assert [(line["id"], line["topic"]) for line in result.lines] == [("1", "Garden"), ("2", "Garden")]
    assert result.report.parts[0].log.changed[SHARED] == 1
    assert imported(path, anonymous=True).said[1][2] == "ann: @<NAME>: sun!"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (room(event("1", 1, ANN, said("hi")))[:-20], "x.json, line 20: the file ends too early"),
        (room(event("1", 1, ANN, said(5))), "message 1: body must be text, is a number"),  # type: ignore[arg-type]
        (room(event("1", 1, ANN, said("hi")) | {"sender": None}), "message 1: sender must be text, is null"),
        (room(event("1", 1, ANN, said("hi")) | {"origin_server_ts": "noon"}), "message 1: the time 'noon' is not ISO"),
        (room(event("1", 1, ANN, said("hi")), 5), "message 2 must be an object, is a number"),
    ],
)
def test_a_broken_export_is_refused(put, imported, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put("x.json", content))
