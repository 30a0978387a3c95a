"""A cache folder for data computed from a corpus or a checkpoint, valid while its origin is unchanged.

Open it to change when an entry is valid, or how it is stored.

    KIND-DIGEST/manifest.json   origin of the entry, and the SHA-256 of each of its files
    KIND-DIGEST/NAME.npy        arrays, which are memory-mapped

An entry that is damaged or has another origin is rebuilt. A folder that cannot be written to is reported once and not
used. Processes may share a folder: an entry is written under another name and then renamed, and open files stay valid
if an entry is replaced. The folder is safe to delete.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.download import cache_dir
from dialog_cvae.errors import DialogCvaeError

CACHE_VARIABLE = "DIALOG_CVAE_CACHE"
OFF = "off"
FORMAT = 1
MANIFEST = "manifest.json"
_HALF_WRITTEN = re.compile(r"\.[a-z]+-[0-9a-f]{32}\.\w{8}(\.old)?")
ABANDONED = 24 * 3600.0  # seconds after which no process can still be writing an entry
# Errors that reading a file of arbitrary content can raise.
_UNUSABLE = (
    OSError,
    EOFError,
    ArithmeticError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    RecursionError,
    DialogCvaeError,
)

_MOVES_OPEN_FILES = os.name != "nt"  # whether a folder with open or mapped files can be renamed
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)  # errors of renaming a folder to a name in use

T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of entry.

    Attributes:
        name: first part of the entry's name.
        pack: turns a value into arrays by name.
        unpack: the reverse; raises ValueError or a DialogCvaeError if the arrays do not come from `pack`.
    """

    name: str
    pack: Callable[[T], Arrays]
    unpack: Callable[[Arrays], T]


class Cache:
    """Entries in a folder.

    Args:
        folder: need not exist; None keeps nothing.
        say: receives a line for each invalid entry, and for a folder that cannot be used.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], object]) -> None:
        self._folder, self._say = folder, say
        self._writable = folder is not None

    def get(self, kind: Kind[T], origin: Mapping[str, Any], make: Callable[[], T]) -> T:
        """The entry of this kind and origin; if there is none, it is computed and stored.

        Args:
            kind: the kind of entry.
            origin: everything that the entry depends on, as JSON.
            make: computes the entry.
        """
        if self._folder is None:
            return make()
        spelt = json.dumps(origin, sort_keys=True)
        path = self._folder / f"{kind.name}-{hashlib.sha256(spelt.encode()).hexdigest()[:32]}"

        def found(entry: Path) -> T:
            return kind.unpack(_open(entry, spelt))

        try:
            if path.exists():
                return found(path)
        except _UNUSABLE as error:
            self._say(f"cache: {path} is invalid and is rebuilt ({_reason(error)})")
        made = make()
        if not self._writable:
            return made
        try:
            return _kept(path, spelt, kind.pack(made), found)
        except OSError as error:
            self._writable = False
            self._say(f"cache: {self._folder} cannot be written to ({_reason(error)}); going on without it")
            return made


def open_cache(setting: str | None, say: Callable[[str], object], name: str = "corpora") -> Cache:
    """The cache in the folder `setting`, else in $DIALOG_CVAE_CACHE, else in the user's cache; "off" disables it.

    Args:
        setting: the user's setting, if any.
        say: see `Cache`.
        name: name of the folder within the user's own cache.
    """
    folder = setting or os.environ.get(CACHE_VARIABLE)
    if folder == OFF:
        return Cache(None, say)
    try:
        return Cache(Path(folder) if folder else cache_dir() / name, say)
    except RuntimeError as error:  # the account has no home directory
        say(f"cache: {error} ({CACHE_VARIABLE} names a folder); going on without it")
        return Cache(None, say)


def _kept(path: Path, origin: str, arrays: Arrays, found: Callable[[Path], T]) -> T:
    """Write an entry, and return it as read from its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        hashes = {}
        for name, values in arrays.items():
            np.save(fresh / f"{name}.npy", values, allow_pickle=False)
            hashes[name] = _sha256(fresh / f"{name}.npy")
        manifest = {"format": FORMAT, "origin": json.loads(origin), "sha256": hashes}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        if not _MOVES_OPEN_FILES:
            _publish(fresh, path, found)
            return found(path)
        kept = found(fresh)
        _publish(fresh, path, found)
        return kept
    finally:
        _remove(fresh)


def _open(path: Path, origin: str) -> Arrays:
    """The arrays of an entry, each checked against its hash.

    Raises:
        OSError, LookupError, TypeError, ValueError: the entry is damaged or has another origin.
    """
    manifest = json.loads((path / MANIFEST).read_bytes())
    if manifest["format"] != FORMAT or json.dumps(manifest["origin"], sort_keys=True) != origin:
        raise ValueError(f"{MANIFEST} has another origin")
    arrays = {}
    for name, expected in manifest["sha256"].items():
        file = path / f"{name}.npy"
        if not name.isidentifier() or _sha256(file) != expected:
            raise ValueError(f"{file.name} was changed or cut short")
        arrays[name] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    return arrays


def _publish(fresh: Path, path: Path, found: Callable[[Path], object]) -> None:
    """Move an entry into place, unless another process has put a valid one there in the meantime."""
    if _renamed(fresh, path):
        return
    with suppress(*_UNUSABLE):
        found(path)
        return
    aside = Path(f"{fresh}.old")
    with suppress(FileNotFoundError):  # another process has removed it
        path.rename(aside)
    _remove(aside)
    _renamed(fresh, path)


def _renamed(old: Path, new: Path) -> bool:
    """Rename a folder; returns False if the new name is in use."""
    try:
        old.rename(new)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _sweep(folder: Path) -> None:
    """Remove only incomplete entries of killed processes: the folder may hold other files of the user."""
    for path in folder.glob(".*"):
        with suppress(OSError):
            if _HALF_WRITTEN.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED:
                _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0]
