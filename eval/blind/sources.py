"""The sources of replies on a sheet: checkpoints, running services, files, people, and rows without a model.

Open it to add a kind of source. All sources answer the same contexts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.generate.responder import Question, Responder
from dialog_cvae.limits import find_name
from dialog_cvae.types import Conversation
from eval.baselines.without_model import shuffled
from eval.blind.places import Answers, Task
from eval.blind.service import Service
from eval.contexts import Place, generator, reply_texts
from eval.references.context_index import ContextIndex

PEOPLE, NEIGHBOURS, RANDOM = "people", "neighbours", "random"


Source: TypeAlias = Callable[[Task], Answers]


class SourceName(NamedTuple):
    """A source as the command line names it.

    Attributes:
        name: name in the results; readers never see it.
        value: checkpoint folder, URL or file; equal to the name for a source without a model.
    """

    name: str
    value: str

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is the folder of a checkpoint."""
        return self.value not in WITHOUT_MODEL and not _is_url(self.value) and not self.value.endswith(".jsonl")

    @property
    def needs_train(self) -> bool:
        """Whether its replies come from the training split."""
        return self.value in (NEIGHBOURS, RANDOM)


def parse_sources(texts: Sequence[str]) -> list[SourceName]:
    """The sources that the command line names.

    Raises:
        ConfigError: a source has no value, a name is a duplicate, or a word of WITHOUT_MODEL is followed by `=`.
    """
    found: dict[str, SourceName] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if name in WITHOUT_MODEL and not sign:
            value = name
        elif not name.strip() or not value or {name, value} & WITHOUT_MODEL.keys():
            raise ConfigError(
                f"SOURCE: must be {', '.join(WITHOUT_MODEL)} alone, or NAME=FOLDER, NAME=URL or NAME=FILE.jsonl, "
                f"but is {text!r}"
            )
        if name in found:
            raise ConfigError(f"SOURCE: duplicate name {name!r}")
        found[name] = SourceName(name, value)
    return list(found.values())


def open_source(source: SourceName, device: str, api_key: str | None) -> Source:
    """Open a source, and refuse everything that can be refused before the contexts are known.

    Args:
        source: its name and value.
        device: where a checkpoint runs.
        api_key: for a service that requires one.

    Raises:
        DialogCvaeError: it cannot be opened.
    """
    if source.value in WITHOUT_MODEL:
        return WITHOUT_MODEL[source.value]
    if _is_url(source.value):
        return Service(source.value, api_key).answers
    if source.value.endswith(".jsonl"):
        return _from_file(Path(source.value))
    responder = Responder.load(source.value, device=device)
    return lambda task: _from_model(responder, task)


def _is_url(value: str) -> bool:
    return bool(re.match(r"https?://", value))


def _from_model(responder: Responder, task: Task) -> Answers:
    """The replies that the service would give, with the checkpoint's own decoding; an unknown topic counts as none."""
    questions = (
        Question(
            responder.prepared(_known(place.before, responder)),
            responder.prepared_name(place.window.reply.speaker),
            task.replies,
            place.seed(task.seed),
            responder.decoding,
        )
        for place in task.places
    )
    return [[reply.text for reply in responder.finish(responder.begin([question]))[0]] for question in questions]


def _known(conversation: Conversation, responder: Responder) -> Conversation:
    """The conversation with its topic in the model's spelling, or without a topic if the model does not know it."""
    if conversation.topic is None or responder.codec.free_topic:
        return conversation
    return replace(conversation, topic=find_name(conversation.topic, responder.topics))


def _people(task: Task) -> Answers:
    """What was really said."""
    return [[place.window.reply.text] for place in task.places]


def _neighbours(task: Task) -> Answers:
    """The replies to the most similar training contexts of equal topic and floor; fewer if there are fewer."""
    found = ContextIndex(task.train).nearest([place.window for place in task.places], task.replies)
    return [[one.window.reply.text for one in near] for near in found]


def _random(task: Task) -> Answers:
    """Training utterances, each as likely as it is frequent."""
    texts = reply_texts(task.train)
    return [shuffled(texts, task.replies, generator(*place.seed(task.seed))) for place in task.places]


WITHOUT_MODEL: dict[str, Source] = {PEOPLE: _people, NEIGHBOURS: _neighbours, RANDOM: _random}


class _Line(BaseModel):
    """One line of a file of replies; other fields, such as those of an evaluation's responses.jsonl, are ignored."""

    model_config = ConfigDict(strict=True)

    conversation: str
    position: int
    responses: list[str]


def _from_file(path: Path) -> Source:
    """The replies of a file, which may answer more contexts than the sheet has.

    Raises:
        DataError: the file is missing or malformed; from the source, a context is not in it.
    """
    known: dict[Place, list[str]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = _Line.model_validate(json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the line"
            raise DataError(path, f"{field}: {first['msg']}", number) from None
        except ValueError:
            raise DataError(path, "is not a JSON object in UTF-8", number) from None
        place = (read.conversation, read.position)
        if place in known:
            raise DataError(path, f"duplicate: conversation {place[0]!r}, position {place[1]}", number)
        known[place] = read.responses

    def answers(task: Task) -> Answers:
        for place in task.places:
            if place.window.place not in known:
                conversation, position = place.window.place
                raise DataError(path, f"has no replies to conversation {conversation!r}, position {position}")
        return [known[place.window.place][: task.replies] for place in task.places]

    return answers
