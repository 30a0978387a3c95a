"""Skype's `messages.json`, the export of all conversations of an account.

Open this if an export is not recognised or is read wrongly; `_shown` removes the tags of texts. The newest message is
first. Many messages have no name of their sender, so names are collected first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dialog_cvae.imports.html_text import without_entities
from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import BOTS, HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import ME, People
from dialog_cvae.imports.privacy import MENTION
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

QUOTED: Final = "quotes without a text of their own"

_KEYS: Final = {"userId", "conversations", "conversations[].MessageList"}
_PLAIN: Final = "Text"  # type of messages whose text has no tags
_TEXTS: Final = {_PLAIN, "RichText", "RichText/Html"}
_EVENTS: Final = ("Event/", "ThreadActivity/", "EndToEndEncryption/", "Notice", "PopCard", "InviteFree")
_PERSON, _BOT, _GROUP = "8:", "28:", "19:"  # how ids begin
_EDITED: Final = "Edited previous message: "
_QUOTE: Final = re.compile(r"<quote\b[^<>]*>(?:(?!<quote\b).)*?</quote>", re.DOTALL)  # one without another in it
_DEEPEST: Final = 10  # quotes within each other
_NAMED: Final = re.compile(r"<at\b[^<>]*>(?:(?!<at\b).)*?</at>", re.DOTALL)
_LINE: Final = re.compile(r"<br\s*/?>|</(?:p|div|li)>", re.IGNORECASE)
# Other words in angle brackets are text.
_TAG: Final = re.compile(
    r"</?(?:ss|a|b|i|s|u|em|strong|pre|code|at|e_m|c_i|font|blink|flag|legacyquote|quote|nlm|span|div|p|ul|ol|li)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


@dataclass
class _Known:
    """What is known of an account before its messages are read.

    Attributes:
        owner: id of the account.
        names: of people, by id.
        chats: the fields of each conversation, by its number.
    """

    owner: str = ""
    names: dict[str, str] = field(default_factory=dict)
    chats: dict[int, dict[str, Any]] = field(default_factory=dict)

    def name(self, identity: str) -> str:
        """The name of a person; without one, the id, and `Me` for the owner."""
        return self.names.get(identity) or (
            ME if identity == self.owner else identity.partition(":")[2].removeprefix("live:") or identity
        )

    def title(self, number: int) -> str:
        """The name of a conversation."""
        chat = self.chats.get(number, {})
        return str(chat.get("displayName") or chat.get("id") or "")

    def topic(self, number: int) -> str | None:
        """The topic of a group; None for the talk of two, which is named after a person."""
        chat = self.chats.get(number, {})
        properties = chat.get("threadProperties")
        topic = properties.get("topic") if isinstance(properties, Mapping) else None
        is_group = str(chat.get("id")).startswith(_GROUP)
        return str(topic or chat.get("displayName") or "") or None if is_group else None


def recognise(source: Source) -> bool:
    """Whether the keys are those of an export."""
    return source.file.paths >= _KEYS


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all conversations, one conversation after another; the file is read twice.

    Raises:
        DataError: the file is malformed.
    """
    known = _known(source, options)
    people = People(log)
    for stream, number, key in _members(source, options):
        if key != "MessageList":
            stream.skip()
            continue
        for place, message in _messages(stream, number):
            try:
                found = _message(message, number, known, people, options, log)
            except ValueError as error:
                raise stream.error(f"{place}: {error}") from None
            if found is not None:
                yield found


def _known(source: Source, options: Options) -> _Known:
    known = _Known()
    for stream, number, key in _members(source, options):
        if key == "MessageList":
            for _, message in _messages(stream, number):
                if isinstance(name := message.get("displayName"), str) and name.strip():
                    known.names[str(message.get("from"))] = name
        elif number == 0:
            known.owner = str(stream.value())
        else:
            known.chats.setdefault(number, {})[key] = stream.value()
    for chat in known.chats.values():
        identity, name = str(chat.get("id")), chat.get("displayName")
        if identity.startswith(_PERSON) and isinstance(name, str) and name.strip():
            known.names.setdefault(identity, name)
    return known


def _members(source: Source, options: Options) -> Iterator[tuple[JsonStream, int, str]]:
    """The keys of each conversation, with its number from 1, and the account's id as 0; the caller reads each value."""
    stream, found = JsonStream(source.file, options.encoding), False
    for key in stream.members():
        if key == "userId":
            yield stream, 0, key
        elif key == "conversations":
            found = True
            for number in stream.items():
                for inner in stream.members():
                    yield stream, number, inner
        else:
            stream.skip()
    if not found:
        raise stream.error("has no conversations")


def _messages(stream: JsonStream, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages of a conversation, each with its place."""
    if stream.peek() == "n":  # null
        stream.skip()
        return
    for index in stream.items():
        message, place = stream.value(), f"conversation {number}, message {index}"
        if not isinstance(message, dict):
            raise stream.error(f"{place} must be an object, is {kind_of(message)}")
        yield place, message


def _message(
    message: Mapping[str, Any], number: int, known: _Known, people: People, options: Options, log: Log
) -> Message | None:
    """A message, or None if it is left out.

    Raises:
        ValueError: it is malformed.
    """
    kind, sender, content = str(message.get("messagetype")), message.get("from"), message.get("content")
    if not isinstance(sender, str):
        raise ValueError(f"from must be text, is {kind_of(sender)}")
    if not isinstance(content, str | None):
        raise ValueError(f"content must be text, is {kind_of(content)}")
    text = (content or "") if kind == _PLAIN else _shown(content or "", options)
    reason = None
    if kind not in _TEXTS:
        reason = SYSTEM if kind.startswith(_EVENTS) else MEDIA
    elif sender.startswith(_BOT) and not options.bots:
        reason = BOTS
    elif not text.strip():
        reason = QUOTED if content and "<quote" in content else MEDIA
    if reason is not None:
        log.left_out[reason] += 1
        return None
    conversation = f"{number}\0{known.title(number)}"
    time = seconds(message.get("originalarrivaltime"))
    return Message(conversation, people.name(sender, known.name(sender)), text, time, known.topic(number))


def _shown(content: str, options: Options) -> str:
    """The text that a person wrote: without what it quotes, without tags, and with characters for entities."""
    if "<e_m" in content:
        content = content.removeprefix(_EDITED)
    for _ in range(_DEEPEST):
        content = _QUOTE.sub("", content)
    if options.anonymous:
        content = _NAMED.sub(MENTION, content)
    return without_entities(_TAG.sub("", _LINE.sub("\n", content)))


FORMAT = Format("skype", "Skype conversations", recognise, read, interleaved=True, merge=True, gap=6 * HOUR)
