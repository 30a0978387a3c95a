"""Conversations with a language model as lists of turns: chat-completion messages and ShareGPT.

Open this if such a file is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.json_stream import kind_of, records
from dialog_cvae.imports.message import MEDIA, TURNS, Format, Log, Message, Options
from dialog_cvae.imports.source import Source

_SPEAKERS: Final = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
}
_NOT_SPOKEN: Final = {
    "system",
    "developer",
    "tool",
    "tool_call",
    "tool_response",
    "function",
    "function_call",
    "observation",
    "ipython",
}


class Keys(NamedTuple):
    """Names of the fields: the list of turns, and in a turn the role and the text."""

    turns: str
    role: str
    text: str


CHAT: Final = Keys("messages", "role", "content")
SHAREGPT: Final = Keys("conversations", "from", "value")


def messages_of(record: Mapping[str, Any], keys: Keys, number: int | str, log: Log) -> Iterator[Message]:
    """The messages of a conversation.

    Raises:
        ValueError: it is malformed.
    """
    turns = record.get(keys.turns)
    if not isinstance(turns, list):
        raise ValueError(f"{keys.turns} must be a list, is {kind_of(turns)}")
    name = record.get("id", record.get("conversation_id"))
    topic = record.get("topic")
    for index, turn in enumerate(turns):
        where = f"{keys.turns}[{index}]"
        if not isinstance(turn, Mapping):
            raise ValueError(f"{where} must be an object, is {kind_of(turn)}")
        role = turn.get(keys.role)
        if not isinstance(role, str):
            raise ValueError(f"{where}.{keys.role} must be text, is {kind_of(role)}")
        if role.lower() in _NOT_SPOKEN:
            log.left_out[TURNS] += 1
            continue
        text = without_html(_text(turn.get(keys.text), f"{where}.{keys.text}"), log)
        if not text and (turn.get("tool_calls") or turn.get("function_call")):
            log.left_out[TURNS] += 1
            continue
        if not text and isinstance(turn.get(keys.text), list):
            log.left_out[MEDIA] += 1
            continue
        yield Message(
            f"{number}\0{name if isinstance(name, str | int) else ''}",
            _SPEAKERS.get(role.lower(), role),
            text,
            topic=topic if isinstance(topic, str) else None,
        )


def _text(content: object, where: str) -> str:
    """The text of a turn, which is a string or a list of parts.

    Raises:
        ValueError: it is neither.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError(f"{where} must be text or a list of parts, is {kind_of(content)}")
    parts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{where} has a part whose text is {kind_of(text)}")
        parts.append(text or "")
    return "\n".join(part for part in parts if part)


def _reader(keys: Keys) -> Callable[[Source, Options, Log], Iterator[Message]]:
    def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
        for number, (place, record) in enumerate(records(source.file, options.encoding), 1):
            try:
                yield from messages_of(record, keys, number, log)
            except ValueError as error:
                raise DataError(source.file.name, f"{place}: {error}") from None

    return read


def _recogniser(keys: Keys) -> Callable[[Source], bool]:
    wanted = {f"{prefix}{keys.turns}[].{name}" for prefix in ("", "[].") for name in keys[1:]}
    return lambda source: len(wanted & source.file.paths) == 2


CHAT_FORMAT = Format("chat-completion", "chat-completion messages", _recogniser(CHAT), _reader(CHAT))
SHAREGPT_FORMAT = Format("sharegpt", "ShareGPT conversations", _recogniser(SHAREGPT), _reader(SHAREGPT))
