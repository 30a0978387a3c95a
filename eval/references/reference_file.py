"""A file of reference replies, read item by item before it is matched to conversations.

Open it to change what such a file may contain. There are two formats: the published JSON list (and ours, with two more
fields), and COTK's JSON lines; `multi_reference` documents both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dialog_cvae.errors import DataError
from eval.contexts import Place

DIALOG_START = "<d>"
"""The pseudo-utterance at the start of a context that includes the beginning of its conversation."""


class Item(NamedTuple):
    """One context of a file.

    Attributes:
        number: number of the item in the file, from 1.
        line: its line, if each item has its own line.
        place: its place in the corpus; None if the file does not give it.
        context: texts, oldest first; None if the order of the items identifies the contexts.
        responses: at least one, with single spaces; only the first can be empty.
        dialog_acts: of each response, None if unknown.
    """

    number: int
    line: int | None
    place: Place | None
    context: tuple[str, ...] | None
    responses: tuple[str, ...]
    dialog_acts: tuple[str | None, ...]

    def error(self, path: Path, reason: str) -> DataError:
        """An error about this item."""
        return DataError(path, f"item {self.number:,}: {reason}", self.line)


def read_items(path: Path) -> list[Item]:
    """Read a file: JSON lines if its name ends with .jsonl, else a JSON list.

    Returns:
        At least one item; all have a place or none has.

    Raises:
        DataError: the file is missing or malformed; says which item.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text (byte {error.start})") from None
    if path.suffix == ".jsonl":
        items = _lines(path, text)
    else:
        items = [_item(path, _Published, number, None, value) for number, value in enumerate(_list(path, text), 1)]
    if not items:
        raise DataError(path, "has no items")
    for item in items:
        if (item.place is None) != (items[0].place is None):
            raise item.error(path, f"has {'no' if item.place is None else 'a'} conversation, unlike item 1")
    return items


def _encodable(text: str) -> str:
    """Refuse text that could not be written to a file again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode (half of a surrogate pair)") from None
    return text


_Text = Annotated[str, AfterValidator(_encodable)]


class _Published(BaseModel):
    """An item of the published file or, with its last two fields, of ours."""

    model_config = ConfigDict(strict=True, frozen=True)

    responses: Annotated[list[_Text], Field(min_length=1)]
    resp_dialog_acts: list[_Text | None] | None = None
    conversation: _Text | None = None
    position: Annotated[int, Field(ge=0)] | None = None

    def item(self, number: int, line: int | None) -> Item:
        acts = [None] * len(self.responses) if self.resp_dialog_acts is None else self.resp_dialog_acts
        if len(acts) != len(self.responses):
            raise ValueError(f"has {len(self.responses)} responses, but {len(acts)} resp_dialog_acts")
        if (self.conversation is None) != (self.position is None):
            raise ValueError("has only one of conversation and position")
        place = None if self.conversation is None or self.position is None else (self.conversation, self.position)
        return Item(number, line, place, None, *_cleaned(self.responses, acts))


class _Cotk(BaseModel):
    """A line of COTK's variant: [speaker, text, features] for each utterance, [dialog act, text] for each response."""

    model_config = ConfigDict(strict=True, frozen=True)

    utts: list[Annotated[list[Any], Field(min_length=2)]]
    responses: Annotated[list[Annotated[list[_Text], Field(min_length=2, max_length=2)]], Field(min_length=1)]

    def item(self, number: int, line: int | None) -> Item:
        texts = [text for _, text, *_ in self.utts]
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise ValueError(f"utts has the text {wrong[0]!r:.60}, which is no string")
        context = tuple(text for text in texts if text != DIALOG_START)
        acts, responses = zip(*self.responses, strict=True)
        return Item(number, line, None, context, *_cleaned(responses, acts))


def _cleaned(responses: Sequence[str], acts: Sequence[str | None]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Texts with single spaces; further responses without any text are dropped with their acts."""
    texts = [" ".join(text.split()) for text in responses]
    kept = [index for index, text in enumerate(texts) if text or index == 0]
    return tuple(texts[index] for index in kept), tuple(acts[index] or None for index in kept)


def _lines(path: Path, text: str) -> list[Item]:
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [
        _item(path, _Cotk, index, number, _parsed(path, line, number))
        for index, (number, line) in enumerate(numbered, start=1)
    ]


def _list(path: Path, text: str) -> list[Any]:
    content = _parsed(path, text, None)
    if not isinstance(content, list):
        raise DataError(path, f"must be a JSON list of items, but is of type {type(content).__name__}")
    return content


def _parsed(path: Path, text: str, line: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"no valid JSON ({error})", line) from None


def _item(path: Path, kind: type[_Cotk | _Published], number: int, line: int | None, value: object) -> Item:
    try:
        return kind.model_validate(value).item(number, line)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        reason = f"{place}: {detail['msg'].removeprefix('Value error, ')}" if place else "must be a JSON object"
    except ValueError as error:
        reason = str(error)
    raise DataError(path, f"item {number:,}: {reason}", line)
