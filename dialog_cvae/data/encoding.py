"""Encodes conversations: every text becomes token ids, once.

Open it to change what is kept of a text that is too long, whom a speaker talks to, or what is known about a speaker.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dialog_cvae.config import Reading
from dialog_cvae.data.encoded_corpus import NO_SPEAKER, UNKNOWN_TOPIC, EncodedCorpus
from dialog_cvae.data.roles import UNKNOWN_ROLE, role_number
from dialog_cvae.data.windows import Integers
from dialog_cvae.limits import normal
from dialog_cvae.types import UNKNOWN_PROFILE, Conversation, Profile

if TYPE_CHECKING:
    from dialog_cvae.text.tokenizer import Tokenizer


def encode_corpus(
    conversations: Iterable[Conversation],
    tokenizer: Tokenizer,
    topics: Sequence[str],
    max_tokens: int,
    reading: Reading = 3,
    roles: Sequence[str] = (),
) -> EncodedCorpus:
    """Encode texts as token ids. Only one conversation is in memory at a time.

    Args:
        conversations: in any order, which is kept.
        tokenizer: the model's.
        topics: known topics in the order of the model's embedding; all others become `<unknown>`.
        max_tokens: maximum number of tokens of an utterance, `<s>` and `</s>` included.
        reading: see `DataConfig`; 1 keeps the first tokens and `</s>` of an utterance that is too long.
        roles: known roles in the order of the model's embedding; all other speakers have the unknown one.
    """
    topic_ids = _topic_ids(topics)
    opening = [tokenizer.bos_id, tokenizer.dialog_start_id, tokenizer.eos_id]
    profile_rows = {UNKNOWN_PROFILE: 0}
    columns = _Columns(len(tokenizer), max_tokens, reading)
    for conversation in conversations:
        topic = conversation.topic or ""
        columns.begin(topic_ids.get(topic, topic_ids.get(normal(topic), UNKNOWN_TOPIC)), conversation.context_positions)
        columns.add(opening, NO_SPEAKER, (0, 0), UNKNOWN_ROLE if roles else None)
        numbers: dict[str, int] = {}  # numbers of the speakers of this conversation
        roles_here = _roles(conversation, roles)
        parties = _parties(conversation, profile_rows)
        for utterance, rows in zip(conversation.utterances, parties, strict=True):
            ids = [tokenizer.bos_id, *tokenizer.encode(utterance.text), tokenizer.eos_id]
            number = numbers.setdefault(utterance.speaker, len(numbers))
            columns.add(ids, number, rows, roles_here.get(utterance.speaker))
    return columns.corpus(profile_rows)


class _Columns:
    """The columns of an `EncodedCorpus` while utterances are added to it.

    Args:
        vocabulary: number of token ids.
        max_tokens, reading: see `encode_corpus`.
    """

    def __init__(self, vocabulary: int, max_tokens: int, reading: Reading) -> None:
        self._max_tokens, self._reading = max_tokens, reading
        self._tokens = array("H" if vocabulary <= 2**16 else "I")
        self._lengths, self._parties, self._roles = array("I"), array("I"), array("I")
        self._speakers, self._topics = array("i"), array("i")
        self._starts, self._long, self._context_only = array("q"), array("q"), array("q")
        self._long_replies: list[list[int]] = []

    def begin(self, topic: int, context_positions: Iterable[int]) -> None:
        """Begin a conversation. Add its pseudo-utterance next, then its utterances from position 0."""
        start = len(self._lengths)
        self._starts.append(start)
        self._topics.append(topic)
        self._context_only.extend(start + 1 + position for position in context_positions)

    def add(self, ids: list[int], speaker: int, parties: tuple[int, int], role: int | None) -> None:
        """Add an utterance, however long; `role` is None without roles."""
        if len(ids) > self._max_tokens and self._reading > 1:
            self._long.append(len(self._lengths))
            self._long_replies.append(ids[: self._max_tokens])
        ids = (truncate if self._reading == 1 else both_ends)(ids, self._max_tokens)
        self._tokens.extend(ids)
        self._lengths.append(len(ids))
        self._speakers.append(speaker)
        self._parties.extend(parties)
        if role is not None:
            self._roles.append(role)

    def corpus(self, profiles: Iterable[Profile]) -> EncodedCorpus:
        """The corpus; the long utterances are repeated at the end of its tokens, as replies. Call it only once."""
        self._starts.append(len(self._lengths))
        for ids in self._long_replies:
            self._tokens.extend(ids)
            self._lengths.append(len(ids))
        features = np.array([profile_features(each) for each in profiles], dtype=np.float32)  # (P, value or known, 4)
        return EncodedCorpus(
            tokens=np.array(self._tokens),
            offsets=_offsets(self._lengths),
            long=np.array(self._long, dtype=np.int64),
            speaker=_smallest(np.asarray(self._speakers)),
            parties=_smallest(np.asarray(self._parties).reshape(-1, 2)),
            starts=np.array(self._starts, dtype=np.int64),
            topic=np.array(self._topics, dtype=np.int32),
            profiles=features[:, 0].copy(),
            known=features[:, 1].copy(),
            context_only=np.array(self._context_only, dtype=np.int64),
            role=_smallest(np.asarray(self._roles)),
        )


def _topic_ids(topics: Sequence[str]) -> dict[str, int]:
    """The row of each topic in the embedding, by its name as given and in normal form."""
    ids = {name: i for i, name in enumerate(topics, start=1)}
    return {normal(name): i for name, i in ids.items()} | ids


def _roles(conversation: Conversation, roles: Sequence[str]) -> Mapping[str, int]:
    """The role of each speaker; empty without roles."""
    spoken = {each.speaker for each in conversation.utterances} if roles else set()
    return {name: role_number(name, roles) for name in spoken}


def _parties(conversation: Conversation, rows: dict[Profile, int]) -> list[tuple[int, int]]:
    """The rows of the profiles of each utterance's speaker and addressee; new profiles are added to `rows`."""
    here = {name: rows.setdefault(profile, len(rows)) for name, profile in conversation.speakers.items()}
    return [
        (here.get(utterance.speaker, 0), 0 if other is None else here.get(other, 0))
        for utterance, other in zip(conversation.utterances, addressees(conversation), strict=True)
    ]


def truncate(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens: the first limit - 1 and the last, as in the official code."""
    return list(tokens) if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def both_ends(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens: half of them from the beginning, the others from the end."""
    first = limit // 2
    return list(tokens) if len(tokens) <= limit else [*tokens[:first], *tokens[len(tokens) - limit + first :]]


def addressees(conversation: Conversation) -> list[str | None]:
    """The addressee of each utterance: the other one of two speakers, else the latest other speaker, else None."""
    speakers = [utterance.speaker for utterance in conversation.utterances]
    names = {*speakers, *conversation.speakers}
    if len(names) == 2:
        one, two = names
        return [two if speaker == one else one for speaker in speakers]
    found: list[str | None] = []
    latest: str | None = None
    before_latest: str | None = None  # the latest speaker who is not `latest`
    for speaker in speakers:
        if speaker != latest:
            latest, before_latest = speaker, latest
        found.append(before_latest)
    return found


def profile_features(profile: Profile) -> tuple[list[float], list[float]]:
    """The features [age / 100, education / 3, female, male], and 1 for each that is known, else 0."""
    age, education = profile.age, profile.education
    features = [(age or 0) / 100, (education or 0) / 3, float(profile.sex == "female"), float(profile.sex == "male")]
    sex_known = float(profile.sex is not None)
    return features, [float(age is not None), float(education is not None), sex_known, sex_known]


def _offsets(lengths: array[int]) -> Integers:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _smallest(offsets)


def _smallest(values: Integers) -> Integers:
    """A copy in the smallest integer type, unsigned unless a value is negative."""
    kinds = [np.min_scalar_type(int(limit)) for limit in (values.min(initial=0), values.max(initial=0))]
    if kinds[0].kind == "i":  # then the highest value needs a signed type too
        kinds[1] = np.min_scalar_type(-1 - int(values.max()))
    return values.astype(np.result_type(*kinds))
