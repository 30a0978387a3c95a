"""The files of a folder that are not read, for the report.

Open this to change which of them are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dialog_cvae.imports.source import File, Source

# Files that may hold conversations. Others, such as pictures, are not reported.
_DATA_SUFFIXES: Final = (
    *(".txt", ".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".html", ".htm", ".xlsx"),
    *(".xml", ".parquet", ".arrow", ".zip", ".gz", ".vtt", ".srt", ".docx", ".rtf", ".mbox", ".eml"),
)
_SHOWN: Final = 5  # most names of files in a line of the report


def may_hold_conversations(file: File) -> bool:
    """Whether a file has the suffix of a kind that may hold conversations."""
    return file.path.lower().endswith(_DATA_SUFFIXES)


class PassedOver:
    """Collects the files of a source that are not read.

    Args:
        source: the folder or archive, which the report names.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._notes: list[str] = []

    def add(self, reason: str, files: Iterable[File], advice: str = "") -> None:
        """Note that files are not read, unless none of them may hold conversations.

        Args:
            reason: why, as a phrase after "files".
            files: the files.
            advice: what to do about them; follows their names.
        """
        data = [file.path for file in files if may_hold_conversations(file)]
        if data:
            names = ", ".join([*data[:_SHOWN], *(["..."] if len(data) > _SHOWN else [])])
            self._notes.append(f"{self._source.path}: passed over: {len(data):,} files {reason} ({names}){advice}")

    @property
    def notes(self) -> Sequence[str]:
        """A line for each reason, with the number of files and the names of the first."""
        return self._notes
