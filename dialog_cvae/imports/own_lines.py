"""Our own format: one conversation a line, as `dialog_cvae.data.readers.jsonl_line` describes it, or a list of these.

Open this to change how such a file is imported. The first problem that prevents reading ends the import;
`dialog-cvae check` lists all problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.json_stream import json_lines, kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source

_FIELDS: Final = {"id", "topic", "prompt", "split", "utterances", "speakers"}
_UTTERANCE_FIELDS: Final = {"speaker", "text", "dialog_act"}


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all lines, or of all elements of a list.

    Raises:
        DataError: a line or an element is malformed.
    """
    file = source.file
    if is_list(file):
        for number, (place, record) in enumerate(records(file, options.encoding), 1):
            try:
                yield from _messages(record, number)
            except ValueError as error:
                raise DataError(file.name, f"{place}: {error}") from None
        return
    for number, record in json_lines(file, options.encoding):
        try:
            yield from _messages(record, number)
        except ValueError as error:
            raise DataError(file.name, str(error), number) from None


def _messages(record: Mapping[str, Any], number: int) -> Iterator[Message]:
    if unknown := record.keys() - _FIELDS:
        raise ValueError(f'unknown field "{min(unknown)}" (known are {", ".join(sorted(_FIELDS))})')
    for name in ("topic", "prompt", "split"):
        if not isinstance(record.get(name), str | None):
            raise ValueError(f"{name} must be text, is {kind_of(record[name])}")
    if not isinstance(record.get("speakers"), dict | None):
        raise ValueError(f"speakers must be an object, is {kind_of(record['speakers'])}")
    utterances = record.get("utterances")
    if not isinstance(utterances, list):
        raise ValueError(f"utterances must be a list, is {kind_of(utterances)}")
    kept = {name: record[name] for name in ("prompt", "split", "speakers") if record.get(name)}
    for index, utterance in enumerate(utterances):
        where = f"utterances[{index}]"
        if not isinstance(utterance, dict):
            raise ValueError(f"{where} must be an object, is {kind_of(utterance)}")
        if unknown := utterance.keys() - _UTTERANCE_FIELDS:
            raise ValueError(f'{where}: unknown field "{min(unknown)}"')
        for name in ("speaker", "text"):
            if not isinstance(utterance.get(name), str):
                raise ValueError(f"{where}.{name} must be text, is {kind_of(utterance.get(name))}")
        act = utterance.get("dialog_act")
        if not isinstance(act, str | None):
            raise ValueError(f"{where}.dialog_act must be text, is {kind_of(act)}")
        name = record.get("id") or ""
        yield Message(
            f"{number}\0{name}", utterance["speaker"], utterance["text"], None, record.get("topic"), act, kept
        )


def is_list(file: File) -> bool:
    """Whether a file is a list."""
    return file.head_text.lstrip("\ufeff \t\r\n").startswith("[")


def _recognise(source: Source) -> bool:
    """Whether there are utterances with a text; a list must have no other fields than ours."""
    paths = source.file.paths
    if "[].utterances[].text" not in paths:
        return "utterances[].text" in paths
    of_record = {path[3:] for path in paths if path.count(".") == 1}
    of_utterance = {path.rpartition(".")[2] for path in paths if path.startswith("[].utterances[].")}
    return of_record <= _FIELDS and of_utterance <= _UTTERANCE_FIELDS


FORMAT = Format("jsonl", "conversations in our own form", _recognise, read)
