"""ConvoKit corpora: `utterances.jsonl`, with names of conversations and speakers, and `conversations.json`.

Open this if a corpus is not recognised or is read wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.exports import Export
from dialog_cvae.imports.json_stream import JsonStream, json_lines, kind_of
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.times import seconds

_UTTERANCES: Final = "utterances.jsonl"
_CONVERSATIONS: Final = "conversations.json"
# What ConvoKit saves beside them.
_ABOUT: Final = re.compile(r"(?:speakers|users|corpus|index)\.json|info\..+\.jsonl")
_TOPIC_FIELDS: Final = ("topic", "subject", "title")  # keys of a conversation's metadata


def recognise(source: Source) -> bool:
    """Whether the source has the utterances of a corpus."""
    return any(_is_corpus(file) for file in source.files)


def export(source: Source) -> Export:
    """The first corpus of a source."""
    folder = next(file.folder for file in source.files if _is_corpus(file))
    beside = (file for file in source.files if file.folder == folder)
    files = [file for file in beside if file.base in (_UTTERANCES, _CONVERSATIONS) or _ABOUT.fullmatch(file.base)]
    return Export(folder, files)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a corpus.

    Raises:
        DataError: a line is malformed, or the utterances are missing.
    """
    file = source.named(_UTTERANCES)
    if file is None:
        raise DataError(source.path, f"has no {_UTTERANCES}")
    metadata = source.named(_CONVERSATIONS)
    topics = {} if metadata is None else _topics(metadata, options, log)
    return _messages(file, topics, options)


def read_alone(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a file of utterances without the rest of its corpus.

    Raises:
        DataError: a line is malformed.
    """
    return _messages(source.file, {}, options)


def _messages(file: File, topics: Mapping[str, str], options: Options) -> Iterator[Message]:
    for number, record in json_lines(file, options.encoding):
        try:
            yield _message(record, topics)
        except ValueError as error:
            raise DataError(file.name, str(error), number) from None


def _message(record: Mapping[str, Any], topics: Mapping[str, str]) -> Message:
    conversation = record.get("conversation_id", record.get("root"))
    speaker = record.get("speaker", record.get("user"))
    speaker = speaker.get("id") if isinstance(speaker, Mapping) else speaker
    text = record.get("text")
    for name, value in (("conversation_id", conversation), ("speaker", speaker)):
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"{name} must be text, is {kind_of(value)}")
    if not isinstance(text, str | None):
        raise ValueError(f"text must be text, is {kind_of(text)}")
    time = seconds(record.get("timestamp")) if not isinstance(record.get("timestamp"), list | dict) else None
    return Message(
        str(conversation),
        str(speaker),
        text or "",
        time,
        topics.get(str(conversation)),
        id=_link(record.get("id")),
        reply_to=_link(record.get("reply-to", record.get("reply_to"))),
    )


def _link(name: object) -> str | None:
    """The name of a message, limited to characters that a database can hold; None if there is none."""
    return ascii(str(name)) if isinstance(name, str | int) else None


def _topics(file: File, options: Options, log: Log) -> dict[str, str]:
    """The topic of each conversation that has one."""
    found: dict[str, str] = {}
    stream = JsonStream(file, options.encoding)
    for name in stream.members():
        about = stream.value()
        metadata = about.get("meta", about) if isinstance(about, dict) else {}
        for field in (options.columns.get("topic"), *_TOPIC_FIELDS):
            if isinstance(metadata, dict) and isinstance(topic := metadata.get(field), str):
                found[name] = topic
                break
    if found:
        log.notes.append(f"topics of {len(found):,} conversations are in their metadata")
    return found


def _is_corpus(file: File) -> bool:
    return file.base == _UTTERANCES and _is_utterances(file)


def _is_utterances(file: File) -> bool:
    return (
        "text" in file.paths
        and {"conversation_id", "root"} & file.paths != set()
        and bool({"speaker", "user", "speaker.id", "user.id"} & file.paths)
    )


FORMAT = Format("convokit", "a ConvoKit corpus", recognise, read, folder=True, export=export, interleaved=True)
FILE_FORMAT = Format(
    "convokit-file",
    "utterances of a ConvoKit corpus",
    lambda source: _is_utterances(source.file),
    read_alone,
    interleaved=True,
)
