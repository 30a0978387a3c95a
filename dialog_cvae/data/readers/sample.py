"""A synthetic corpus for first steps and for tests, made by a seeded grammar; no file is read.

Two speakers with profiles exchange questions, answers, stories and opinions on ten topics. Every move allows several
replies and is about what was said before, so that a model of p(reply | context) has both something to learn from the
context and something that the context leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

from dialog_cvae.data.readers import sample_tables
from dialog_cvae.data.readers.sample_tables import MOVES, OFTEN, OPENINGS, PEOPLE, TOPICS, WHEN, Topic
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation, Corpus, Profile, Utterance

NAME = "sample (synthetic)"
SPEAKERS = ("A", "B")
MIN_CONVERSATIONS = 10
SOURCE_FILES = (Path(__file__), Path(sample_tables.__file__))

_SENTENCE_START = re.compile(r"(?:^|[.?!] )[a-z]")


def read(seed: int = 0, conversations: int = 400) -> Corpus:
    """Make the corpus; 80, 10 and 10 percent train, valid and test.

    Args:
        seed: another seed gives other conversations.
        conversations: how many, at least 10; a larger corpus of the same seed begins like a smaller one.

    Raises:
        ConfigError: too few conversations for three splits.
    """
    if conversations < MIN_CONVERSATIONS:
        raise ConfigError(f"sample: conversations must be at least {MIN_CONVERSATIONS}, is {conversations}")
    made = [_conversation(seed, index) for index in range(conversations)]
    held_out = conversations // 10
    train, valid = conversations - 2 * held_out, conversations - held_out
    notes = (f"synthetic: {conversations} conversations made by a grammar with seed {seed}, said by nobody",)
    return Corpus(NAME, made[:train], made[train:valid], made[valid:], notes, licence="MIT")


def _conversation(seed: int, index: int) -> Conversation:
    rng = Random(f"{seed}/{index}")
    topic = TOPICS[index % len(TOPICS)]
    profiles = {
        speaker: Profile(rng.choice(("female", "male")), rng.randrange(20, 76), rng.randrange(4))
        for speaker in SPEAKERS
    }
    return Conversation(
        id=f"sample-{index:04}",
        utterances=tuple(_utterances(rng, topic, profiles)),
        topic=topic.name,
        prompt=f"Find out what the other caller thinks about {topic.name}.",
        speakers=MappingProxyType(profiles),
    )


def _utterances(rng: Random, topic: Topic, profiles: Mapping[str, Profile]) -> Iterator[Utterance]:
    """A greeting, exchanges up to a drawn length, and a pair of good-byes: 8 to 16 utterances."""
    speaker = rng.choice(SPEAKERS)
    length = rng.randrange(6, 9)
    said = 0
    for opening in _openings(rng):
        for utterance in _exchange(rng, topic, profiles, speaker, opening):
            yield utterance
            speaker = _other(utterance.speaker)
            said += 1
        if said >= length:
            break
    yield from _exchange(rng, topic, profiles, speaker, "close")


def _openings(rng: Random) -> Iterator[str]:
    """How the exchanges of a conversation begin: no kind comes twice in a row."""
    opening = "greet"
    while True:
        yield opening
        opening = rng.choice([name for name in OPENINGS if name != opening])


def _exchange(
    rng: Random, topic: Topic, profiles: Mapping[str, Profile], speaker: str, name: str
) -> Iterator[Utterance]:
    """Moves from `name` on until one that nothing needs to follow; the first is `speaker`'s."""
    do, did = rng.choice(topic.activities)
    things, others = rng.sample(topic.things, 2)
    good, bad = rng.choice(topic.good), rng.choice(topic.bad)
    subject = {"topic": topic.name, "kind": topic.kind, "do": do, "did": did, "things": things, "others": others}
    while True:
        move = MOVES[name]
        slots = {"good": good, "bad": bad, "who": _somebody(rng, profiles[speaker])}
        slots |= {"when": rng.choice(WHEN), "often": rng.choice(OFTEN)}
        text = rng.choice(move.templates).format(**subject, **slots)
        yield Utterance(speaker, _SENTENCE_START.sub(lambda match: match[0].upper(), text), move.act)
        if not move.next:
            return
        name = rng.choice(move.next)
        if not MOVES[name].same_speaker:
            speaker = _other(speaker)


def _somebody(rng: Random, profile: Profile) -> str:
    age = profile.age or 0
    return rng.choice(next(people for limit, people in PEOPLE.items() if age < limit))


def _other(speaker: str) -> str:
    return SPEAKERS[1 - SPEAKERS.index(speaker)]
