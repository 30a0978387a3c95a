"""From messages to conversations: cleans text, merges runs of one speaker, divides at silences, respects the limits.

Open this to change where a conversation is divided, or what is removed from a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

import regex

from dialog_cvae import limits
from dialog_cvae.imports.message import Log, Message

INVISIBLE: Final = "messages without visible text"
MERGED: Final = "messages merged into the one before"
SHORT_TEXT: Final = f"texts shortened to {limits.MAX_TEXT_CHARS:,} characters"
SHORT_NAME: Final = f"names of speakers shortened to {limits.MAX_SPEAKER_CHARS} characters"
SHORT_TOPIC: Final = f"topics shortened to {limits.MAX_TOPIC_CHARS:,} characters"
NAMELESS: Final = "messages without a speaker"
CONTROLS: Final = "texts with control characters, which were removed"
ALONE: Final = "conversations of a single message, which has no reply"
DIVIDED: Final = "conversations divided because they are very long"
MAX_CHARS: Final = 2_000_000  # limit for a conversation, so that its line stays within the limit of a line

_UNWANTED: Final = regex.compile(r"[[\p{Cc}\p{Cs}]--[\t\n\r]]", regex.V1)


class Thread(NamedTuple):
    """The messages of one conversation, in their order; at least two."""

    messages: list[Message]


def cleaned(messages: Iterable[Message], log: Log) -> Iterator[Message]:
    """Messages as our own format requires them, without those that lack text or speaker.

    If such a message has an id, it is kept without text, because others may reply to it; `grouped_by_conversation`
    leaves it out.
    """
    kept: Mapping[str, Any] | None = None
    cleaned_kept = kept
    for message in messages:
        text, speaker, topic = _clean(message.text, log), _name(message.speaker), message.topic
        conversation = _UNWANTED.sub("", message.conversation.replace("\0", "\ue000")).replace("\ue000", "\0")
        if not text or not speaker:
            log.left_out[NAMELESS if text else INVISIBLE] += 1
            if message.id is not None:
                yield message._replace(conversation=conversation, speaker=speaker, text="", topic=None)
            continue
        if topic is not None:
            topic = short_topic(_name(topic), log) or None
        if message.kept is not kept:  # most messages of a conversation share the same fields
            kept, cleaned_kept = message.kept, _cleaned_fields(message.kept or {}, log)
        yield message._replace(
            conversation=conversation,
            text=short_text(text, log),
            speaker=_short(speaker, limits.MAX_SPEAKER_CHARS, SHORT_NAME, log),
            topic=topic,
            dialog_act=_visible(message.dialog_act or "") or None,
            kept=cleaned_kept,
        )


def short_text(text: str, log: Log) -> str:
    """A text of at most the length that our own format allows."""
    return _short(text, limits.MAX_TEXT_CHARS, SHORT_TEXT, log)


def short_topic(topic: str, log: Log) -> str:
    """A topic of at most the length that our own format allows."""
    return _short(topic, limits.MAX_TOPIC_CHARS, SHORT_TOPIC, log)


def _cleaned_fields(kept: Mapping[str, Any], log: Log) -> Mapping[str, Any]:
    """Further fields of a conversation, without what UTF-8 cannot hold; profiles get the cleaned names of speakers."""
    found = {name: _visible(value) if isinstance(value, str) else value for name, value in kept.items()}
    if isinstance(profiles := kept.get("speakers"), Mapping):
        profiles = json.loads(_UNWANTED.sub("", json.dumps(profiles, ensure_ascii=False)))
        short = {name: _short(_name(name), limits.MAX_SPEAKER_CHARS, SHORT_NAME, log) for name in profiles}
        found["speakers"] = {short[name]: profile for name, profile in profiles.items()}
    return {name: value for name, value in found.items() if value != ""}


def _visible(text: str) -> str:
    """Text without control characters; empty if it has no visible character."""
    found = _UNWANTED.sub("", text)
    return limits.normal(found).strip() if limits.visible(found) else ""


def threads(messages: Iterable[Message], *, merge: bool, gap: float, log: Log) -> Iterator[Thread]:
    """Conversations of at least two messages.

    Args:
        messages: grouped by conversation.
        merge: whether successive messages of one speaker become one, each on its own line.
        gap: seconds of silence that divide a conversation unless it is a thread; 0: never.
        log: counts what is merged and left out.
    """
    for _, group in groupby(messages, key=lambda message: message.conversation):
        for part in _divided(group, gap, log):
            said = _merged(part, log) if merge else part
            if len(said) > 1:
                yield Thread(said)
            else:
                log.changed[ALONE] += 1


def _divided(messages: Iterable[Message], gap: float, log: Log) -> Iterator[list[Message]]:
    """The parts of a conversation between silences, each small enough for a line."""
    part: list[Message] = []
    characters, latest = 0, None
    for message in messages:
        may_end = bool(gap) and not message.in_thread
        is_late = may_end and latest is not None and message.time is not None and message.time - latest > gap
        is_long = len(part) == limits.MAX_UTTERANCES or characters + len(message.text) > MAX_CHARS
        if part and (is_late or is_long):
            log.changed[DIVIDED] += is_long and not is_late
            yield part
            part, characters = [], 0
        part.append(message)
        characters += len(message.text) + len(message.speaker)
        latest = message.time if message.time is not None else latest
    if part:
        yield part


def _merged(messages: list[Message], log: Log) -> list[Message]:
    found: list[Message] = []
    texts: list[str] = []
    room = 0
    for message in messages:
        length = len(message.text) + 1
        if found and found[-1].speaker == message.speaker and length <= room:
            texts.append(message.text)
            room -= length
            log.changed[MERGED] += 1
            continue
        if found:
            found[-1] = found[-1]._replace(text="\n".join(texts))
        found.append(message)
        texts, room = [message.text], limits.MAX_TEXT_CHARS - len(message.text)
    found[-1] = found[-1]._replace(text="\n".join(texts))
    return found


def _clean(text: str, log: Log) -> str:
    """Text without control characters, in its normal form; empty if it has no visible character."""
    if text.isascii() and text.isprintable():
        return text.strip()
    text = text.replace("\r\n", "\n")
    without = _UNWANTED.sub("", text)
    log.changed[CONTROLS] += without != text
    return limits.normal(without).strip() if limits.visible(without) else ""


def _name(name: str) -> str:
    """A name on one line."""
    if name.isascii() and name.isprintable():
        return name.strip()
    found = " ".join(_UNWANTED.sub("", name).split())
    return limits.normal(found) if limits.visible(found) else ""


def _short(text: str, limit: int, kind: str, log: Log) -> str:
    if len(text) <= limit:
        return text
    log.changed[kind] += 1
    return text[:limit].strip()
