"""Files of other programs as a corpus: converted once, into a cache folder, and read from there.

    imported-DIGEST/conversations.jsonl   the conversations, in our own format
    imported-DIGEST/notes.json            what the conversion reported

The digest covers the files' content and the code that converts them. The folder is safe to delete. It holds the texts
as they are; `dialog-cvae import --redact` writes a file without personal data instead.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dialog_cvae.data.cache import CACHE_VARIABLE, OFF
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.download import cache_dir
from dialog_cvae.data.readers import jsonl
from dialog_cvae.errors import DataError
from dialog_cvae.imports import convert, own_lines
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import Options
from dialog_cvae.imports.source import Source, open_source

_CONVERSATIONS, _NOTES = "conversations.jsonl", "notes.json"


class Imported(NamedTuple):
    """A file of conversations in our own format, and notes on where it comes from."""

    path: Path
    notes: tuple[str, ...] = ()


def readable(path: Path) -> Imported:
    """A file of conversations in our own format with what a path holds: the file itself if it is in that format.

    Raises:
        DataError: it cannot be read, is in no known format or is malformed.
    """
    if path.suffix.lower() == jsonl.SUFFIX and not _is_foreign(path):
        return Imported(path)
    source = open_source(path)
    kind = f"imported-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}-"
    entry = _folder() / f"{kind}{_digest(source)}"
    if not all((entry / name).is_file() for name in (_NOTES, _CONVERSATIONS)):
        # what is incomplete, and copies of what the file held before, which hold people's text
        for old in entry.parent.glob(f"{kind}*"):
            shutil.rmtree(old, ignore_errors=True)
        _convert(path, entry)
    return Imported(entry / _CONVERSATIONS, tuple(json.loads((entry / _NOTES).read_text(encoding="utf-8"))))


def files(path: Path) -> Sequence[Path]:
    """The files that a path names: itself, or all below a folder."""
    return [Path(file.name) for file in open_source(path).files] if path.is_dir() else [path]


def _is_foreign(path: Path) -> bool:
    """Whether a .jsonl file is in another format than ours."""
    try:
        source = open_source(path)
        if source.is_folder or not source.file.paths:
            return False
        # Ours in UTF-16, as PowerShell's ">" writes it, is converted too.
        return next(recognised(source))[1] is not own_lines.FORMAT or source.file.encoding.startswith("utf-16")
    except DataError:  # what reads our own format says what is wrong
        return False


def _convert(path: Path, entry: Path) -> None:
    fresh = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
    try:
        report = convert.convert([path], fresh / _CONVERSATIONS, Options())
        notes = [note for part in report.parts for note in (part.title, *part.log.notes, part.counts())]
        (fresh / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
        with suppress(OSError):  # another process was faster
            fresh.rename(entry)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _folder() -> Path:
    """The cache folder, or one for this process if there is none that can be written to."""
    setting = os.environ.get(CACHE_VARIABLE)
    if setting == OFF:
        return _own_folder()
    try:
        folder = Path(setting) if setting else cache_dir() / "imported"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or the account has no home directory
        return _own_folder()
    return folder if os.access(folder, os.W_OK) else _own_folder()


@cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dialog-cvae-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _digest(source: Source) -> str:
    """Changes with the content and the names of the files, and with the code that converts them."""
    digest = hashlib.sha256(f"{source.path.name} {code_digest(convert.__name__)}\n".encode())
    for path in files(source.path):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        digest.update(f"{path.relative_to(source.path) if path != source.path else ''} {content}\n".encode())
    return digest.hexdigest()[:32]
