"""Word vectors from any GloVe or word2vec file, or by name from gensim's downloader.

Files are read here and not by gensim, for three reasons: only the words that are asked for are kept (GloVe Twitter has
1.2 million, word2vec's news vectors 3 million), words that contain spaces are understood (GloVe 840B has ". . ."), and
a malformed line is named. gensim, an optional package, downloads.
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

from dialog_cvae.data.vector_names import locate, readable
from dialog_cvae.errors import DataError

_SAMPLE_BYTES = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MOST_DIMENSIONS = 1 << 14
_LONGEST_WORD = 1 << 12  # bytes; beyond it a binary file is out of step


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

    def coverage(self, words: Collection[str]) -> float:
        """The share of `words` that have a vector, repetitions counted; 0 for no words."""
        return sum(word in self.rows for word in words) / len(words) if words else 0.0


def load_vectors(source: str | Path, words: Collection[str] | None = None) -> WordVectors:
    """Load word vectors.

    Args:
        source: a GloVe or word2vec file (text or word2vec's binary, plain or gzip), a name that gensim's downloader
            knows, such as "glove-twitter-200", or the published one of the same vectors, "glove.twitter.27B.200d"; what
            a name means is fetched once into gensim's own folder.
        words: keep these only, which also bounds memory; all when None. Words that the file lacks are left out.

    Returns:
        The vectors, in the order of the file. Of a word that occurs twice the first counts.

    Raises:
        DataError: the file is missing, empty, of another format or malformed (with the line), or the name is unknown or
            cannot be downloaded.
    """
    path = locate(source)
    wanted = None if words is None else frozenset(words)
    with readable(path), _open(path) as stream:
        sample = stream.read(_SAMPLE_BYTES)
    _refuse_other_formats(path, sample)
    layout = _layout(path, sample)
    return _read_text(path, layout, wanted) if layout.text else _read_binary(path, layout, wanted)


class _Layout(NamedTuple):
    """The shape of a file: D, V where a word2vec header says it (else 0), and whether numbers stand as text."""

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
    """What the beginning of the file says."""
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
    """How many numbers follow the word; 0 if a number stands before something that is none."""
    fields = line.split(b" ")[1:]
    numeric = [_is_number(field) for field in fields]
    count = sum(numeric)
    return count if all(numeric[len(fields) - count :]) else 0


def _read_text(path: Path, layout: _Layout, wanted: Collection[str] | None) -> WordVectors:
    # the first field decides quickly about most lines, before anything is split or decoded
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
        # a line that begins with a space has the empty word, which occurs in published files and no token can ask for
        if not word or word in rows or (wanted is not None and word not in wanted):
            continue
        rows[word] = len(rows)
        row_lines.append(number)
        try:
            numbers.extend(map(float, values))
        except ValueError as error:
            raise DataError(path, f"the vector of {word!r} has a value that is no number: {error}", number) from error
    if layout.has_header and vectors != layout.announced:
        raise DataError(path, f"the header announces {layout.announced} vectors, the file has {vectors}")
    matrix = np.asarray(numbers).reshape(len(rows), layout.dimension)
    return _finite(path, WordVectors(rows, matrix), row_lines)


def _lines(path: Path, *, has_header: bool) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with something on them, without the header and the end of line."""
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
                raise DataError(path, f"ends or is out of step at vector {index} of the {layout.announced} announced")
            if word not in rows and (wanted is None or word in wanted):
                rows[word] = len(rows)
                numbers += vector
        if stream.read(_LONGEST_WORD).strip():
            raise DataError(path, f"goes on after the {layout.announced} vectors that the header announces")
    matrix = np.frombuffer(numbers, dtype="<f4").astype(np.float32).reshape(len(rows), layout.dimension)
    return _finite(path, WordVectors(rows, matrix), None)


def _binary_word(stream: BufferedReader) -> str | None:
    """The bytes up to the next space; None where there is none. Some writers end each vector with a line feed."""
    word = bytearray()
    while len(word) < _LONGEST_WORD and (byte := stream.read(1)):
        if byte == b" ":
            return word.lstrip(b"\n").decode(errors="replace")
        word += byte
    return None


def _finite(path: Path, vectors: WordVectors, row_lines: list[int] | None) -> WordVectors:
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
