"""One line of a user's own data file, from bytes to a `Conversation`, with short error messages.

Open it to add a field.

    {"id": "17",                                  optional, unique; default "line-<number>"
     "topic": "pets",                             optional
     "prompt": "talk about your pets",            optional
     "split": "train",                            optional; train, valid or test, on every line or on none
     "utterances": [{"speaker": "A", "text": "do you have a dog?", "dialog_act": "yes-no-question"},
                    {"speaker": "B", "text": "yes, two"}],              dialog_act is optional
     "speakers": {"A": {"sex": "female", "age": 34, "education": 2}}}   optional, each field too

There may be any number of speakers. Optional fields may be null. Unknown fields are refused, so that a misspelt name is
noticed. Control characters other than tabs and line ends are refused, and so is text without any visible character.
Text is brought into Unicode's normal form C. The limits of lengths are those of `dialog_cvae.limits`.
Education is Switchboard's code, 0 to 3 (see `dialog_cvae.types.Profile`).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from dialog_cvae import limits
from dialog_cvae.config import Reading
from dialog_cvae.types import Conversation, Profile, Sex, Utterance

MAX_LINE_BYTES = 16 * 2**20
MAX_REASONS = 5  # most problems reported for one line
FIRST_READING: Reading = 1

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def _without_control_characters(text: str) -> str:
    """Refuse control characters, as the service does: in a reply they would control the terminal."""
    for char in text:
        if unicodedata.category(char) == "Cc" and char not in "\t\n\r":
            raise PydanticCustomError("control_character", "has a control character", {"code": f"{ord(char):04X}"})
    return text


def _normal(text: str, info: ValidationInfo) -> str:
    """The text in its normal form; text without visible characters is refused, as in the service."""
    if info.context == FIRST_READING:
        return text
    if not text.isascii() and not limits.visible(text):
        raise PydanticCustomError("invisible", "has no visible character")
    return limits.normal(text)


def _at_most(limit: int) -> AfterValidator:
    """Refuse longer text."""

    def check(text: str, info: ValidationInfo) -> str:
        if len(text) > limit and info.context != FIRST_READING:
            raise PydanticCustomError("too_many_characters", "is too long", {"limit": limit, "count": len(text)})
        return text

    return AfterValidator(check)


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(_without_control_characters),
    AfterValidator(_normal),
]
Name = Annotated[Text, _at_most(limits.MAX_SPEAKER_CHARS)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Utterance(_Strict):
    speaker: Name
    text: Annotated[Text, _at_most(limits.MAX_TEXT_CHARS)]
    dialog_act: Text | None = None


class _Profile(_Strict):
    sex: Sex | None = None
    age: int | None = Field(None, ge=0, le=130)
    education: int | None = Field(None, ge=0, le=3)


class _Line(_Strict):
    id: Text | None = None
    topic: Annotated[Text, _at_most(limits.MAX_TOPIC_CHARS)] | None = None
    prompt: Text | None = None
    split: Split | None = None
    utterances: Annotated[list[_Utterance], Field(min_length=1, max_length=limits.MAX_UTTERANCES)]
    speakers: dict[Name, _Profile] | None = None


_PARTS: Mapping[str, type[_Strict]] = MappingProxyType({"utterances": _Utterance, "speakers": _Profile})

# Messages for pydantic's error types; braces are filled from the error's context.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is missing",
        "control_character": "has a control character (U+{code})",
        "invisible": "has no visible character",
        "too_many_characters": "has {count} characters, at most {limit} are possible",
        "too_long": "has more than {max_length} items",
        "string_too_short": "is blank",
        "too_short": "is empty",
        "string_unicode": "is not valid Unicode (half of a surrogate pair)",
        "string_type": "must be text, is {value}",
        "int_type": "must be a whole number, is {value}",
        "list_type": "must be a list, is {value}",
        "dict_type": "must be an object, is {value}",
        "model_type": "must be an object, is {value}",
        "literal_error": "must be {expected}, is {value}",
        "greater_than_equal": "must be at least {ge}, is {value}",
        "less_than_equal": "must be at most {le}, is {value}",
    }
)


class LineError(ValueError):
    """An invalid line; `reasons` has one short sentence for each problem."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Record(NamedTuple):
    """A conversation, its 1-based line and the split that the line requests."""

    line: int
    conversation: Conversation
    split: Split | None


def parse_line(raw: bytes, number: int, reading: Reading = 3) -> Record:
    """Turn one line into a conversation.

    Args:
        raw: the line's bytes, with or without line end and byte order mark.
        number: its 1-based number, used for a missing id.
        reading: see `DataConfig`; 1 takes names of any length and text in any normal form.

    Raises:
        LineError: the line is malformed.
    """
    line = _validated(_json(raw), reading)
    utterances = tuple(Utterance(u.speaker, u.text, u.dialog_act) for u in line.utterances)
    speakers = {name: Profile(p.sex, p.age, p.education) for name, p in (line.speakers or {}).items()}
    conversation = Conversation(
        id=f"line-{number}" if line.id is None else line.id,
        utterances=utterances,
        topic=line.topic,
        prompt=line.prompt,
        speakers=MappingProxyType(speakers),
    )
    return Record(number, conversation, line.split)


def _json(raw: bytes) -> object:
    if len(raw) > MAX_LINE_BYTES:
        raise LineError(f"the line is longer than {MAX_LINE_BYTES:,} bytes; each conversation must be on its own line")
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8 at byte {error.start + 1} (0x{raw[error.start]:02x})") from error
    except json.JSONDecodeError as error:
        raise LineError(f"not a JSON object in one line: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise LineError("nested too deeply") from error
    except LineError:
        raise
    except ValueError as error:  # an integer with more digits than Python converts
        raise LineError("a number has too many digits") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    try:
        "".join(names).encode("utf-8")
    except UnicodeEncodeError as error:
        raise LineError("a key is not valid Unicode (half of a surrogate pair)") from error
    known = dict(pairs)
    if len(known) < len(pairs):
        raise LineError(f"key {show(Counter(names).most_common(1)[0][0])} occurs twice in an object")
    return known


def _refuse_constant(name: str) -> NoReturn:
    raise LineError(f"{name} is not JSON")


def _validated(value: object, reading: Reading) -> _Line:
    if not isinstance(value, dict):
        raise LineError(f"must be an object with utterances, is {show(value)}")
    try:
        return _Line.model_validate(value, context=reading)
    except ValidationError as error:
        details = error.errors(include_url=False)
    reasons = [_reason(detail) for detail in details[:MAX_REASONS]]
    if len(details) > MAX_REASONS:
        reasons[-1] += f" (and {len(details) - MAX_REASONS + 1} more problems on this line)"
    raise LineError(*reasons)


def _reason(detail: Any) -> str:
    """A short sentence for one of pydantic's error details."""
    *parents, last = detail["loc"]
    if detail["type"] == "extra_forbidden":
        model = _PARTS.get(parents[0] if parents else "", _Line)
        near = get_close_matches(str(last), model.model_fields, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(model.model_fields)}"
        return f"{_path(parents)}{': ' if parents else ''}unknown field {show(last)} ({hint})"
    if last == "[key]" and len(parents) == 2:  # pydantic's mark for an error in a key of `speakers`
        return f"{_path(parents[:-1])}: a name {_what(detail)}"
    return f"{_path(detail['loc'])} {_what(detail)}"


def _what(detail: Any) -> str:
    template = _REASONS.get(detail["type"], "{message}, is {value}")
    context = {**detail.get("ctx", {}), "message": detail["msg"], "value": show(detail["input"])}
    return template.format(**context)


def _path(location: Sequence[str | int]) -> str:
    """`("utterances", 3, "text")` as `utterances[3].text`, counting from 0 as JSON paths do."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" for step in location)
    return "".join(steps).removeprefix(".")


def show(value: object) -> str:
    """A value in a message: short, on one line, and safe to print."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str, limit: int = 60) -> str:
    """Escape characters that may be in a file but not in a message: terminal control sequences, lone surrogates."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
