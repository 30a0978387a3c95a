"""Roles, such as customer and agent: which speakers have one, and corpora in which only some of them reply.

Open it to change what a role is, how the name of a role finds its speakers, or the error for an unknown name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import overload

from dialog_cvae.errors import ConfigError
from dialog_cvae.limits import MAX_SPEAKER_CHARS, find_name, folded, visible
from dialog_cvae.types import Conversation, Corpus

MOST_ROLES = 8  # with more, the speakers of most conversations are not roles
UNKNOWN_ROLE = 0  # number of a speaker without a role
SPEAKERS_SHOWN = 10  # speakers in the message about an unknown role
SHOWN_CHARS = 40  # characters of a name in a message


class RoleReplies(Sequence[Conversation]):
    """Conversations in which only utterances of some speakers are replies. They are read when needed.

    Args:
        conversations: all of them.
        speakers: the names of these speakers, in every spelling of the corpus.
    """

    def __init__(self, conversations: Sequence[Conversation], speakers: tuple[str, ...]) -> None:
        self._conversations, self._speakers = conversations, speakers

    def __len__(self) -> int:
        return len(self._conversations)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> RoleReplies: ...
    def __getitem__(self, index: int | slice) -> Conversation | RoleReplies:
        if isinstance(index, slice):
            return RoleReplies(self._conversations[index], self._speakers)
        return replace(self._conversations[index], respond_as=self._speakers)

    def __iter__(self) -> Iterator[Conversation]:
        return (replace(conversation, respond_as=self._speakers) for conversation in self._conversations)


def with_roles(corpus: Corpus, wanted: Sequence[str]) -> Corpus:
    """The corpus with replies of the wanted speakers alone; the other utterances are context.

    Args:
        corpus: with or without empty splits.
        wanted: names of speakers, compared by `limits.folded`; without any, the corpus does not change.

    Raises:
        ConfigError: no speaker has one of these names, or a split that is not empty has no such reply.
    """
    if not wanted:
        return corpus
    counts = {split: speaker_counts(getattr(corpus, split)) for split in ("train", "valid", "test")}
    every = sum(counts.values(), Counter[str]())
    names = dict.fromkeys(folded(name) for name in wanted)
    for name in wanted:
        if folded(name) not in map(folded, every):
            raise ConfigError(f"corpus.respond_as: no speaker of {corpus.name} is {name!r}; it has {_listed(every)}")
    # All spellings, the most frequent one of each role first.
    spellings = [speaker for name in names for speaker, _ in every.most_common() if folded(speaker) == name]
    for split, found in counts.items():
        if found and not any(found[speaker] for speaker in spellings):
            raise ConfigError(
                f"corpus.respond_as: split {split} of {corpus.name} has no reply of {' or '.join(wanted)}"
            )
    train, valid, test = (RoleReplies(split, tuple(spellings)) for split in (corpus.train, corpus.valid, corpus.test))
    return corpus._replace(train=train, valid=valid, test=test)


def speaker_counts(conversations: Iterable[Conversation]) -> Counter[str]:
    """Utterances by speaker."""
    return Counter(utterance.speaker for conversation in conversations for utterance in conversation.utterances)


def recognised_roles(
    said: Counter[str], present: Mapping[str, int] | Mapping[str | None, int], conversations: int
) -> list[str]:
    """The roles of a corpus: speakers who take part in most conversations, those with most utterances first.

    Args:
        said: utterances by speaker; names that are equal when `folded` are one speaker.
        present: number of conversations in which each speaker says something.
        conversations: number of all conversations.

    Returns:
        The most frequent spelling of each; empty if there is only one such speaker, or more than `MOST_ROLES`.
    """
    utterances, there = Counter[str](), Counter[str]()
    spellings: dict[str, str] = {}
    for name, count in said.most_common():
        own = spellings.setdefault(folded(name), name)
        utterances[own] += count
        there[own] += present[name]
    found = [name for name, _ in utterances.most_common() if there[name] > conversations / 2]
    return found if 2 <= len(found) <= MOST_ROLES else []


def checked_roles(names: tuple[str, ...]) -> tuple[str, ...]:
    """The given names of a model's roles, after a check.

    Raises:
        ValueError: there are too many, or one is blank, too long or a duplicate.
    """
    if len(names) > MOST_ROLES:
        raise ValueError(f"at most {MOST_ROLES} roles are possible, but there are {len(names)}")
    known: dict[str, str] = {}
    for name in names:
        if not visible(name) or len(name) > MAX_SPEAKER_CHARS:
            shown = repr(name[:SHOWN_CHARS])
            raise ValueError(
                f"a role must have a visible character and at most {MAX_SPEAKER_CHARS} characters, but {shown} has "
                f"{len(name)}"
            )
        if (other := known.setdefault(folded(name), name)) != name or names.count(name) > 1:
            raise ValueError(f"{other!r} and {name!r} are the same role")
    return names


def joined_roles(names: Iterable[str]) -> tuple[str, ...]:
    """The first `MOST_ROLES` names, without those that are equal to an earlier name when `folded`."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(folded(name), name)
    return tuple(first.values())[:MOST_ROLES]


def role_number(speaker: str, roles: Sequence[str]) -> int:
    """The number of a speaker's role, from 1, in the order of `roles`; `UNKNOWN_ROLE` if the name is no role."""
    found = find_name(speaker, roles)
    return UNKNOWN_ROLE if found is None else 1 + roles.index(found)


def own_names(spellings: Iterable[str]) -> tuple[str, ...]:
    """One spelling of each role: the first, which is the most frequent."""
    return tuple(dict.fromkeys(own_name_by_spelling(spellings).values()))


def own_name_by_spelling(spellings: Iterable[str]) -> dict[str, str]:
    """For each spelling, the first spelling of the same role."""
    found: dict[str, str] = {}
    return {speaker: found.setdefault(folded(speaker), speaker) for speaker in spellings}


def answered_by_role(conversation: Conversation, speaker: str, roles: Sequence[str]) -> tuple[Conversation, str]:
    """A conversation and who answers it, by the names that a model learnt. No role answers itself if there is another.

    Args:
        conversation: so far, at least one utterance.
        speaker: who would answer without roles.
        roles: the roles that the model answers as, at least one.

    Returns:
        The conversation with roles in the model's spelling, and the role that answers: that of the latest speaker who
        has one, without the role that spoke last. If there is no such speaker, `speaker` gets the first other role.
    """
    latest_first = [utterance.speaker for utterance in reversed(conversation.utterances)]
    named = {name: role for name in latest_first if (role := find_name(name, roles)) is not None}
    last = named.get(latest_first[0])
    answers = next((role for role in named.values() if role != last), None)
    if answers is None and (others := [role for role in roles if role != last]):
        answers = others[0]
        named[speaker] = answers
    return _renamed(conversation, named), roles[0] if answers is None else answers


def in_spelling(conversation: Conversation, roles: Sequence[str]) -> Conversation:
    """A conversation with roles in the model's spelling: a language model reads the names.

    Args:
        conversation: so far.
        roles: the roles that the model knows. Other names stay as they are.
    """
    names = {utterance.speaker for utterance in conversation.utterances} | conversation.speakers.keys()
    return _renamed(conversation, {name: role for name in names if (role := find_name(name, roles)) is not None})


def other_role(conversation: Conversation, speaker: str, roles: Sequence[str]) -> str:
    """Who answers a conversation in which only one role has spoken: the first other role, even if it is not mentioned.

    Args:
        conversation: so far.
        speaker: who would answer without roles. Also answers if this name is a role, if several speakers have spoken,
            or if the only one has no role.
        roles: the roles that the model knows.
    """
    names = {utterance.speaker for utterance in conversation.utterances}
    spoken = find_name(next(iter(names)), roles) if len(names) == 1 else None
    if spoken is None or find_name(speaker, roles) is not None:
        return speaker
    return next((role for role in roles if role != spoken), speaker)


def _renamed(conversation: Conversation, names: Mapping[str, str]) -> Conversation:
    utterances = tuple(replace(each, speaker=names.get(each.speaker, each.speaker)) for each in conversation.utterances)
    speakers = {names.get(name, name): profile for name, profile in conversation.speakers.items()}
    return replace(conversation, utterances=utterances, speakers=speakers)


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(SPEAKERS_SHOWN))
    return f"{shown} and {len(counts) - SPEAKERS_SHOWN:,} more" if len(counts) > SPEAKERS_SHOWN else shown
