"""Reader of the Penn Treebank as Mikolov prepared it: one sentence a line, 10,000 words, `<unk>` for the rest.

Open it if a file of the corpus is refused. A sentence becomes a conversation of one utterance, so that it is processed
as any other text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialog_cvae.data.readers.text_lines import numbered
from dialog_cvae.errors import DataError
from dialog_cvae.types import Conversation, Corpus, Utterance

FILES = {"train": "ptb.train.txt", "valid": "ptb.valid.txt", "test": "ptb.test.txt"}
LICENCE = "of the Penn Treebank (LDC), for research"
AUTHOR = "text"  # name of the speaker of every sentence


def source_files(folder: Path) -> Sequence[Path]:
    """The files that `read` reads."""
    return [folder / name for name in FILES.values()]


def read(folder: Path) -> Corpus:
    """Read the three files of a folder.

    Raises:
        DataError: a file is missing, is not UTF-8 or has no sentence.
    """
    splits = {split: sentences(folder / name) for split, name in FILES.items()}
    return Corpus("Penn Treebank", splits["train"], splits["valid"], splits["test"], (), LICENCE)


def sentences(path: Path) -> list[Conversation]:
    """The sentences of a file, without blank lines.

    Raises:
        DataError: the file is missing, is not UTF-8 or has no sentence.
    """
    texts = numbered(path)
    if not texts:
        raise DataError(path, "has no sentence")
    return [sentence(f"{path.stem}:{number}", text) for number, text in texts]


def sentence(name: str, text: str, label: str | None = None) -> Conversation:
    """A sentence as a conversation of one utterance, its class as the topic."""
    return Conversation(name, (Utterance(AUTHOR, text),), label)
