"""Rooms of Matrix as Element exports them in JSON: a list of events, most of which are messages.

Open this if an export is not recognised or is read wrongly. An edit and a deletion are events of their own, which name
the message; an answer repeats the beginning of what it answers in lines that begin with `> `.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import BOTS, HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import People
from dialog_cvae.imports.privacy import MENTION
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

ENCRYPTED: Final = "messages that Element could not decrypt"
EDITED: Final = "messages with the text of their last edit"
LOST: Final = "edits of messages that are not in the export"

_KEYS: Final = {"messages[].origin_server_ts", "messages[].sender", "messages[].content"}
_FILES: Final = {"m.image", "m.video", "m.audio", "m.file"}  # kinds of messages that may have a caption
_ID: Final = re.compile(r"@[\w.=/+-]+:[\w.-]+(?::\d+)?")  # of a person, as in @ann:example.org
_REPEATED: Final = re.compile(r"\A> (?:\* )?<@[^\n]*\n(?:>[^\n]*\n)*\n?")  # what an answer repeats


@dataclass
class _Known:
    """What later events say about a room and its messages.

    Attributes:
        name: of the room.
        names: of the people, by id.
        speakers: ids of those who wrote.
        threads: ids of the messages that begin a thread.
        deleted: ids of messages.
        edits: time, sender and content of the last edit, by the message's id.
    """

    name: str = ""
    names: dict[str, str] = field(default_factory=dict)
    speakers: set[str] = field(default_factory=set)
    threads: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    edits: dict[str, tuple[float, str, Mapping[str, Any]]] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any]) -> None:
        """Add what an event says; what is malformed is refused when the event is read as a message."""
        content, sender, kind = _content(event), str(event.get("sender")), event.get("type")
        relation, target = _relation(content)
        if kind == "m.room.member" and isinstance(name := content.get("displayname"), str):
            self.names[str(event.get("state_key") or sender)] = name
        elif kind == "m.room.redaction":
            self.deleted.add(str(event.get("redacts") or content.get("redacts")))
        elif kind == "m.room.message" and relation == "m.replace":
            edit = (_number(event.get("origin_server_ts")), sender, content)
            self.edits[target] = max(edit, self.edits.get(target, edit), key=lambda each: each[0])
        elif kind == "m.room.message":
            self.speakers.add(sender)
        if relation == "m.thread":
            self.threads.add(target)

    @property
    def topic(self) -> str | None:
        """The room's name; a room of two people is named after one of them."""
        return self.name if len(self.speakers) > 2 and self.name else None


def recognise(source: Source) -> bool:
    """Whether the keys are those of an export."""
    return source.file.paths >= _KEYS


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a room; each thread is a conversation. The file is read twice.

    Raises:
        DataError: the file is malformed.
    """
    known = _Known()
    for _, _, event in _events(source, options, known):
        known.add(event)
    people = People(log)
    for stream, number, event in _events(source, options, known):
        try:
            message = _message(event, known, people, options, log)
        except ValueError as error:
            raise stream.error(f"message {number}: {error}") from None
        if message is not None:
            yield message
    log.left_out[LOST] += len(known.edits)


def _events(source: Source, options: Options, known: _Known) -> Iterator[tuple[JsonStream, int, dict[str, Any]]]:
    stream, found = JsonStream(source.file, options.encoding), False
    for key in stream.members():
        if key == "messages":
            found = True
            for number in stream.items():
                event = stream.value()
                if not isinstance(event, dict):
                    raise stream.error(f"message {number} must be an object, is {kind_of(event)}")
                yield stream, number, event
        elif key == "room_name":
            known.name = str(stream.value() or "")
        else:
            stream.skip()
    if not found:
        raise stream.error("has no messages")


def _message(event: Mapping[str, Any], known: _Known, people: People, options: Options, log: Log) -> Message | None:
    """A message, or None if the event is none, or is left out.

    Raises:
        ValueError: it is malformed.
    """
    sender, name = event.get("sender"), str(event.get("event_id"))
    if not isinstance(sender, str):
        raise ValueError(f"sender must be text, is {kind_of(sender)}")
    content = _content(event)
    relation, target = _relation(content)
    if relation == "m.replace":
        return None  # it is read with the message
    unsigned = event.get("unsigned")
    is_deleted = name in known.deleted or (isinstance(unsigned, Mapping) and "redacted_because" in unsigned)
    text = _edited(name, sender, content, known, log)
    reason = MEDIA if is_deleted else _reason(event.get("type"), content, text, options)
    if reason is not None:
        log.left_out[reason] += 1
        return None
    text = _REPEATED.sub("", text, count=1) if "m.in_reply_to" in str(content.get("m.relates_to")) else text
    thread = target if relation == "m.thread" else name if name in known.threads else ""
    return Message(
        f"{thread}\0" if thread else "",
        people.name(sender, known.names.get(sender) or sender.removeprefix("@").partition(":")[0]),
        _ID.sub(MENTION, text) if options.anonymous else text,
        seconds(event.get("origin_server_ts")),
        known.topic,
        in_thread=bool(thread),
    )


def _reason(kind: object, content: Mapping[str, Any], text: str, options: Options) -> str | None:
    """Why an event is left out; None if it is a message with a text."""
    form = content.get("msgtype")
    if kind == "m.room.encrypted" or form == "m.bad.encrypted":
        return ENCRYPTED
    if kind != "m.room.message":
        return MEDIA if kind == "m.sticker" else SYSTEM
    if form == "m.notice" and not options.bots:
        return BOTS
    is_caption = form in _FILES and isinstance(content.get("filename"), str) and content["filename"] != text
    is_text = form in {"m.text", "m.emote", "m.notice"} or is_caption
    return None if is_text and text.strip() else MEDIA


def _edited(name: str, sender: str, content: Mapping[str, Any], known: _Known, log: Log) -> str:
    """The text of a message after its last edit, if its sender edited it.

    Raises:
        ValueError: it is not text.
    """
    body = content.get("body") or ""
    _, editor, edit = known.edits.pop(name, (0.0, "", {}))
    new = edit.get("m.new_content")
    if editor == sender and isinstance(new, Mapping):
        log.changed[EDITED] += 1
        body = new.get("body") or ""
    if not isinstance(body, str):
        raise ValueError(f"body must be text, is {kind_of(body)}")
    return body


def _content(event: Mapping[str, Any]) -> Mapping[str, Any]:
    content = event.get("content")
    return content if isinstance(content, Mapping) else {}


def _relation(content: Mapping[str, Any]) -> tuple[str, str]:
    """How an event relates to another one, and to which; empty if it does not."""
    found = content.get("m.relates_to")
    return (str(found.get("rel_type")), str(found.get("event_id"))) if isinstance(found, Mapping) else ("", "")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


FORMAT = Format("matrix", "a Matrix room", recognise, read, interleaved=True, merge=True, gap=6 * HOUR)
