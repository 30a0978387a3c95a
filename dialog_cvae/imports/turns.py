"""Conversations as lists of turns: chat-completion messages, ShareGPT, and lists of speakers and texts.

Open this if such a file is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.json_stream import kind_of, records
from dialog_cvae.imports.message import MEDIA, TURNS, Format, Log, Message, Options
from dialog_cvae.imports.source import Source

SPEAKERS: Final = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
}
# Roles of turns that no one speaks, with _ between words.
NOT_SPOKEN: Final = {
    *("system", "developer", "tool", "tool_call", "tool_calls", "tool_response", "tool_result", "tool_output"),
    *("function", "function_call", "function_response", "function_result", "function_output", "observation", "ipython"),
}
_SPEAKS: Final = {"system", "developer"}  # roles that are speakers in a file whose turns name speakers
LISTS: Final = (
    *("messages", "conversations", "conversation", "turns", "dialogue", "dialog", "utterances", "items"),
    *("dialogues", "dialogs"),
)
PREFIXES: Final = {"": None, "[].": None, "data[].": "data"}  # prefix of a record's keys, and the list of records
_IDS: Final = ("id", "conversation_id", "dialogue_id", "dialog_id")


class Keys(NamedTuple):
    """Names of the fields: the list of turns, and in a turn the role and the text."""

    turns: str
    role: str
    text: str


# Names of role and text in the turns of each format.
CHAT: Final = (("role", "content"),)
SHAREGPT: Final = (("from", "value"),)
NAMED: Final = (("speaker", "text"), ("speaker", "utterance"))
FIELDS: Final = ("id", "conversation_id", "dialogue_id", "dialog_id", "topic")  # other fields that are read


def find_keys(fields: Sequence[tuple[str, str]], has: Callable[[str], bool]) -> Keys | None:
    """The list of turns with such fields, and which of these they are.

    Args:
        fields: names of role and text.
        has: says whether there is a path such as "messages[].role".
    """
    return next(
        (
            Keys(name, role, text)
            for name in LISTS
            for role, text in fields
            if has(f"{name}[].{role}") and has(f"{name}[].{text}")
        ),
        None,
    )


def messages_of(record: Mapping[str, Any], keys: Keys, number: int | str, log: Log) -> Iterator[Message]:
    """The messages of a conversation.

    Raises:
        ValueError: it is malformed.
    """
    turns = record.get(keys.turns)
    if not isinstance(turns, list):
        raise ValueError(f"{keys.turns} must be a list, is {kind_of(turns)}")
    name = next((record[key] for key in _IDS if record.get(key) is not None), None)
    not_spoken: Container[str] = NOT_SPOKEN - _SPEAKS if keys.role == "speaker" else NOT_SPOKEN
    topic = record.get("topic")
    for index, turn in enumerate(turns):
        where = f"{keys.turns}[{index}]"
        if not isinstance(turn, Mapping):
            raise ValueError(f"{where} must be an object, is {kind_of(turn)}")
        role = turn.get(keys.role)
        if keys.role == "speaker" and isinstance(role, int):
            role = str(role)
        if not isinstance(role, str):
            raise ValueError(f"{where}.{keys.role} must be text, is {kind_of(role)}")
        if role_name(role) in not_spoken:
            log.left_out[TURNS] += 1
            continue
        text = _text(turn.get(keys.text), f"{where}.{keys.text}")
        if keys.role == "speaker":  # not in chats with assistants, whose texts may be about tags
            text = without_html(text, log)
        if not text and (turn.get("tool_calls") or turn.get("function_call")):
            log.left_out[TURNS] += 1
            continue
        if not text and isinstance(turn.get(keys.text), list):
            log.left_out[MEDIA] += 1
            continue
        yield Message(
            f"{number}\0{name if isinstance(name, str | int) else ''}",
            role if keys.role == "speaker" else SPEAKERS.get(role.lower(), role),
            text,
            topic=topic if isinstance(topic, str) else None,
        )


def role_name(role: str) -> str:
    """A role as `NOT_SPOKEN` has it."""
    return role.strip().lower().replace("-", "_").replace(" ", "_")


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


def _found(source: Source, fields: Sequence[tuple[str, str]]) -> tuple[str, Keys] | None:
    """The prefix and the keys of the records in a file."""
    for prefix in PREFIXES:
        paths = {path.removeprefix(prefix) for path in source.file.paths if path.startswith(prefix)}
        keys = find_keys(fields, paths.__contains__)
        if keys is not None:
            return prefix, keys
    return None


def _format(name: str, title: str, fields: Sequence[tuple[str, str]]) -> Format:
    def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
        found = _found(source, fields)
        if found is None:
            pairs = " or ".join(" and ".join(pair) for pair in fields)
            raise DataError(source.file.name, f"has no list of turns with {pairs}, such as {LISTS[0]}")
        prefix, keys = found
        for number, (place, record) in enumerate(records(source.file, options.encoding, PREFIXES[prefix]), 1):
            try:
                yield from messages_of(record, keys, number, log)
            except ValueError as error:
                raise DataError(source.file.name, f"{place}: {error}") from None

    return Format(name, title, lambda source: _found(source, fields) is not None, read)


CHAT_FORMAT = _format("chat-completion", "chat-completion messages", CHAT)
SHAREGPT_FORMAT = _format("sharegpt", "ShareGPT conversations", SHAREGPT)
NAMED_FORMAT = _format("turns", "lists of turns of speaker and text", NAMED)
