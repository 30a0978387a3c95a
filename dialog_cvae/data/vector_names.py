"""Find word vectors: a file, or a name that gensim's downloader knows.

Open it to add a published name.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from dialog_cvae.data.corpora import DATA_VARIABLE
from dialog_cvae.data.packaged_vectors import INSTALL, NAME
from dialog_cvae.errors import DataError

_DOWNLOADER_NAME = re.compile(r"[\w-]+")
# Published names of GloVe and the names under which gensim's downloader has the same vectors.
_DOWNLOADER_NAMES: Mapping[str, str] = MappingProxyType(
    {f"glove.6B.{width}d": f"glove-wiki-gigaword-{width}" for width in (50, 100, 200, 300)}
    | {f"glove.twitter.27B.{width}d": f"glove-twitter-{width}" for width in (25, 50, 100, 200)}
)
_PLAIN_NAME = re.compile(r"\w[\w.-]*")


def locate(source: str | Path) -> Path:
    """The file of word vectors, by path or name; downloaded if necessary.

    Raises:
        DataError: it is not found; the message says where to put it, or lists similar names.
    """
    path = Path(source)
    with readable(path):
        if path.is_file():
            return path
    if isinstance(source, str) and source in _DOWNLOADER_NAMES:
        try:
            return _download(_DOWNLOADER_NAMES[source])
        except DataError as error:
            raise DataError(source, f"not found; {_where_to_put(source)}; downloading: {error}") from error
    if isinstance(source, str) and _DOWNLOADER_NAME.fullmatch(source):
        return _download(source)
    if isinstance(source, str) and _PLAIN_NAME.fullmatch(source) and not path.exists():
        raise DataError(
            source,
            f"no such file; {_where_to_put(source)}, or give the path of a GloVe or word2vec file or a name of "
            "gensim's downloader, for example glove-wiki-gigaword-100 (the vectors of glove.6B.100d)",
        )
    kind = "is a folder" if path.is_dir() else "no such file"
    raise DataError(
        path, f"{kind}; word vectors come from a GloVe or word2vec file or by name, for example glove-twitter-200"
    )


def _where_to_put(name: str) -> str:
    stem = name.removesuffix(".gz").removesuffix(".txt")
    place = f"put {stem}.txt (or .txt.gz) in a folder glove below --data-dir or ${DATA_VARIABLE}"
    return f"{INSTALL}; or {place}" if stem == NAME else place


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of the operating system or a decompressor into `DataError`s with the path."""
    try:
        yield
    except EOFError as error:
        raise DataError(path, "the compressed data ends too early; the file is truncated") from error
    except (OSError, zlib.error) as error:
        raise DataError(path, f"cannot be read: {error}") from error


def _download(name: str) -> Path:
    """The file of a name of gensim's downloader; needs no network if it was downloaded before."""
    try:
        from gensim import downloader
    except ImportError as error:
        raise DataError(
            name, "no such file, and downloading by name needs gensim: pip install 'dialog-cvae[train]'"
        ) from error
    cached = Path(downloader.BASE_DIR) / name / f"{name}.gz"
    if cached.is_file():
        return cached
    logger = logging.getLogger(downloader.__name__)
    level = logger.level
    # without a network gensim logs a traceback, and its progress bar would mix with a command's output
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            models = downloader.info(name_only=True)["models"]
            if name in models:
                # with return_path nothing that was downloaded is run
                return Path(downloader.load(name, return_path=True))
    except Exception as error:  # a failed checksum is a plain Exception
        raise DataError(
            name, f"cannot be downloaded ({error}); give the path of a GloVe or word2vec file, or put it at {cached}"
        ) from error
    finally:
        logger.setLevel(level)
    closest = difflib.get_close_matches(name, models, n=3, cutoff=0.0)
    raise DataError(name, f"no such file, and gensim's downloader has no such vectors; closest: {', '.join(closest)}")
