"""Word vectors from a GloVe or word2vec file, from an installed package, or by name from gensim's downloader.

Open it to add a format. gensim, an optional package, only downloads. Files are read here, for three reasons: only the
requested words are kept in memory (GloVe Twitter has 1.2 million, word2vec's news vectors 3 million), words may contain
spaces (GloVe 840B has ". . ."), and the error for a malformed line gives its number.
"""

from __future__ import annotations

import gzip
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data import packaged_vectors
from dialog_cvae.data.vector_names import locate, readable
from dialog_cvae.errors import DataError

_SAMPLE_BYTES = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MOST_DIMENSIONS = 1 << 14
_LONGEST_WORD = 1 << 12  # most bytes of a word; a longer one means that a binary file is damaged


class Coverage(NamedTuple):
    """How much of a text has word vectors.

    Attributes:
        tokens: number of tokens in the text.
        known: number of tokens that have a vector.
        missing: words without a vector and how often each occurs; the most frequent first, ties in code-point order.
    """

    tokens: int
    known: int
    missing: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """The share of tokens that have a vector; 0 if there are no tokens."""
        return self.known / self.tokens if self.tokens else 0.0


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Vectors by word: `matrix[rows[word]]`.

    Attributes:
        rows: the row of each word, in the order of the file.
        matrix: (V, D) float32, all finite.
    """

    rows: Mapping[str, int]
    matrix: NDArray[np.float32]

    @property
    def dimension(self) -> int:
        """D, the width of every vector."""
        return int(self.matrix.shape[1])

    def coverage(self, counts: Mapping[str, int]) -> Coverage:
        """How many tokens of a text have a vector, from how often each word occurs in it."""
        missing = [(word, count) for word, count in counts.items() if word not in self.rows]
        missing.sort(key=lambda item: (-item[1], item[0]))
        tokens = sum(counts.values())
        return Coverage(tokens, tokens - sum(count for _, count in missing), tuple(missing))


def load_vectors(source: str | Path, words: Collection[str] | None = None) -> WordVectors:
    """Load word vectors.

    Args:
        source: a GloVe or word2vec file (text or word2vec's binary, plain or gzip), a name that gensim's downloader
            knows, such as "glove-twitter-200", or the published name of the same vectors, "glove.twitter.27B.200d". The
            file of a name is downloaded once into gensim's own folder. "glove.6B.50d" is read from its package where
            that is installed.
        words: the words to keep, which limits memory; None keeps all. Words that are not in the file are left out.

    Returns:
        The vectors, in the order of the file. If a word occurs twice, its first vector is used.

    Raises:
        DataError: the file is missing, empty, malformed (with the line) or in another format, or the name is unknown
            or cannot be downloaded.
    """
    wanted = None if words is None else frozenset(words)
    if source == packaged_vectors.NAME and packaged_vectors.is_installed():
        return _finite(source, WordVectors(*packaged_vectors.read_packaged(wanted)), None)
    path = locate(source)
    with readable(path), _open(path) as stream:
        sample = stream.read(_SAMPLE_BYTES)
    _refuse_other_formats(path, sample)
    layout = _layout(path, sample)
    return _read_text(path, layout, wanted) if layout.text else _read_binary(path, layout, wanted)


class _Layout(NamedTuple):
    """The layout of a file: D, V if a word2vec header gives it (else 0), and whether numbers are text."""

    dimension: int
    announced: int
    has_header: bool
    text: bool


def _open(path: Path) -> BufferedReader:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return BufferedReader(gzip.open(path, "rb")) if compressed else path.open("rb")


def _refuse_other_formats(path: Path, sample: bytes) -> None:
    if not sample.strip():
        raise DataError(path, "is empty")
    if sample[0] == 0x80 and sample[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        raise DataError(
            path,
            "is a pickle (gensim's own format), which is never loaded because it can run code; "
            "export it with KeyedVectors.save_word2vec_format",
        )
    if sample.startswith(b"PK\x03\x04"):
        raise DataError(path, "is a zip archive; unpack it and give the text file inside")


def _layout(path: Path, sample: bytes) -> _Layout:
    """The layout, from the beginning of the file."""
    lines = sample.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    # the sample may end within a line
    lines = [line for line in map(_strip, lines[:-1] if len(sample) == _SAMPLE_BYTES else lines) if line]
    votes = Counter(dimension for line in lines if (dimension := _numbers_after_word(line)))
    header = re.fullmatch(rb"(\d{1,12}) (\d{1,12})", lines[0]) if lines else None
    if header:
        count, dimension = (int(number) for number in header.groups())
        if not 1 <= dimension <= _MOST_DIMENSIONS:
            limit = f"1 to {_MOST_DIMENSIONS} are possible"
            raise DataError(path, f"the header announces vectors of {dimension} dimensions; {limit}", 1)
        return _Layout(dimension, count, has_header=True, text=dimension in votes or _is_text(sample))
    if not lines or not (votes or _is_text(sample)):
        raise DataError(path, "is neither text nor word2vec's binary format")
    if not votes:
        raise DataError(path, "expected a word and then its numbers, separated by single spaces", 1)
    return _Layout(votes.most_common(1)[0][0], 0, has_header=False, text=True)


def _is_text(sample: bytes) -> bool:
    if _CONTROL.search(sample):
        return False
    try:
        # the sample may end within a character
        sample[: sample.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers_after_word(line: bytes) -> int:
    """How many numbers follow the word; 0 if something else follows a number."""
    fields = line.split(b" ")[1:]
    numeric = [_is_number(field) for field in fields]
    count = sum(numeric)
    return count if all(numeric[len(fields) - count :]) else 0


def _read_text(path: Path, layout: _Layout, wanted: Collection[str] | None) -> WordVectors:
    # the first field rules out most lines quickly, before they are split or decoded
    first_fields = None if wanted is None else {word.encode(errors="replace").partition(b" ")[0] for word in wanted}
    rows: dict[str, int] = {}
    numbers: array[float] = array("f")
    row_lines: list[int] = []
    vectors = 0
    for number, line in _lines(path, has_header=layout.has_header):
        vectors += 1
        surplus = line.count(b" ") - layout.dimension
        if surplus == 0 and first_fields is not None and line.partition(b" ")[0] not in first_fields:
            continue
        word, values = _split(path, number, line, layout.dimension)
        # a line that begins with a space has an empty word: it occurs in published files, and no token matches it
        if not word or word in rows or (wanted is not None and word not in wanted):
            continue
        rows[word] = len(rows)
        row_lines.append(number)
        try:
            numbers.extend(map(float, values))
        except ValueError as error:
            raise DataError(
                path, f"the vector of {word!r} has a value that is not a number: {error}", number
            ) from error
    if layout.has_header and vectors != layout.announced:
        raise DataError(path, f"the header announces {layout.announced} vectors, the file has {vectors}")
    matrix = np.asarray(numbers).reshape(len(rows), layout.dimension)
    return _finite(path, WordVectors(rows, matrix), row_lines)


def _lines(path: Path, *, has_header: bool) -> Iterator[tuple[int, bytes]]:
    """Numbers and text of lines that are not blank, without the header and line ends."""
    with readable(path), _open(path) as stream:
        for number, line in enumerate(stream, start=1):
            text = _strip(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if text and not (has_header and number == 1):
                yield number, text


def _split(path: Path, number: int, line: bytes, dimension: int) -> tuple[str, list[bytes]]:
    """The word, which may contain spaces, and the text of its numbers."""
    word, *values = line.rsplit(b" ", dimension)
    extra = [field for field in word.split(b" ")[1:] if _is_number(field)]
    if len(values) < dimension or extra:
        raise DataError(path, f"expected {dimension} numbers after the word, got {len(values) + len(extra)}", number)
    return word.decode(errors="replace").strip(" "), values


def _read_binary(path: Path, layout: _Layout, wanted: Collection[str] | None) -> WordVectors:
    rows: dict[str, int] = {}
    numbers = bytearray()
    size = layout.dimension * np.dtype("<f4").itemsize
    with readable(path), _open(path) as stream:
        stream.readline()
        for index in range(1, layout.announced + 1):
            word = _binary_word(stream)
            vector = stream.read(size)
            if word is None or len(vector) < size:
                raise DataError(path, f"ends early or is damaged at vector {index} of {layout.announced}")
            if word not in rows and (wanted is None or word in wanted):
                rows[word] = len(rows)
                numbers += vector
        if stream.read(_LONGEST_WORD).strip():
            raise DataError(path, f"has more data than the {layout.announced} vectors that the header announces")
    matrix = np.frombuffer(numbers, dtype="<f4").astype(np.float32).reshape(len(rows), layout.dimension)
    return _finite(path, WordVectors(rows, matrix), None)


def _binary_word(stream: BufferedReader) -> str | None:
    """The bytes before the next space; None if there is none. Some programs end each vector with a line feed."""
    word = bytearray()
    while len(word) < _LONGEST_WORD and (byte := stream.read(1)):
        if byte == b" ":
            return word.lstrip(b"\n").decode(errors="replace")
        word += byte
    return None


def _finite(path: Path | str, vectors: WordVectors, row_lines: list[int] | None) -> WordVectors:
    bad_rows = np.flatnonzero(~np.isfinite(vectors.matrix).all(axis=1))
    if bad_rows.size:
        row = int(bad_rows[0])
        word = list(vectors.rows)[row]
        line = None if row_lines is None else row_lines[row]
        raise DataError(path, f"the vector of {word!r} has a value that is not finite in 32 bits", line)
    return vectors


def _strip(line: bytes) -> bytes:
    return line.rstrip(b" \r\n")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
