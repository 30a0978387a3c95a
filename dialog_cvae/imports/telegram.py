"""Telegram's `result.json`, the export of one chat or of all chats.

Open this if an export is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import BOTS, HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import People
from dialog_cvae.imports.privacy import MENTION
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.telegram_topics import Topics
from dialog_cvae.imports.times import seconds
from dialog_cvae.text.placeholders import EMAIL, NAME, PHONE

_ONE_CHAT: Final = {"messages[].date_unixtime", "messages[].from_id", "messages[].text_entities", "messages[].actor_id"}
_ALL_CHATS: Final = {"chats.list", "left_chats.list", "personal_information", "personal_information.user_id"}
_LISTS: Final = {"chats": "chat", "left_chats": "left chat"}  # keys of lists of chats, and the name of one chat
_BOT: Final = "bot_chat"  # type of a chat with a bot
BOT_CHATS: Final = "chats with bots, left out (--bots keeps them)"
LATE: Final = "chats with bots, kept because the file has their type after their messages"
FORWARDED: Final = "forwarded messages, kept as words of the person who forwarded them"

# Placeholders for the parts of a text that name a person.
_PERSONAL: Final = {"mention": MENTION, "mention_name": NAME, "phone": PHONE, "email": EMAIL}


def recognise(source: Source) -> bool:
    """Whether the keys are those of an export."""
    return bool((_ONE_CHAT | _ALL_CHATS) & source.file.paths)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all chats, one chat after another; those of several topics alternate.

    Raises:
        DataError: the file is malformed.
    """
    stream = JsonStream(source.file, options.encoding)
    people = People(log)
    found = False
    kind = None
    for key in stream.members():
        if key == "messages":
            found = True
            yield from _messages(stream, "", kind, people, options, log)
        elif key in _LISTS:
            found = True
            yield from _chats(stream, _LISTS[key], people, options, log)
        elif key == "type":
            kind = _kind(stream, found, options, log)
        else:
            stream.skip()
    if not found:
        raise stream.error("has neither messages nor chats")


def _chats(stream: JsonStream, name: str, people: People, options: Options, log: Log) -> Iterator[Message]:
    for key in stream.members():
        if key != "list":
            stream.skip()
            continue
        for number in stream.items():
            kind, found = None, False
            for inner in stream.members():
                if inner == "messages":
                    found = True
                    yield from _messages(stream, f"{name} {number}", kind, people, options, log)
                elif inner == "type":
                    kind = _kind(stream, found, options, log)
                else:
                    stream.skip()


def _kind(stream: JsonStream, found: bool, options: Options, log: Log) -> object:
    """The type of a chat. It is too late for a chat with a bot if its messages were already found: they are kept."""
    kind = stream.value()
    if kind == _BOT and not options.bots:
        log.changed[LATE if found else BOT_CHATS] += 1
    return kind


def _messages(
    stream: JsonStream, chat: str, kind: object, people: People, options: Options, log: Log
) -> Iterator[Message]:
    topics = Topics(chat)
    for number in stream.items():
        message = stream.value()
        where = f"{chat + ', ' if chat else ''}message {number}"
        if not isinstance(message, dict):
            raise stream.error(f"{where} must be an object, is {kind_of(message)}")
        place = topics.place(message)
        if message.get("type", "message") != "message":
            log.left_out[SYSTEM] += 1
            continue
        speaker = message.get("from") or message.get("from_id")
        if isinstance(speaker, int):  # a deleted account; older exports have numbers as ids
            speaker = str(speaker)
        try:
            text = _text(message.get("text"), options)
            time = seconds(message.get("date_unixtime") or message.get("date"))
            if speaker is not None and not isinstance(speaker, str):
                raise ValueError(f"from must be text, is {kind_of(speaker)}")
        except ValueError as error:
            raise stream.error(f"{where}: {error}") from None
        if not text.strip():
            log.left_out[MEDIA] += 1
        elif kind == _BOT and not options.bots:
            log.left_out[BOTS] += 1
        else:
            log.changed[FORWARDED] += bool(message.get("forwarded_from"))
            name = people.name(message.get("from_id"), speaker or "")
            yield Message(place.conversation, name, text, time, place.title)


def _text(content: object, options: Options) -> str:
    """The text of a message, which is a string or a list of strings and marked parts.

    If speakers are anonymous, placeholders replace the parts that name a person.

    Raises:
        ValueError: it is neither.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError(f"text must be text or a list, is {kind_of(content)}")
    parts = [_shown(part, options) if isinstance(part, Mapping) else part for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise ValueError("a part of text is not text")
    return "".join(texts)


def _shown(part: Mapping[str, Any], options: Options) -> object:
    placeholder = _PERSONAL.get(str(part.get("type"))) if options.anonymous else None
    return placeholder or part.get("text")


FORMAT = Format("telegram", "Telegram chats", recognise, read, interleaved=True, merge=True, gap=6 * HOUR)
