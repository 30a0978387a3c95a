"""Chats of Facebook Messenger and Instagram, as their data downloads write them in JSON.

Open this if an export is not recognised or is read wrongly; `messenger_words` has the program's own words. A download
has a folder for each chat, with files `message_1.json`, `message_2.json` and so on, the newest message first; letters
beyond ASCII are spoilt there in a regular way, which is undone. End-to-end encrypted chats come in one file each, with
other names for the fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, NamedTuple

from dialog_cvae.imports import messenger_words as words
from dialog_cvae.imports.exports import Export, below
from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.times import seconds


class _Names(NamedTuple):
    """Names of a message's fields."""

    sender: str
    time: str
    text: str
    unsent: str


_OPEN: Final = _Names("sender_name", "timestamp_ms", "content", "is_unsent")
_ENCRYPTED: Final = _Names("senderName", "timestamp", "text", "isUnsent")
_PART: Final = re.compile(r"(?:.*/)?message_\d+\.json")
_EVENTS: Final = {"Call", "Payment", "Subscribe", "Unsubscribe"}  # values of `type`, in older downloads
_SENT: Final = ("share", "photos", "videos", "audio_files", "gifs", "files", "sticker")


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a download, a chat for each folder, or those of one file.

    Raises:
        DataError: a file is malformed.
    """
    if not source.is_folder:
        yield from _messages(source.file, "", options, log)
        return
    parts = [file for file in source.files if _PART.fullmatch(file.path)]
    log.notes.append(f"{len({_chat(file) for file in parts}):,} chats")
    for file in parts:
        yield from _messages(file, _chat(file), options, log)


def _is_chat(file: File) -> bool:
    return any(
        {f"messages[].{names.sender}", f"messages[].{names.time}"} <= file.paths for names in (_OPEN, _ENCRYPTED)
    )


def _is_download(source: Source) -> bool:
    """Whether the first of its files of messages is one; a folder without such files is read file by file."""
    first = next((file for file in source.files if _PART.fullmatch(file.path)), None)
    return first is not None and _is_chat(first)


def _export(source: Source) -> Export:
    """All chats; what is in folders below those of the chats was sent in them."""
    parts = [file for file in source.files if _PART.fullmatch(file.path)]
    return Export("", parts, below(source.without(parts), {file.folder for file in parts}))


def _chat(file: File) -> str:
    return "/".join(file.path.split("/")[-2:-1])


def _messages(file: File, chat: str, options: Options, log: Log) -> Iterator[Message]:
    names = _ENCRYPTED if f"messages[].{_ENCRYPTED.sender}" in file.paths else _OPEN
    stream, found = JsonStream(file, options.encoding), False
    people: set[str] = set()
    for key in stream.members():
        if key == "participants":
            people = _people(stream.value(), names)
            continue
        if key != "messages":
            stream.skip()
            continue
        found = True
        for number in stream.items():
            try:
                message = _message(stream.value(), chat, names, people, log)
            except ValueError as error:
                raise stream.error(f"message {number}: {error}") from None
            if message is not None:
                yield message
    if not found:
        raise stream.error("has no messages")


def _people(participants: object, names: _Names) -> set[str]:
    """Names that the program may use for the people in a chat."""
    found: set[str] = set()
    for each in participants if isinstance(participants, list) else ():
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str):
            found |= words.named(_mended(name) if names is _OPEN else name)
    return found


def _message(message: Any, chat: str, names: _Names, people: Set[str], log: Log) -> Message | None:
    """A message, or None if it is left out.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(message, dict):
        raise ValueError(f"must be an object, is {kind_of(message)}")
    speaker, text = (_text(message, name) for name in (names.sender, names.text))
    if names is _OPEN:
        speaker, text = _mended(speaker), _mended(text)
    people = people | words.named(speaker)
    if message.get("type") in _EVENTS or "call_duration" in message or words.is_event(text, people):
        log.left_out[SYSTEM] += 1
        return None
    if not text.strip() or message.get(names.unsent) or _announces(message, speaker, text, people):
        log.left_out[MEDIA] += 1
        return None
    return Message(chat, speaker, text, seconds(message.get(names.time)))


def _text(message: Mapping[str, Any], name: str) -> str:
    """A field that is text, or missing.

    Raises:
        ValueError: it is something else.
    """
    found = message.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{name} must be text, is {kind_of(found)}")
    return found or ""


def _announces(message: Mapping[str, Any], speaker: str, text: str, people: Set[str]) -> bool:
    """Whether the text is the program's, which names the sender of a picture or link: "Ann sent an attachment.".

    Beside a file, a text in any language that begins with the sender's full name is the program's.
    """
    has_file = any(message.get(name) for name in _SENT)
    is_named = bool(speaker) and text.startswith(f"{speaker} ")
    return (has_file and is_named) or words.is_file(text, people, has_file=has_file)


def _mended(text: str) -> str:
    """The text whose UTF-8 was written as if each byte were a character; any other text as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


FORMAT = Format(
    "messenger",
    "a download of Messenger or Instagram",
    _is_download,
    read,
    folder=True,
    export=_export,
    interleaved=True,
    merge=True,
    gap=6 * HOUR,
)
FILE_FORMAT = Format(
    "messenger-file",
    "a chat of Messenger or Instagram",
    lambda source: _is_chat(source.file),
    read,
    interleaved=True,
    merge=True,
    gap=6 * HOUR,
)
