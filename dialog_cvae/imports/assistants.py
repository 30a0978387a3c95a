"""What ChatGPT and Claude let their users download: `conversations.json`, a list of conversations.

Open this if such a download is not recognised or is read wrongly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.assemble import INVISIBLE
from dialog_cvae.imports.json_stream import kind_of, records
from dialog_cvae.imports.message import MEDIA, TURNS, Format, Log, Message, Options
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

HIDDEN: Final = "hidden messages"
OTHERS: Final = "messages in other versions of a conversation, such as a reply that was written again"
GUESSED: Final = "conversations that do not name their last message, read to the last in the file"
MARKED: Final = "marks of ChatGPT removed, such as those for the sources of a reply"
_CHATGPT: Final = {"user": "user", "assistant": "assistant"}
_CLAUDE: Final = {"human": "user", "assistant": "assistant"}
_SPOKEN: Final = ("text", "multimodal_text")
# Characters for private use enclose the marks: `cite`, with the numbers of sources, and others of the same form.
_MARK: Final = re.compile("\\s?\ue200\\w+\ue202[^\ue200\ue201]*\ue201")
# A person or thing: its kind, its name, which is part of the sentence, and an explanation.
_ENTITY: Final = re.compile('\ue200entity\ue202\\["[^"]*", ?"([^"]*)"[^\ue200\ue201]*\ue201')
Conversation = Callable[[Mapping[str, Any], str, Log], Iterator[Message]]


def chatgpt_messages(record: Mapping[str, Any], name: str, log: Log) -> Iterator[Message]:
    """The messages of a conversation with ChatGPT that lead to its last one.

    Raises:
        ValueError: it is malformed.
    """
    mapping, topic = record.get("mapping"), record.get("title")
    if not isinstance(mapping, Mapping):
        raise ValueError(f"mapping must be an object, is {kind_of(mapping)}")
    for key, node in mapping.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("message"), Mapping | None):
            raise ValueError(f"mapping[{key!r}] must be an object with a message")
    last = record.get("current_node")
    if not isinstance(last, str | None):
        raise ValueError(f"current_node must be text, is {kind_of(last)}")
    if mapping and last not in mapping:
        last = list(mapping)[-1]
        log.changed[GUESSED] += 1
    path = _path(mapping, last, "parent")
    others = [node["message"] for key, node in mapping.items() if key not in path and node.get("message") is not None]
    if count := sum(_is_spoken(message) for message in others):
        log.left_out[OTHERS] += count
    for key in path:
        if (message := mapping[key].get("message")) is not None and (text := _chatgpt_text(message, key, log)):
            speaker = _CHATGPT[message["author"]["role"]]
            time = _number(message.get("create_time"), f"mapping[{key!r}].message.create_time")
            yield Message(name, speaker, text, time, _text_or_none(topic))


def _path(nodes: Mapping[str, Mapping[str, Any]], last: object, parent: str) -> dict[str, None]:
    """The keys from the first node to the last one.

    Raises:
        ValueError: the parents form a cycle.
    """
    found: dict[str, None] = {}
    while isinstance(last, str) and last in nodes:
        if last in found:
            raise ValueError(f"the parents of {last!r} form a cycle")
        found[last] = None
        last = nodes[last].get(parent)
    return dict.fromkeys(reversed(found))


def _is_spoken(message: Mapping[str, Any]) -> bool:
    """Whether a message of ChatGPT is from one of the two to the other, and not to a tool."""
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, Mapping) else None
    return (
        isinstance(role, str)
        and role in _CHATGPT
        and isinstance(content, Mapping)
        and content.get("content_type") in _SPOKEN
        and message.get("recipient") in ("all", None)
    )


def _chatgpt_text(message: Mapping[str, Any], key: str, log: Log) -> str:
    """The text of a message; if it is left out, that is counted, and the text is empty.

    Raises:
        ValueError: its parts are no list.
    """
    if not _is_spoken(message):
        log.left_out[TURNS] += 1
        return ""
    metadata = message.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation"):
        log.left_out[HIDDEN] += 1
        return ""
    parts = message["content"].get("parts")
    if not isinstance(parts, list):
        raise ValueError(f"mapping[{key!r}].message.content.parts must be a list, is {kind_of(parts)}")
    text = _without_marks(_joined(parts), log)
    return _counted(text, MEDIA if any(isinstance(part, Mapping) for part in parts) else INVISIBLE, log)


def _without_marks(text: str, log: Log) -> str:
    """The text without ChatGPT's marks; of one for a person or thing, the name stays."""
    text, named = _ENTITY.subn(r"\1", text)
    text, removed = _MARK.subn("", text)
    log.changed[MARKED] += named + removed
    return text


def claude_messages(record: Mapping[str, Any], name: str, log: Log) -> Iterator[Message]:
    """The messages of a conversation with Claude; if they say which they follow, those that lead to the last one.

    Raises:
        ValueError: it is malformed.
    """
    messages, topic = record.get("chat_messages"), record.get("name")
    if not isinstance(messages, list):
        raise ValueError(f"chat_messages must be a list, is {kind_of(messages)}")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ValueError(f"chat_messages[{index}] must be an object, is {kind_of(message)}")
        for field in ("uuid", "parent_message_uuid", "sender"):
            if not isinstance(message.get(field), str | None):
                raise ValueError(f"chat_messages[{index}].{field} must be text, is {kind_of(message[field])}")
    for index, message in enumerate(_on_path(messages, log)):
        sender = message.get("sender")
        if sender not in _CLAUDE:
            log.left_out[TURNS] += 1
            continue
        text = message.get("text")
        if not isinstance(text, str | None):
            raise ValueError(f"chat_messages[{index}].text must be text, is {kind_of(text)}")
        # The content has the same text without the marks for the use of tools.
        content = message.get("content")
        parts = [part for part in content if _is_text(part)] if isinstance(content, list) else []
        if found := _counted(_joined(parts) or text or "", MEDIA if _has_files(message) else INVISIBLE, log):
            yield Message(name, _CLAUDE[sender], found, seconds(message.get("created_at")), _text_or_none(topic))


def _on_path(messages: Sequence[Mapping[str, Any]], log: Log) -> Sequence[Mapping[str, Any]]:
    """The messages that lead to the last one; all of them if a message does not say which it follows."""
    nodes = {message["uuid"]: message for message in messages if message.get("uuid") is not None}
    parents = [message.get("parent_message_uuid") for message in messages]
    if not messages or len(nodes) < len(messages) or None in parents:
        return messages
    path = _path(nodes, messages[-1]["uuid"], "parent_message_uuid")
    first = next(iter(path))
    if nodes[first]["parent_message_uuid"] != parents[0]:  # a message between is missing
        return messages
    log.left_out[OTHERS] += len(messages) - len(path)
    return [nodes[key] for key in path]


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text"


def _joined(parts: Sequence[object]) -> str:
    """The text of parts, which are text, objects with a text, or objects such as pictures, which have none."""
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str) and text.strip())


def _has_files(message: Mapping[str, Any]) -> bool:
    return bool(message.get("files") or message.get("attachments"))


def _counted(text: str, reason: str, log: Log) -> str:
    """The text; empty if nothing of it is visible, which is counted."""
    if text.strip():
        return text
    log.left_out[reason] += 1
    return ""


def _number(value: object, where: str) -> float | None:
    """The number; None if the value is of another kind.

    Raises:
        ValueError: it is too large, or is no number such as `NaN`.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where} must be seconds since 1970, is {str(value)[:40]}")
    return number


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _reader(messages: Conversation, identity: Sequence[str]) -> Callable[[Source, Options, Log], Iterator[Message]]:
    def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
        for number, (place, record) in enumerate(records(source.file, options.encoding), 1):
            name = next((record[key] for key in identity if isinstance(record.get(key), str)), "")
            try:
                yield from messages(record, f"{number}\0{name}", log)
            except ValueError as error:
                raise DataError(source.file.name, f"{place} ({name[:100]!r}): {error}") from None

    return read


def _is_chatgpt(source: Source) -> bool:
    paths = source.file.paths
    return "[].mapping" in paths and any(
        path.startswith("[].mapping.") and path.endswith((".message", ".parent")) for path in paths
    )


def _is_claude(source: Source) -> bool:
    return "[].chat_messages" in source.file.paths


CHATGPT_FORMAT = Format(
    "chatgpt",
    "conversations with ChatGPT, as downloaded",
    _is_chatgpt,
    _reader(chatgpt_messages, ("conversation_id", "id")),
)
CLAUDE_FORMAT = Format(
    "claude", "conversations with Claude, as downloaded", _is_claude, _reader(claude_messages, ("uuid",))
)
