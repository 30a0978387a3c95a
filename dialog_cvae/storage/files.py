"""Files and folders that are written whole or not at all.

Open it to save anything that a reader may open meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from dialog_cvae.errors import CheckpointError, DialogCvaeError, NotWrittenError


def replace_folder(path: Path, parts: Mapping[str, bytes]) -> None:
    """Write files into a new folder and put it in the place of `path`, or of what it links to.

    The old folder is renamed for the moment between two renames. If the process dies there, `Checkpoint.load` finds it
    under that name.

    Raises:
        DialogCvaeError: the folder cannot be written; what was there is untouched.
    """
    with _written(path):
        path = _linked(path)
        fresh, previous = _beside(path, "new"), previous_name(path)
        if path.exists() and not path.is_dir():
            raise CheckpointError(f"{path}: is a file; a checkpoint is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(fresh)
        try:
            fresh.mkdir()
            for name, data in parts.items():
                _write(fresh / name, data)
            if path.exists():
                _remove(previous)
                path.rename(previous)
            try:
                fresh.rename(path)
            except OSError:
                if previous.exists():
                    previous.rename(path)
                raise
        finally:
            _remove(fresh)
        _remove(previous)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers see either the old or the new content.

    Raises:
        DialogCvaeError: the file cannot be written; what was there is untouched.
    """
    fresh = _beside(path, "new")
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(fresh, data)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def move_into_place(source: Path, target: Path) -> None:
    """Copy a file to its place so that readers see the whole of it or nothing; the folders above are created.

    Raises:
        DialogCvaeError: it cannot be written; what was there is untouched.
    """
    fresh = _beside(target, "new")
    with _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, fresh)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, and of paths that cannot exist, into errors of ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotWrittenError(f"{path}: cannot be written ({reason})") from None


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """Delete a folder as far as possible; of a link the link alone."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def previous_name(path: Path) -> Path:
    """Where the old folder is while `replace_folder` replaces it."""
    return _beside(_linked(path), "previous")


def _linked(path: Path) -> Path:
    """What a link points to in the end, which may be missing; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _beside(path: Path, role: str) -> Path:
    """A hidden name in the same folder as `path`.

    Raises:
        DialogCvaeError: the path has no final name, such as `.` and `/`.
    """
    if not path.name:
        raise DialogCvaeError(f"{path}: cannot be written (the path has no final name)")
    return path.with_name(f".{path.name}.{role}")
