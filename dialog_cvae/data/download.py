"""Download published files on first use, check them and keep them in the user's cache folder.

Open it to change where files are kept, or how they are checked.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from dialog_cvae.errors import DataError

TIMEOUT = 30.0
"""Seconds without an answer after which a server is considered unreachable."""


class PublishedFile(NamedTuple):
    r"""A file in a public git repository.

    Attributes:
        name: its name in the cache folder.
        url: its address.
        git_blob: its git blob hash, SHA-1 of `blob <bytes>\0` and the content (`git hash-object FILE`), in hex.
    """

    name: str
    url: str
    git_blob: str


SWDA = PublishedFile(
    "swda.zip",
    "https://github.com/cgpotts/swda/raw/master/swda.zip",
    "f47e8488091c89ff8e7055fc38b38518ab7cc160",
)


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/dialog_cvae`, by default `~/.cache/dialog_cvae`; it need not exist.

    A relative $XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "dialog_cvae"


def fetch(spec: PublishedFile, url: str | None = None) -> Path:
    """The file's path in the cache folder; the file is downloaded if it is not there yet.

    An existing file is not checked, because the user may have put another version there.

    Args:
        spec: the file.
        url: a mirror to download from instead.

    Raises:
        DataError: the server cannot be reached or has no such file, the content is not the published one, or the
            cache folder cannot be used. No partial file remains.
    """
    target = cache_dir() / spec.name
    try:
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{spec.name}.")
        os.close(descriptor)
    except OSError as error:
        raise DataError(target, f"the cache folder cannot be used ({error.strerror or error})") from error
    part = Path(name)
    try:
        _download(url or spec.url, part, target)
        found = git_blob_hash(part)
        if found != spec.git_blob:
            raise DataError(
                target, f"{url or spec.url} has changed or was cut short: git blob hash {found}, not {spec.git_blob}"
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _download(url: str, part: Path, target: Path) -> None:
    # Only downloads need these; an installation for serving does not have them.
    import pooch
    import requests

    try:
        pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT, chunk_size=2**16)(url, str(part), None)
    except (requests.RequestException, OSError) as error:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            error.response.close()  # pooch leaves the connection of a failed request open
        raise DataError(
            target,
            f"cannot download {url} ({_reason(error)}); download it by hand, and put it there under this name or below "
            "the folder of --data-dir",
        ) from error


def _reason(error: Exception) -> str:
    """The innermost cause of an error, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}".strip()
    while (cause := error.__cause__ or error.__context__) is not None and isinstance(cause, Exception):
        error = cause
    return f"{type(error).__name__}: {error}"


def git_blob_hash(path: Path) -> str:
    """The hash under which git stores a file's content, in hex."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()
