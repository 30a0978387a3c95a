"""A sheet of replies without names, and its key.

Open it to see how sources are hidden. The replies of a context are its distinct texts, sorted and then shuffled by the
seed and the context alone. So neither the order of the replies nor their ids depend on who said what, on the names of
the sources, or on their order. A text that several sources said is on the sheet once.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dialog_cvae.errors import DataError
from eval.blind.places import Answers, ContextPlace

KEY_FILE, CSV_FILE, RULES_FILE, PAGE_FILE = "key.json", "sheet.csv", "rules.md", "sheet.html"

_SHUFFLE = 1  # part of the seed, so that these random numbers differ from those that draw replies


class SheetContext(NamedTuple):
    """A context with its replies, as readers see it.

    Attributes:
        topic: of the conversation; empty if unknown.
        turns: the last utterances, (speaker, text), oldest first.
        speaker: who replies.
        replies: (id, text), in random order.
    """

    topic: str
    turns: tuple[tuple[str, str], ...]
    speaker: str
    replies: tuple[tuple[str, str], ...]


class Sheet(NamedTuple):
    """What readers see.

    Attributes:
        id: a digest of everything on the sheet; ids of replies begin with it.
        contexts: in the order of the draw.
    """

    id: str
    contexts: tuple[SheetContext, ...]


class KeyContext(BaseModel):
    """Who said what in a context.

    Attributes:
        conversation: its id.
        position: index of the reply among the conversation's utterances, from 0.
        replies: ids on the sheet, by source, in the order in which the source gave the replies. An id may occur twice;
            an empty reply is None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    conversation: str
    position: int
    replies: dict[str, list[str | None]]


class Key(BaseModel):
    """Who said what on a sheet.

    Attributes:
        sheet: id of the sheet.
        made: how it was made.
        texts: of the replies, by id, in the order of the sheet.
        contexts: in the order of the sheet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sheet: str
    made: dict[str, Any]
    texts: dict[str, str]
    contexts: list[KeyContext]

    @property
    def sources(self) -> list[str]:
        """Names of the sources."""
        return list(self.contexts[0].replies)

    def to_bytes(self) -> bytes:
        """The content of KEY_FILE."""
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> Key:
        """Read a key.

        Raises:
            DataError: the file is missing, malformed or contradicts itself.
        """
        try:
            key = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(path, f"is not the key of a sheet ({field}: {first['msg']})") from None
        if not key.contexts or not key.sources:
            raise DataError(path, "is not the key of a sheet (no context or no source)")
        for context in key.contexts:
            if list(context.replies) != key.sources:
                raise DataError(path, f"{context.conversation}, {context.position}: sources are not {key.sources}")
            for one in (one for ids in context.replies.values() for one in ids):
                if one is not None and one not in key.texts:
                    raise DataError(path, f"{context.conversation}, {context.position}: no text for {one}")
        return key


def build_sheet(
    places: Sequence[ContextPlace], answers: Mapping[str, Answers], shown: int, seed: int, made: Mapping[str, Any]
) -> tuple[Sheet, Key]:
    """Shuffle the replies of all sources.

    Args:
        places: the contexts.
        answers: replies to each context, by source.
        shown: the most utterances of a context that readers see.
        seed: of the order of the replies.
        made: what the key says about how the sheet was made.
    """
    said = {name: [[_plain(text) for text in texts] for texts in rows] for name, rows in answers.items()}
    # the distinct texts of each context, in random order
    orders: list[list[str]] = []
    for number, place in enumerate(places):
        texts = sorted({text for rows in said.values() for text in rows[number]} - {""})
        order = np.random.default_rng((*place.seed(seed), _SHUFFLE)).permutation(len(texts))
        orders.append([texts[i] for i in order])
    # ids
    views = [_view(place, shown) for place in places]
    content = json.dumps([(view, order) for view, order in zip(views, orders, strict=True)])
    sheet = "s" + hashlib.sha256(content.encode()).hexdigest()[:6]
    ids = [
        {text: f"{sheet}-{context:03d}-{reply:02d}" for reply, text in enumerate(order, start=1)}
        for context, order in enumerate(orders, start=1)
    ]
    contexts = tuple(
        view._replace(replies=tuple((one, text) for text, one in known.items()))
        for view, known in zip(views, ids, strict=True)
    )
    key = Key(
        sheet=sheet,
        made=dict(made),
        texts={one: text for known in ids for text, one in known.items()},
        contexts=[
            KeyContext(
                conversation=place.window.conversation.id,
                position=place.window.position,
                replies={name: [known.get(text) for text in rows[number]] for name, rows in said.items()},
            )
            for number, (place, known) in enumerate(zip(places, ids, strict=True))
        ],
    )
    return Sheet(sheet, contexts), key


def _view(place: ContextPlace, shown: int) -> SheetContext:
    """A context as readers see it, without replies."""
    turns = tuple((turn.speaker, _plain(turn.text)) for turn in place.before.utterances[-shown:])
    return SheetContext(place.before.topic or "", turns, place.window.reply.speaker, ())


def _plain(text: str) -> str:
    """A text with uniform spacing in one form of Unicode, so that neither reveals its source."""
    return " ".join(unicodedata.normalize("NFC", text).split())
