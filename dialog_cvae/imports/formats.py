"""The table of formats, and which of them a source is in.

Open this to add a format: write a module with a `Format`, and name it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.imports import (
    convokit,
    delimited,
    discord,
    hugging_face,
    own_lines,
    parquet,
    schema_guided,
    slack,
    telegram,
    turns,
    whatsapp,
)
from dialog_cvae.imports.message import Format
from dialog_cvae.imports.source import Source

# The first that recognises a source reads it: what is more particular comes first.
FORMATS: Final = {
    each.name: each
    for each in (
        own_lines.FORMAT,
        turns.CHAT_FORMAT,
        turns.SHAREGPT_FORMAT,
        schema_guided.FORMAT,
        telegram.FORMAT,
        discord.JSON_FORMAT,
        discord.CSV_FORMAT,
        convokit.FORMAT,
        convokit.FILE_FORMAT,
        slack.FORMAT,
        hugging_face.FORMAT,
        parquet.FORMAT,
        whatsapp.FORMAT,
        delimited.FORMAT,
    )
}
_GZIP: Final = b"\x1f\x8b"


def recognised(source: Source, forced: str | None = None) -> Iterator[tuple[Source, Format]]:
    """The parts of a source that are in a known format, each with its format.

    A folder or archive is one part if its format is that of a folder; else each of its files is one, and files in no
    known format, such as pictures, are passed over.

    Args:
        source: a file, a folder or an archive.
        forced: name of the format; None recognises it.

    Raises:
        ConfigError: there is no such format.
        DataError: nothing in the source is in a known format, or in the forced one.
    """
    if forced is not None and forced not in FORMATS:
        raise ConfigError(f"there is no format {forced!r}: choose from {', '.join(FORMATS)}")
    if forced is not None:
        yield from _forced(source, FORMATS[forced])
        return
    # A folder as a whole, or a file.
    whole = next(
        (each for each in FORMATS.values() if each.folder is source.is_folder and each.recognise(source)), None
    )
    if whole is not None:
        yield source, whole
        return
    # The files of a folder.
    found = False
    for file in source.files if source.is_folder else ():
        part = source.single(file)
        kind = next((each for each in FORMATS.values() if not each.folder and each.recognise(part)), None)
        if kind is not None:
            found = True
            yield part, kind
    if not found:
        raise DataError(source.path, _unknown(source))


def _forced(source: Source, kind: Format) -> Iterator[tuple[Source, Format]]:
    if kind.folder is source.is_folder:
        yield source, kind
    elif kind.folder:
        raise DataError(source.path, f"is a file, but {kind.title} is a folder or a zip archive")
    else:
        parts = [source.single(file) for file in source.files]
        found = [part for part in parts if kind.recognise(part)]
        if not found:
            raise DataError(source.path, f"has no file that looks like {kind.title}")
        yield from ((part, kind) for part in found)


def _unknown(source: Source) -> str:
    names = ", ".join(FORMATS)
    if source.is_folder:
        return f"none of its {len(source.files):,} files is in a known format ({names})"
    if source.file.head.startswith(_GZIP):
        return "is compressed with gzip: unpack it first"
    if source.file.paths:
        keys = ", ".join(sorted(source.file.paths)[:8])
        return f"is in no known format: its JSON has the keys {keys} (known formats: {names})"
    return f"is in no known format ({names}); --format forces one"
