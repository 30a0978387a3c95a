"""Reader of Yelp sentences with their sentiment, in the two forms in which they are distributed.

Open it if a file of the corpus is refused.

- Shen et al. (2017, "Style Transfer from Non-Parallel Text by Cross-Alignment"): `sentiment.{train,dev,test}.{0,1}`, a
  tokenised sentence a line, 0 negative and 1 positive.
- The subset of the code that Fu et al. (2019) released: the first tenth of each of these files, in which words with
  fewer than five occurrences in its training split are `<unk>`. Its files are `short_s10.{train,dev,test}.tsv`, with a
  label, a tab and a sentence in each line. If only the files of Shen et al. are there, the subset is made from them.

A sentence becomes a conversation of one utterance whose topic is its sentiment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dialog_cvae.data.readers.ptb import sentence
from dialog_cvae.data.readers.text_lines import numbered
from dialog_cvae.errors import DataError
from dialog_cvae.types import Conversation, Corpus

LABELS = ("negative", "positive")  # 0 and 1
SPLITS = ("train", "dev", "test")
SHORT_FILES = {split: f"short_s10.{split}.tsv" for split in SPLITS}
FULL_FILES = {split: tuple(f"sentiment.{split}.{label}" for label in range(len(LABELS))) for split in SPLITS}
LICENCE = "of the Yelp Dataset, for academic use, as prepared by Shen et al. (2017)"
SHARE = 10  # the subset is the first of this many parts of each file
RARE = 5  # a word with fewer occurrences in its training split is unknown
UNKNOWN = "<unk>"

Part = Literal["short", "full"]


class _Sentence(NamedTuple):
    name: str
    text: str
    label: str


def read(folder: Path, part: Part = "short") -> Corpus:
    """Read a corpus.

    Args:
        folder: folder with the files.
        part: the released code's subset, or all of Shen et al.'s sentences.

    Raises:
        DataError: a file is missing or malformed, or a split lacks a class.
    """
    if part == "full":
        splits = {split: _full(folder, split) for split in SPLITS}
    elif _is_short(folder):
        splits = {split: _short(folder / name) for split, name in SHORT_FILES.items()}
    else:
        splits = _with_unknown({split: _full(folder, split, SHARE) for split in SPLITS})
    for split, sentences in splits.items():
        _check(folder, split, sentences)
    name = "Yelp sentences (first tenth)" if part == "short" else "Yelp sentences"
    train, dev, test = ([sentence(*one) for one in splits[split]] for split in SPLITS)
    return Corpus(name, train, dev, test, _notes(train, dev, test), LICENCE)


def source_files(folder: Path, part: Part = "short") -> Sequence[Path]:
    """The files that `read` reads."""
    if part == "short" and _is_short(folder):
        return [folder / name for name in SHORT_FILES.values()]
    return [folder / name for names in FULL_FILES.values() for name in names]


def _is_short(folder: Path) -> bool:
    """Whether there is a file of the subset, or no file of the other form."""
    if any((folder / name).exists() for name in SHORT_FILES.values()):
        return True
    return not any((folder / name).exists() for names in FULL_FILES.values() for name in names)


def _short(path: Path) -> list[_Sentence]:
    """The sentences of a file of labels and sentences."""
    found = []
    for number, line in numbered(path):
        label, tab, text = line.partition("\t")
        if not tab:
            raise DataError(path, f"must be a label, a tab and a sentence, but has no tab: {_shown(line)}", number)
        if label.strip() not in ("0", "1"):
            raise DataError(path, f"label must be 0 or 1, but is {_shown(label)}", number)
        if "\t" in text:
            raise DataError(path, f"must have one tab, but has {line.count(chr(9))}: {_shown(line)}", number)
        found.append(_Sentence(f"{path.stem}:{number}", text.strip(), LABELS[int(label)]))
    return found


def _full(folder: Path, split: str, share: int = 1) -> list[_Sentence]:
    """The first 1 / `share` of each of a split's two files, negative sentences first."""
    found = []
    for name, label in zip(FULL_FILES[split], LABELS, strict=True):
        lines = numbered(folder / name)
        found += [_Sentence(f"{name}:{number}", text, label) for number, text in lines[: len(lines) // share]]
    return found


def _with_unknown(splits: dict[str, list[_Sentence]]) -> dict[str, list[_Sentence]]:
    counts = Counter(word for one in splits["train"] for word in one.text.split())

    def known(text: str) -> str:
        return " ".join(word if counts[word] >= RARE else UNKNOWN for word in text.split())

    return {split: [one._replace(text=known(one.text)) for one in sentences] for split, sentences in splits.items()}


def _check(folder: Path, split: str, sentences: Iterable[_Sentence]) -> None:
    counts = Counter(one.label for one in sentences)
    if missing := [label for label in LABELS if not counts[label]]:
        raise DataError(folder, f"the split {split} has no {' and no '.join(missing)} sentence")


def _notes(train: Sequence[Conversation], dev: Sequence[Conversation], test: Sequence[Conversation]) -> tuple[str, ...]:
    """How many validation and test sentences are also in the training split."""
    seen = {conversation.utterances[0].text for conversation in train}
    repeated = (
        (name, sum(conversation.utterances[0].text in seen for conversation in split))
        for name, split in (("validation", dev), ("test", test))
    )
    return tuple(f"{count:,} {name} sentences are also in the training split" for name, count in repeated if count)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
