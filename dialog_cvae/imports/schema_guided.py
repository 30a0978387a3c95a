"""Schema-Guided Dialogues: a JSON list of dialogues, each with its services and its turns of USER and SYSTEM.

Open this if such a file is read wrongly. MultiWOZ has the same form from version 2.2. USER becomes `customer` and
SYSTEM becomes `agent`. The topic is the services without their numbers, and a turn's dialog act is the first annotated
act, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.json_stream import kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import Source

_SPEAKERS: Final = {"user": "customer", "system": "agent"}
_KEYS: Final = ("dialogue_id", "turns[].speaker", "turns[].utterance")


def recognise(source: Source) -> bool:
    """Whether the first dialogue has a name and turns with speaker and utterance."""
    return any({prefix + key for key in _KEYS} <= source.file.paths for prefix in ("", "[]."))


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all dialogues.

    Raises:
        DataError: a dialogue is malformed; with its number and, if it has one, its name.
    """
    log.notes.append("USER is read as customer, SYSTEM as agent")
    for number, (place, dialogue) in enumerate(records(source.file, options.encoding), 1):
        name = dialogue.get("dialogue_id")
        if not isinstance(name, str):
            raise DataError(source.file.name, f"{place}: dialogue_id must be text, is {kind_of(name)}")
        try:
            yield from _messages(dialogue, f"{number}\0{name}")
        except ValueError as error:
            raise DataError(source.file.name, f"{place} ({name[:100]!r}): {error}") from None


def _messages(dialogue: Mapping[str, Any], conversation: str) -> Iterator[Message]:
    turns, topic = dialogue.get("turns"), _topic(dialogue.get("services"))
    if not isinstance(turns, list):
        raise ValueError(f"turns must be a list, is {kind_of(turns)}")
    for index, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            raise ValueError(f"turns[{index}] must be an object, is {kind_of(turn)}")
        for key in ("speaker", "utterance"):
            if not isinstance(turn.get(key), str):
                raise ValueError(f"turns[{index}].{key} must be text, is {kind_of(turn.get(key))}")
        speaker: str = turn["speaker"]
        yield Message(
            conversation,
            _SPEAKERS.get(speaker.lower(), speaker),
            turn["utterance"],
            topic=topic,
            dialog_act=_act(turn.get("frames")),
        )


def _topic(services: object) -> str | None:
    """The services' names without their numbers: Hotels_2 and Buses_1 become "hotels, buses".

    Raises:
        ValueError: they are not a list of names.
    """
    if services is None:
        return None
    if not isinstance(services, list) or not all(isinstance(each, str) for each in services):
        raise ValueError("services must be a list of names")
    names = (each.rstrip("0123456789").rstrip("_").strip().lower() for each in services)
    return ", ".join(dict.fromkeys(name for name in names if name)) or None


def _act(frames: object) -> str | None:
    """The first act of the first frame that has one; annotations in another form are ignored."""
    for frame in frames if isinstance(frames, list) else ():
        actions = frame.get("actions") if isinstance(frame, Mapping) else None
        for action in actions if isinstance(actions, list) else ():
            act = action.get("act") if isinstance(action, Mapping) else None
            if isinstance(act, str) and act.strip():
                return act.strip()
    return None


FORMAT = Format("schema-guided", "Schema-Guided Dialogues", recognise, read)
