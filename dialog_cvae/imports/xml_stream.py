"""Reads an XML file piece by piece, without its entities: a small file cannot become large.

Open this if an XML file is refused although the program that wrote it can read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from xml.parsers import expat

from dialog_cvae.errors import DataError
from dialog_cvae.imports.source import File

# References to characters by number. Java programs write an emoji as two halves (of UTF-16), which XML forbids.
_REFERENCES: Final = re.compile(r"(?:&#(?:[0-9]{1,7}|x[0-9a-fA-F]{1,6});)+")
# The end of a piece of text where a reference, or the second half of a character, may go on.
_FIRST_HALF: Final = r"55(?:29[6-9]|[3-9]\d\d)|56(?:[0-2]\d\d|3[01]\d)|x[dD][89abAB][0-9a-fA-F]{2}"
_OPEN: Final = re.compile(rf"(?:&#(?:{_FIRST_HALF});)?(?:&(?:#\w{{0,8}})?)?\Z", re.ASCII)
_MAX_OPEN: Final = 32  # characters of such an end
_LAST: Final = 0x10FFFF  # number of the last character
_KEPT: Final = frozenset("<>&\"'\t\n\r")  # characters that only a reference gives in a value
_CUT: Final = {expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN}


class Tag(NamedTuple):
    """The beginning or end of an element.

    Attributes:
        name: of the element.
        line: where the tag begins in the file.
        fields: the attributes; None at the end.
    """

    name: str
    line: int
    fields: Mapping[str, str] | None


def tags(file: File, encoding: str | None) -> Iterator[Tag]:
    """The tags of a file; text between them is left out.

    Args:
        file: the file to read.
        encoding: None recognises it; the encoding that the file declares does not count.

    Raises:
        DataError: not XML, cut off, or it declares a document type, which may define entities; with the line.
    """
    found: list[Tag] = []
    parser = expat.ParserCreate()

    def begin(name: str, fields: dict[str, str]) -> None:
        found.append(Tag(name, parser.CurrentLineNumber, fields))

    def end(name: str) -> None:
        found.append(Tag(name, parser.CurrentLineNumber, None))

    def refuse(*_: object) -> None:
        reason = "declares a document type (DOCTYPE), which is not read: remove the declaration"
        raise DataError(file.name, reason, parser.CurrentLineNumber)

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = refuse
    try:
        for piece in _mended(file.chunks(encoding)):
            parser.Parse(piece, False)
            yield from found
            found.clear()
        parser.Parse("", True)
    except expat.ExpatError as error:
        words = expat.errors.messages[error.code]
        reason = "the file ends too early" if words in _CUT else f"not XML: {words}"
        raise DataError(file.name, reason, error.lineno) from None


def _mended(pieces: Iterable[str]) -> Iterator[str]:
    """The text with characters for references, of which XML forbids some; lines stay as they are."""
    rest = ""
    for piece in pieces:
        text = rest + piece
        tail = _OPEN.search(text[-_MAX_OPEN:])
        rest = tail[0] if tail else ""
        yield _REFERENCES.sub(_characters, text[: len(text) - len(rest)])
    yield _REFERENCES.sub(_characters, rest)


def _characters(references: re.Match[str]) -> str:
    found = references[0].replace("&#", "").split(";")[:-1]
    numbers = [int(each[1:], 16) if each[0] == "x" else int(each) for each in found]
    halves = "".join(chr(number) for number in numbers if number <= _LAST)
    text = halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return "".join(f"&#{ord(sign)};" if sign in _KEPT else sign for sign in text if sign in _KEPT or _may_stand(sign))


def _may_stand(sign: str) -> bool:
    """Whether XML allows a character; it forbids most control characters."""
    return sign >= " " and sign not in "\ufffe\uffff"
