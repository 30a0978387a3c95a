"""Data sets that Hugging Face's `datasets` saved to a folder: `state.json` and Arrow files, for all or each split.

Open this if a data set is not recognised or is read wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.arrow_rows import arrow_table, messages_of_tables
from dialog_cvae.imports.exports import Export
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source

_STATE: Final = "state.json"
_ABOUT: Final = ("dataset_info.json", "dataset_dict.json")


def recognise(source: Source) -> bool:
    """Whether there is a state beside Arrow files."""
    return any(_is_state(file) for file in source.files) and any(f.path.endswith(".arrow") for f in source.files)


def export(source: Source) -> Export:
    """All splits, with what `datasets` saves about them; other Arrow files beside them are caches."""
    folders = {file.folder for file in source.files if _is_state(file)}
    return Export("", [file for file in source.files if _is_saved(file, folders)])


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all splits together.

    Raises:
        DataError: a file that the state names is missing, or as in `messages_of_tables`.
    """
    states = [file for file in source.files if _is_state(file)]
    names = [file.path.rpartition("/")[0] or "." for file in states]
    if len(states) > 1:
        log.notes.append(f"splits {', '.join(names)} are read as one file; a conversation is within one split")
    files = [(name, part) for name, state in zip(names, states, strict=True) for part in _parts(source, state)]
    return messages_of_tables(files, arrow_table, options, log)


def _is_saved(file: File, folders: Collection[str]) -> bool:
    """Whether a file belongs to the data sets whose states are in these folders."""
    return file.base in _ABOUT or (file.folder in folders and (file.base == _STATE or file.base.endswith(".arrow")))


def _is_state(file: File) -> bool:
    return file.base == _STATE and "_data_files" in file.head_text


def _parts(source: Source, state: File) -> Iterator[File]:
    """The Arrow files that a state names, in its order.

    Raises:
        DataError: the state is malformed, or one of these files is missing.
    """
    folder = state.path.removesuffix(_STATE)
    known = {file.path: file for file in source.files}
    try:
        names = [f"{folder}{each['filename']}" for each in json.loads(state.head_text)["_data_files"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(state.name, f"does not list its data files ({type(error).__name__}: {error})") from None
    for name in names:
        if name not in known:
            raise DataError(state.name, f"names {name.removeprefix(folder)}, which is missing")
        yield known[name]


FORMAT = Format(
    "datasets",
    "a data set in a folder of Hugging Face's datasets",
    recognise,
    read,
    folder=True,
    export=export,
    interleaved=True,
)
