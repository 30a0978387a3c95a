"""Reads a JSON file piece by piece: only one element of a list is in memory at a time.

Open this if a valid JSON file is refused, or if reading takes much memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.source import File

MAX_ELEMENT: Final = 2**26  # most characters of a value that is read whole
_DECODER: Final = json.JSONDecoder()
_WORDS: Final = ("true", "false", "null")
_NEAR_THE_END: Final = 16  # characters before the end of the text, where an error may be an incomplete value
# An escape in a string; `\x1b` is not JSON, but Telegram writes control characters so.
_ESCAPE: Final = re.compile(r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|.)", re.DOTALL)


class JsonStream:
    """The values of a file in order; the caller decides which are read whole and which are entered.

    Args:
        file: the file to read.
        encoding: None recognises it.

    Raises:
        DataError: from any method: not JSON, cut off, or nested too deeply; with the line.
    """

    def __init__(self, file: File, encoding: str | None) -> None:
        self._name, self._chunks = file.name, file.chunks(encoding)
        self._text, self._at, self._line = "", 0, 1

    def peek(self) -> str:
        """The first character of what comes next; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n\ufeff":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """Read the next value whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.error("nested too deeply") from None
            except json.JSONDecodeError as error:
                if error.msg.startswith("Invalid \\escape") and self._mend(error.pos):
                    continue
                offset = error.pos - self._at  # reading more moves the text
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _NEAR_THE_END
                if not is_cut or not self._more():
                    place = self._at + offset
                    rest = self._text[place:].strip()
                    # The file ends too early if a string is open, or if the rest begins a word of JSON.
                    ended = error.msg.startswith("Unterminated") or any(word.startswith(rest) for word in _WORDS)
                    reason = "the file ends too early" if ended else f"not JSON: {error.msg}"
                    raise self.error(reason, place) from None
            except ValueError:
                raise self.error("a number has too many digits") from None
            else:
                if end == len(self._text) and self._more():  # a number may go on
                    continue
                self._at = end
                return value

    def items(self) -> Iterator[int]:
        """Enter a list: at each number, from 1, the caller reads one value."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        number = 1
        while True:
            yield number
            number += 1
            if self._take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """Enter an object: at each key, the caller reads its value."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self.error("not JSON: a key must be a string")
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def skip(self) -> None:
        """Skip the next value; a list is skipped element by element."""
        if self.peek() == "[":
            for _ in self.items():
                self.value()
        else:
            self.value()

    def end(self) -> None:
        """Check that nothing follows."""
        if self.peek():
            raise self.error("text after the end of the list")

    def error(self, reason: str, at: int | None = None) -> DataError:
        """An error at this place, or at another one in the text that was read last."""
        return DataError(self._name, reason, self._line + self._text.count("\n", 0, self._at if at is None else at))

    def _mend(self, place: int) -> bool:
        r"""Replace `\x1b` by `\u001b` from an invalid escape on; returns False if that escape is of another kind.

        All such escapes of the text are replaced at once, so that it is not parsed again after each of them.
        """
        found = _ESCAPE.match(self._text, place)
        if found is None or not found["hex"]:
            return False
        self._text = self._text[:place] + _ESCAPE.sub(_valid, self._text[place:])
        return True

    def _take(self, wanted: str) -> str:
        sign = self.peek()
        if not sign or sign not in wanted:
            found = repr(sign) if sign else "the end of the file"
            raise self.error(f"not JSON: {' or '.join(wanted)} is expected, but {found} comes")
        self._at += 1
        return sign

    def _more(self) -> bool:
        """Read more; returns False at the end of the file."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        if len(rest) > MAX_ELEMENT:
            raise DataError(self._name, f"a value is longer than {MAX_ELEMENT:,} characters", self._line)
        # Double the text, so that a long value is not parsed again after every piece.
        pieces, length = [rest], 0
        while length <= len(rest) and (piece := next(self._chunks, "")):
            pieces.append(piece)
            length += len(piece)
        self._text, self._at = "".join(pieces), 0
        return length > 0


def _valid(escape: re.Match[str]) -> str:
    return rf"\u00{escape['hex']}" if escape["hex"] else escape[0]


def json_lines(file: File, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one per line, and their line numbers; blank lines are skipped.

    Raises:
        DataError: a line is not a JSON object.
    """
    for number, line in enumerate(file.lines(encoding), 1):
        if not line.strip("\ufeff \t\r\n"):
            continue
        try:
            found = json.loads(line.lstrip("\ufeff"))
        except RecursionError:
            raise DataError(file.name, "nested too deeply", number) from None
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated")
            reason = "the line ends within a string" if is_cut else f"{error.msg} at character {error.pos + 1}"
            hint = "; each line must be a whole object" if is_cut or error.pos >= len(line.strip()) else ""
            raise DataError(file.name, f"not JSON: {reason}{hint}", number) from None
        except ValueError:
            raise DataError(file.name, "a number has too many digits", number) from None
        if not isinstance(found, dict):
            raise DataError(file.name, f"must be an object, is {kind_of(found)}", number)
        yield number, found


def records(file: File, encoding: str | None, within: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file, each with its place, such as "line 3".

    The file may be a list of objects, or have one per line, or one after another.

    Args:
        file: the file to read.
        encoding: None recognises it.
        within: key of the list of objects, if the file is one or more objects that hold it; the keys of objects around
            it, and a dot after each, may come before it.

    Raises:
        DataError: the file has another form.
    """
    if within is not None:
        yield from _within(JsonStream(file, encoding), within)
        return
    head = file.head_text.lstrip("\ufeff \t\r\n")
    if _is_whole(head.partition("\n")[0]):
        for number, found in json_lines(file, encoding):
            yield f"line {number}", found
        return
    stream = JsonStream(file, encoding)
    if not head.startswith("["):
        number = 0
        while stream.peek():
            number += 1
            yield f"object {number}", _object(stream, stream.value(), f"object {number}")
        return
    for number in stream.items():
        yield f"element {number}", _object(stream, stream.value(), f"element {number}")
    stream.end()


def _within(stream: JsonStream, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    holder = 0
    while stream.peek():
        holder += 1
        above = name if holder == 1 else f"object {holder}, {name}"
        is_held = False
        for _ in _entered(stream, name.split(".")):
            is_held = True
            for number in stream.items():
                place = f"{above}, element {number}"
                yield place, _object(stream, stream.value(), place)
        if not is_held:
            raise stream.error(f"object {holder} has no list {name!r}: remove it, or put it into another file")


def _entered(stream: JsonStream, keys: list[str]) -> Iterator[None]:
    """Enter objects within each other by their keys: at each step the caller reads the value of the last key."""
    for key in stream.members():
        if key != keys[0]:
            stream.skip()
        elif len(keys) == 1:
            yield
        else:
            yield from _entered(stream, keys[1:])


def _is_whole(line: str) -> bool:
    """Whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _object(stream: JsonStream, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise stream.error(f"{place} must be an object, is {kind_of(value)}")
    return value


def kind_of(value: object) -> str:
    """The kind of a JSON value, for messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
