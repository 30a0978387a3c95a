"""From the name or path of a corpus to its conversations: where files are searched, and which reader reads them.

Open it to add a corpus.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from dialog_cvae.config import SENTENCE_CORPORA, DataConfig
from dialog_cvae.data import download, imported
from dialog_cvae.data.readers import jsonl, ptb, sample, swda, swda_files, toy, yelp, zhao2017
from dialog_cvae.data.roles import with_roles
from dialog_cvae.errors import DataError
from dialog_cvae.types import Conversation, Corpus

Split = Literal["train", "valid", "test"]

DATA_VARIABLE = "DIALOG_CVAE_DATA"
NAMES = ("swda", "zhao2017", "sample")  # conversations; `dialog_cvae.config.SENTENCE_CORPORA` are sentences
SYNTHETIC: Mapping[str, tuple[Callable[[], Corpus], Sequence[Path]]] = {
    "sample": (sample.read, sample.SOURCE_FILES),
    "toy": (toy.read, toy.SOURCE_FILES),
}
_PLACES = {
    "swda": ("swda/swda.zip", "swda.zip", "swda", "."),
    "zhao2017": ("zhao2017", ".", "json_data"),  # the last as in a clone of the published repository
    "ptb": ("ptb", "."),
    "yelp": ("yelp", "."),
    "yelp-full": ("yelp", "."),
}
_YELP_FULL = tuple(name for names in yelp.FULL_FILES.values() for name in names)
_EVIDENCE = {
    "swda": ("swda.zip", "*/swda.zip", "swda-metadata.csv", "*/swda-metadata.csv", "*/*/swda-metadata.csv"),
    "zhao2017": ("train.jsonl", "valid.jsonl", "test.jsonl", "*.p"),
    "ptb": tuple(ptb.FILES.values()),
    "yelp": (*yelp.SHORT_FILES.values(), *_YELP_FULL),
    "yelp-full": _YELP_FULL,
}
_WANTED = {
    "zhao2017": "train.jsonl, valid.jsonl and test.jsonl",
    "ptb": "ptb.train.txt, ptb.valid.txt and ptb.test.txt",
    "yelp": "short_s10.train.tsv, short_s10.dev.tsv and short_s10.test.tsv",
    "yelp-full": ", ".join(_YELP_FULL),
}
_YELP: Mapping[str, yelp.Part] = {"yelp": "short", "yelp-full": "full"}


def resolve(config: DataConfig) -> DataConfig:
    """Replace the name `auto` by `swda` if its file is found, else by `sample`."""
    if config.name != "auto":
        return config
    return config.model_copy(update={"name": "sample" if find("swda", config.dir) is None else "swda"})


def load_corpus(config: DataConfig, cache: str | None = None) -> Corpus:
    """Read the corpus that a configuration names; `swda` is downloaded if it is not found.

    Args:
        config: names it.
        cache: the user's setting, see `open_cache`; it decides whether a file in another format leaves a copy on disk.

    Raises:
        DataError: the file is missing or malformed, or the name is unknown.
        ConfigError: no speaker has a name of `respond_as`.
    """
    return with_roles(_read(resolve(config), cache), config.respond_as)


def _read(config: DataConfig, cache: str | None) -> Corpus:
    path = locate(config)
    if path is None:
        return SYNTHETIC[config.name][0]()
    if config.name == "swda":
        return swda.read(path, config.style)
    if config.name == "zhao2017":
        return zhao2017.read(path)
    if config.name == "ptb":
        return ptb.read(path)
    if config.name in _YELP:
        return yelp.read(path, _YELP[config.name])
    return _own(path, config, cache)


def locate(config: DataConfig) -> Path | None:
    """The path of a corpus, None for a synthetic one; `swda` is downloaded if it is not found.

    Raises:
        DataError: the corpus is not found, or the name is unknown.
    """
    if config.name in SYNTHETIC:
        return None
    if config.name == "swda":
        return find("swda", config.dir) or download.fetch(download.SWDA)
    if config.name in _WANTED:
        return _found(config)
    path = Path(config.name)
    if path.exists() and path.name not in ("", ".."):
        return path
    if not config.name.lower().endswith(jsonl.SUFFIX):
        raise DataError(
            config.name,
            f"unknown corpus; known are {', '.join(NAMES)} and the path of a .jsonl file or of a chat or data set that "
            "dialog-cvae import reads",
        )
    raise DataError(path, f"cannot be read ({os.strerror(errno.ENOENT)})")


def is_path(name: str) -> bool:
    """Whether the name of a corpus is the path of a user's own file."""
    return name not in (*NAMES, *SENTENCE_CORPORA, "auto")


def source_files(config: DataConfig) -> Sequence[Path]:
    """The files that `load_corpus` reads; for a synthetic corpus, the code that generates it.

    Raises:
        DataError: as `locate`.
    """
    config = resolve(config)
    path = locate(config)
    if path is None:
        return SYNTHETIC[config.name][1]
    if config.name == "swda":
        return swda_files.source_files(path)
    if config.name == "ptb":
        return ptb.source_files(path)
    if config.name in _YELP:
        return yelp.source_files(path, _YELP[config.name])
    return zhao2017.source_files(path) if config.name == "zhao2017" else imported.files(path)


def load_split(config: DataConfig, split: Split) -> tuple[str, Sequence[Conversation]]:
    """The corpus's name and the conversations of one split, in memory. `zhao2017` needs only the file of this split.

    Raises:
        DataError, ConfigError: as `load_corpus`.
    """
    if config.name == "zhao2017":
        corpus = with_roles(zhao2017.read(_found(config), splits=(split,)), config.respond_as)
    else:
        corpus = load_corpus(config)
    conversations: Sequence[Conversation] = list(getattr(corpus, split))
    return corpus.name, conversations


def find(name: str, folder: Path | None) -> Path | None:
    """The path of a corpus: below `folder`, else below $DIALOG_CVAE_DATA, else in the download cache; None if nowhere.

    Raises:
        DataError: `folder`, or the environment's folder when it is searched, does not exist.
    """
    for root in _roots(folder):
        for place in _PLACES[name]:
            path = root / place
            if path.is_file() or (path.is_dir() and any(any(path.glob(pattern)) for pattern in _EVIDENCE[name])):
                return path
    return None


def find_vectors(name: str, folder: Path | None) -> Path | None:
    """A word vector file in a folder `glove` next to the corpora, by a published name such as `glove.6B.100d`.

    `glove.6B.100d.txt` matches this name, and so does `glove.6B.100d.subset.txt.gz`.
    """
    for root in _roots(folder):
        for path in sorted(root.glob("glove/*")):
            if path.is_file() and (path.name == name or (name and path.name.startswith(f"{name}."))):
                return path
    return None


def _own(path: Path, config: DataConfig, cache: str | None) -> Corpus:
    """A user's own conversations; files in other formats are converted first."""
    found = imported.readable(path, cache)
    try:
        corpus = jsonl.read(
            found.path, valid_share=config.valid_share, test_share=config.test_share, reading=config.reading
        )
    except DataError as error:
        if found.path == path:
            raise
        raise DataError(path, error.reason) from None
    return corpus._replace(name=path.stem, notes=(*found.notes, *corpus.notes))


def _found(config: DataConfig) -> Path:
    """The path of a corpus that cannot be downloaded automatically."""
    name = config.name
    if (path := find(name, config.dir)) is None:
        raise DataError(
            name, f"not found; put {_WANTED[name]} in a folder {_PLACES[name][0]} below --data-dir or ${DATA_VARIABLE}"
        )
    return path


def _roots(folder: Path | None) -> Iterator[Path]:
    """The folders to search, in this order."""
    if folder is not None:
        yield _existing(folder, "--data-dir")
    if variable := os.environ.get(DATA_VARIABLE):
        yield _existing(Path(variable), f"${DATA_VARIABLE}")
    yield download.cache_dir()


def _existing(folder: Path, named_by: str) -> Path:
    if not folder.is_dir():
        raise DataError(folder, f"no such folder ({named_by})")
    return folder
