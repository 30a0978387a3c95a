"""The Action-Based Conversations Dataset (ABCD): of each conversation the original texts, and a form without names.

Open this if such a file is read wrongly. The form without names, `delexed`, has small letters and placeholders, so the
original is read. Lines by `action` say what the agent did in a program; no one speaks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import TURNS, Format, Log, Message, Options
from dialog_cvae.imports.source import Source

_ORIGINAL: Final = "original"
_WITHOUT_NAMES: Final = "delexed"
_ACTION: Final = "action"


def recognise(source: Source) -> bool:
    """Whether conversations in a list, or in lists such as `train`, have both forms."""
    ends = (_ORIGINAL, f"{_WITHOUT_NAMES}[].speaker", f"{_WITHOUT_NAMES}[].text")
    paths = source.file.paths
    prefixes = {path.removesuffix(ends[0]) for path in paths if path.endswith(f"[].{ends[0]}")}
    return any(prefix.count("[]") == 1 and all(prefix + end in paths for end in ends) for prefix in prefixes)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all conversations.

    Raises:
        DataError: the file is malformed.
    """
    log.notes.append(f"the texts are those in {_ORIGINAL!r}, not those in {_WITHOUT_NAMES!r}")
    for number, (place, record) in enumerate(_records(source, options.encoding), 1):
        try:
            yield from _messages(record, number, log)
        except ValueError as error:
            raise DataError(source.file.name, f"{place}: {error}") from None


def _records(source: Source, encoding: str | None) -> Iterator[tuple[str, Any]]:
    """The conversations of a list, or of all lists in an object, each with its place."""
    stream = JsonStream(source.file, encoding)
    if stream.peek() == "[":
        for number in stream.items():
            yield f"element {number}", stream.value()
    else:
        for key in stream.members():
            if stream.peek() != "[":
                stream.skip()
                continue
            for number in stream.items():
                yield f"{key}, element {number}", stream.value()
    stream.end()


def _messages(record: Any, number: int, log: Log) -> Iterator[Message]:
    if not isinstance(record, Mapping):
        raise ValueError(f"must be an object, is {kind_of(record)}")
    turns = record.get(_ORIGINAL)
    if not isinstance(turns, list):
        raise ValueError(f"{_ORIGINAL} must be a list, is {kind_of(turns)}")
    name, scenario = record.get("convo_id"), record.get("scenario")
    topic = scenario.get("flow") if isinstance(scenario, Mapping) else None
    for index, turn in enumerate(turns):
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(part, str) for part in turn)):
            raise ValueError(f"{_ORIGINAL}[{index}] must be a speaker and a text, is {kind_of(turn)}")
        if turn[0] == _ACTION:
            log.left_out[TURNS] += 1
            continue
        yield Message(
            f"{number}\0{name if isinstance(name, str | int) else ''}",
            turn[0],
            turn[1],
            topic=topic.replace("_", " ") if isinstance(topic, str) else None,
        )


FORMAT = Format("abcd", "the Action-Based Conversations Dataset", recognise, read)
