"""Exports in a folder or archive: which of its files belong to them.

Open this to change which files of a folder belong to an export.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from dialog_cvae.imports.source import File, Source


class Export(NamedTuple):
    """An export in a folder, which may hold other files too.

    Attributes:
        folder: the folder that it is in, for the report; empty for the top.
        files: those that are read, and those known to hold no conversations, such as a list of channels.
        sent: other files, which people sent in its chats.
    """

    folder: str
    files: Sequence[File]
    sent: Sequence[File] = ()


def whole(source: Source) -> Export:
    """All files of a source as one export."""
    return Export("", source.files)


def above(folder: str) -> list[str]:
    """The folders that a folder is in, the nearest first, the top (an empty path) last; none for the top."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:count]) for count in reversed(range(len(parts)))]


def below(source: Source, folders: Collection[str]) -> list[File]:
    """The files in folders below these ones, without those in these folders themselves."""
    return [
        file
        for file in source.files
        if file.folder not in folders and any(each in folders for each in above(file.folder))
    ]
