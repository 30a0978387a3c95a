"""The facts about a corpus that training needs besides its token ids: sizes, topics and roles.

Open it to change what a run knows about its corpus without reading the text again.
"""

from __future__ import annotations

from collections import Counter

from dialog_cvae.config import Config
from dialog_cvae.data.corpora import Split
from dialog_cvae.data.roles import own_names, recognised_roles
from dialog_cvae.types import Corpus

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Size(Config):
    """The size of a split."""

    conversations: int
    utterances: int


class Summary(Config):
    """Facts about a corpus, without its text.

    Attributes:
        name, notes, licence: see `dialog_cvae.types.Corpus`.
        sizes: sizes of its splits.
        topics: topics of the training conversations, in alphabetical order.
        respond_as: the speakers whose utterances are replies, one name for each role; empty: all speakers.
        roles: roles of the speakers in the training conversations, if these are a user's own; see `recognised_roles`.
            Speakers of published corpora, such as A and B, are not roles.
    """

    name: str
    notes: tuple[str, ...]
    licence: str | None
    sizes: dict[Split, Size]
    topics: tuple[str, ...]
    respond_as: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


def summarised(corpus: Corpus, *, has_roles: bool = False) -> Summary:
    """The facts about a corpus; `has_roles` says whether its speakers' names may be roles."""
    sizes, topics, respond_as = {}, set[str](), ()
    said, present = Counter[str](), Counter[str]()
    for split in SPLITS:
        conversations = utterances = 0
        for conversation in getattr(corpus, split):
            conversations += 1
            utterances += len(conversation.utterances)
            respond_as = conversation.respond_as
            if split != "train":
                continue
            if conversation.topic is not None:
                topics.add(conversation.topic)
            speakers = [utterance.speaker for utterance in conversation.utterances]
            said.update(speakers)
            present.update(set(speakers))
        sizes[split] = Size(conversations=conversations, utterances=utterances)
    return Summary(
        name=corpus.name,
        notes=corpus.notes,
        licence=corpus.licence,
        sizes=sizes,
        topics=tuple(sorted(topics)),
        respond_as=own_names(respond_as),
        roles=tuple(recognised_roles(said, present, sizes["train"].conversations)) if has_roles else (),
    )
