"""Files of other programs as a corpus: converted once, into a cache folder, and read from there.

Open it to change when a file is converted again.

    imported-DIGEST/conversations.jsonl   the conversations, in our own format
    imported-DIGEST/notes.json            what the conversion reported

The digest covers the files' content and the code that converts them. The folder is safe to delete. It holds the
original texts; `dialog-cvae import --redact` writes a file without personal data instead. With the cache off, nothing
stays on disk: the copy is a temporary file of the process.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dialog_cvae.data.cache import ABANDONED, CACHE_VARIABLE, OFF
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.download import cache_dir
from dialog_cvae.data.readers import jsonl
from dialog_cvae.errors import DataError
from dialog_cvae.imports import convert, own_lines
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import Options
from dialog_cvae.imports.signals import signals_as_ctrl_c
from dialog_cvae.imports.source import Source, open_source

_CONVERSATIONS, _NOTES = "conversations.jsonl", "notes.json"
_OPEN_FILES = Path("/proc/self/fd")  # on Linux: the open files of this process, including deleted ones


class Imported(NamedTuple):
    """A file of conversations in our own format, and notes on its origin."""

    path: Path
    notes: tuple[str, ...] = ()


def readable(path: Path, setting: str | None = None) -> Imported:
    """The conversations at a path as a file in our own format: the file itself if it is already in that format.

    Args:
        path: a file or folder.
        setting: the user's setting of the cache; see `open_cache`.

    Raises:
        DataError: the path cannot be read, is in no known format or is malformed.
    """
    if path.suffix.lower() == jsonl.SUFFIX and not _is_foreign(path):
        return Imported(path)
    source = open_source(path)
    kind, digest = f"imported-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}-", _digest(source)
    if (folder := _folder(setting)) is None:
        return _temporary(path, digest)
    entry = folder / f"{kind}{digest}"
    if not all((entry / name).is_file() for name in (_NOTES, _CONVERSATIONS)):
        # delete incomplete copies and those of earlier content, because they hold people's text
        for old in entry.parent.glob(f"{kind}*"):
            shutil.rmtree(old, ignore_errors=True)
        _sweep(entry.parent)
        _convert(path, entry)
    return _opened(entry)


def files(path: Path) -> Sequence[Path]:
    """The files that a path names: itself, or all below a folder."""
    return [Path(file.name) for file in open_source(path).files] if path.is_dir() else [path]


def _is_foreign(path: Path) -> bool:
    """Whether a .jsonl file is in another format than ours."""
    try:
        source = open_source(path)
        if source.is_folder or not source.file.paths:
            return False
        # Ours in UTF-16, as PowerShell's ">" writes it, is converted too, and so is a list.
        is_other = next(recognised(source))[1] is not own_lines.FORMAT
        return is_other or source.file.encoding.startswith("utf-16") or own_lines.is_list(source.file)
    except DataError:  # the reader of our own format will report the problem
        return False


@signals_as_ctrl_c()
def _convert(path: Path, entry: Path) -> None:
    fresh = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
    try:
        report = convert.convert([path], fresh / _CONVERSATIONS, Options())
        notes = [note for part in report.parts for note in (part.title, *part.log.notes, part.counts())]
        (fresh / _NOTES).write_text(json.dumps([*notes, *report.notes]), encoding="utf-8")
        with suppress(OSError):  # another process was faster
            fresh.rename(entry)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Delete what killed processes left of any conversion, because it holds people's text."""
    for path in folder.glob(".imported-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _opened(entry: Path) -> Imported:
    return Imported(entry / _CONVERSATIONS, tuple(json.loads((entry / _NOTES).read_text(encoding="utf-8"))))


def _folder(setting: str | None) -> Path | None:
    """The cache folder; None if there is none or it is not writable."""
    setting = setting or os.environ.get(CACHE_VARIABLE)
    if setting == OFF:
        return None
    try:
        folder = Path(setting) if setting else cache_dir() / "imported"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or the account has no home directory
        return None
    return folder if os.access(folder, os.W_OK) else None


@cache
def _temporary(path: Path, digest: str) -> Imported:
    """A copy for this process alone. On Linux it is deleted while open: nothing remains if the process is killed.

    Args:
        path: a file or folder.
        digest: of its content, so that a changed file is converted again.
    """
    folder = Path(tempfile.mkdtemp(prefix="dialog-cvae-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _convert(path, folder / digest)
    found = _opened(folder / digest)
    if not _OPEN_FILES.is_dir():
        return found
    descriptor = os.open(found.path, os.O_RDONLY)
    shutil.rmtree(folder, ignore_errors=True)
    return found._replace(path=_OPEN_FILES / str(descriptor))


def _digest(source: Source) -> str:
    """A digest that changes with the content and names of the files and with the code that converts them."""
    digest = hashlib.sha256(os.fsencode(f"{source.path.name} {code_digest(convert.__name__)}\n"))
    for path in files(source.path):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        # os.fsencode, because a name need not be UTF-8
        digest.update(os.fsencode(f"{path.relative_to(source.path) if path != source.path else ''} {content}\n"))
    return digest.hexdigest()[:32]
