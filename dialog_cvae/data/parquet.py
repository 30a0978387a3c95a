"""Read a Parquet file of one column of texts, such as the word list of a package of word vectors.

Open it if such a file is refused. Parquet's own library takes 170 MB; this needs a page of code. It reads only the form
that the library writes by default: one column of byte strings, no missing values, Snappy or no compression, plain or
dictionary encoding.

Sources: github.com/apache/parquet-format (`parquet.thrift`, `Encodings.md`), the compact protocol of Apache Thrift, and
github.com/google/snappy (`format_description.txt`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import DataError

_MARK = b"PAR1"
_BYTE_ARRAY = 6  # the type of a column
_OPTIONAL = 1  # the repetition of a column that may have missing values
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_UNCOMPRESSED, _SNAPPY = 0, 1


def read_texts(path: Path) -> list[str]:
    """The texts of the only column, in order.

    Raises:
        DataError: the file is missing or damaged, or has a form that this module does not read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    try:
        return [text.decode() for text in _column(content)]
    except (IndexError, KeyError, RecursionError, TypeError, ValueError, struct.error) as error:
        raise DataError(path, f"is not a Parquet file of one column of texts, or is damaged ({error})") from error


def _column(content: bytes) -> Iterator[bytes]:
    """The values of the only column, from all row groups."""
    if content[:4] != _MARK or content[-4:] != _MARK:
        raise ValueError("no Parquet signature")
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = _Thrift(content, begin).structure()
    _, *columns = footer[2]  # the first element of the schema is its root
    if len(columns) != 1 or columns[0].get(1) != _BYTE_ARRAY or columns[0].get(3, 0) > _OPTIONAL:
        raise ValueError("its schema is not one flat column of byte strings")
    for group in footer[4]:
        yield from _chunk(content, group[1][0][3], optional=columns[0].get(3) == _OPTIONAL)


def _chunk(content: bytes, chunk: dict[int, Any], *, optional: bool) -> Iterator[bytes]:
    """The values of a column chunk; its first page may be the dictionary for the other pages."""
    place, left = chunk.get(11) or chunk[9], chunk[5]
    dictionary: list[bytes] = []
    while left > 0:
        thrift = _Thrift(content, place)
        page = thrift.structure()
        place = thrift.place + max(0, page[3])
        body = _decompressed(content[thrift.place : place], chunk[4], page[2])
        if page[1] == _DICTIONARY_PAGE:
            dictionary = _plain(body, page[7][1])
            continue
        if page[1] != _DATA_PAGE:
            raise ValueError(f"pages of type {page[1]} are not read")
        count, encoding = page[5][1], page[5][2]
        if not 0 < count <= left:
            raise ValueError(f"a page of {count} values where {left} are left")
        left -= count
        if optional:
            size = int.from_bytes(body[:4], "little")
            if not _runs(body[4 : 4 + size], 1, count).all():
                raise ValueError("values are missing")
            body = body[4 + size :]
        if encoding == _PLAIN:
            yield from _plain(body, count)
        elif encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
            yield from (dictionary[index] for index in _runs(body[1:], body[0], count).tolist())
        else:
            raise ValueError(f"encoding {encoding} is not read")


def _plain(body: bytes, count: int) -> list[bytes]:
    """Values one after the other, each after its length."""
    values, place = [], 0
    length_at = struct.Struct("<I").unpack_from
    for _ in range(count):
        begin = place + 4
        place = begin + length_at(body, place)[0]
        values.append(body[begin:place])
    if place > len(body):
        raise ValueError("a page ends too early")
    return values


def _runs(body: bytes, width: int, count: int) -> NDArray[np.int64]:
    """Numbers of `width` bits, (count,): runs of one number, and packed groups of eight."""
    parts: list[NDArray[np.int64]] = []
    place = found = 0
    while found < count:
        header, place = _varint(body, place)
        if header & 1:
            size = (header >> 1) * width
            bits = np.unpackbits(np.frombuffer(body[place : place + size], np.uint8), bitorder="little")
            part = bits.reshape(-1, width).astype(np.int64) @ (1 << np.arange(width))
        else:
            size = -(-width // 8)
            part = np.full(min(header >> 1, count - found), int.from_bytes(body[place : place + size], "little"))
        if not len(part):
            raise ValueError("a page ends too early")
        parts.append(part)
        found += len(part)
        place += size
    return np.concatenate(parts)[:count] if parts else np.zeros(0, np.int64)


def _decompressed(body: bytes, codec: int, size: int) -> bytes:
    if codec == _UNCOMPRESSED:
        return body
    if codec != _SNAPPY:
        raise ValueError(f"compression {codec} is not read")
    found = _snappy(body)
    if len(found) != size:
        raise ValueError(f"a page has {len(found)} bytes, not {size}")
    return found


def _snappy(body: bytes) -> bytes:
    """Snappy's blocks: literals, and copies of what was already written."""
    out = bytearray()
    _, place = _varint(body, 0)
    while place < len(body):
        tag = body[place]
        place += 1
        kind, high = tag & 3, tag >> 2
        if kind == 0:
            if high >= 60:  # the length is in the next one to four bytes
                end = place + high - 59
                high, place = int.from_bytes(body[place:end], "little"), end
            out += body[place : place + high + 1]
            place += high + 1
            continue
        if kind == 1:
            length, offset = (high & 7) + 4, (high >> 3) << 8 | body[place]
            place += 1
        else:
            end = place + (2 if kind == 2 else 4)
            length, offset = high + 1, int.from_bytes(body[place:end], "little")
            place = end
        if not 0 < offset <= len(out):
            raise ValueError("a copy from before the beginning")
        begin = len(out) - offset
        if length <= offset:
            out += out[begin : begin + length]
        else:  # the copy overlaps its own output, which repeats it
            out += (out[begin:] * (length // offset + 1))[:length]
    return bytes(out)


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, and the place after it."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


class _Thrift:
    """Reads values of Thrift's compact protocol; `place` is the position of the next byte."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self.place = place

    def structure(self) -> dict[int, Any]:
        """The fields of a structure, by their numbers."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._number()
            fields[number] = self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind == 9:
            head = self._byte()
            count = head >> 4
            return [self._value(head & 15) for _ in range(self._unsigned() if count == 15 else count)]
        if kind == 12:
            return self.structure()
        raise ValueError(f"fields of type {kind} are not read")

    def _byte(self) -> int:
        self.place += 1
        return self._content[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        self.place += count
        return self._content[self.place - count : self.place]

    def _unsigned(self) -> int:
        value, self.place = _varint(self._content, self.place)
        return value

    def _number(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
