"""Rows that keep a table honest: replies without a model, to the same contexts and as many for each.

The published metrics tell a model from random utterances by little, so every model is shown beside

    random utterances       drawn evenly from all training utterances, none twice for a context; but different ones may
                            read the same, and a text comes as often as it was said
    one reply               the commonest training utterance, n times
    i'm not sure            these words, n times
    fixed backchannels      the n commonest training utterances, for every context the same; in Switchboard backchannels
    nearest neighbours      replies of the n most similar training contexts of equal topic and floor (`similarity`)
    nearest, any topic      the same of all topics

The published BLEU favours one or another of them by far: of a single reply `uh-huh` has three tokens and scores, `yeah`
has one and does not. Neighbours are candidates of `eval.references.builder` too, so against references that were built
this row is scored against itself; judge it by the reply that was said, or against the published file.

None of them sees the conversations that it answers. Utterances that differ in case, punctuation and spacing alone
count as one, in the form in which they are commonest. The randomness of a context follows from the seed, the index of
its conversation and its position, as for a model (`eval.contexts.generator`).

People are one more row where contexts have several references: `eval.baselines.people`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import numpy as np

from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation
from eval.contexts import MAX_CONTEXT, Window, seeded_windows, windows
from eval.generation import Sampled, answered_at
from eval.references.similarity import ContextIndex

T = TypeVar("T")
Baseline: TypeAlias = Callable[[Sequence[Conversation], Sequence[Conversation], int, int], list[Sampled]]
"""(training conversations, conversations to answer, replies for each context, seed) -> replies, in order."""

UNSURE = "i'm not sure"


def random_utterances(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[Sampled]:
    """Training utterances, each as likely as it is frequent."""
    texts = _texts(train)
    return [replied(window, _random(texts, n, rng)) for window, rng in seeded_windows(conversations, seed)]


def commonest_utterance(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[Sampled]:
    """The commonest training utterance; `seed` is without effect."""
    return _always(commonest(_texts(train), 1) * n, conversations)


def unsure(train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int) -> list[Sampled]:
    """What fits everywhere and says nothing; `train` and `seed` are without effect."""
    return _always([UNSURE] * n, conversations)


def fixed_backchannels(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[Sampled]:
    """The n commonest training utterances, over again if there are fewer; `seed` is without effect."""
    return _always(list(islice(cycle(commonest(_texts(train), n)), n)), conversations)


def nearest_neighbours(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[Sampled]:
    """Replies of the most similar training contexts of equal topic and floor; random ones where there are too few."""
    return _retrieved(train, conversations, n, seed, by_topic=True)


def nearest_of_any_topic(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[Sampled]:
    """Replies of the most similar training contexts of equal floor; random ones where there are too few."""
    return _retrieved(train, conversations, n, seed, by_topic=False)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "random utterances": random_utterances,
        "one reply": commonest_utterance,
        UNSURE: unsure,
        "fixed backchannels": fixed_backchannels,
        "nearest neighbours": nearest_neighbours,
        "nearest, any topic": nearest_of_any_topic,
    }
)


def commonest(texts: Iterable[str], n: int) -> list[str]:
    """The n commonest texts, the commonest first and of equal ones the one that was there first."""
    forms: dict[str, Counter[str]] = {}
    for text in texts:
        forms.setdefault(normalised(text), Counter())[text] += 1
    totals = Counter({key: counts.total() for key, counts in forms.items()})
    return [forms[key].most_common(1)[0][0] for key, _ in totals.most_common(n)]


def verbatim(sampled: Iterable[Sampled], texts: Iterable[str]) -> float:
    """The share of replies that have the words of one of the texts; says how much was remembered, not said anew.

    Raises:
        ValueError: there is no reply.
    """
    known = set(map(normalised, texts))
    replies = [normalised(reply) in known for one in sampled for reply in one.responses]
    if not replies:
        raise ValueError("a share needs at least 1 reply, got 0")
    return sum(replies) / len(replies)


def shuffled(items: Sequence[T], n: int, rng: np.random.Generator) -> list[T]:
    """At most n of the items, in random order."""
    return [items[index] for index in rng.choice(len(items), min(n, len(items)), replace=False)]


def replied(window: Window, responses: Iterable[str]) -> Sampled:
    """The record of replies to the context of a window."""
    return answered_at(window.conversation, window.position, MAX_CONTEXT, tuple(responses))


def _retrieved(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int, *, by_topic: bool
) -> list[Sampled]:
    texts = _texts(train)
    neighbours = ContextIndex(train).nearest(windows(conversations), n, by_topic=by_topic)
    found = []
    for (query, rng), near in zip(seeded_windows(conversations, seed), neighbours, strict=True):
        replies = [one.window.reply.text for one in near]
        found.append(replied(query, [*replies, *_random(texts, n - len(replies), rng)]))
    return found


def _random(texts: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """Exactly n of the texts, none drawn twice unless there are fewer; equal ones among them are several."""
    return list(islice(cycle(shuffled(texts, n, rng)), n))


def _always(responses: Sequence[str], conversations: Sequence[Conversation]) -> list[Sampled]:
    return [replied(window, responses) for window in windows(conversations)]


def _texts(conversations: Iterable[Conversation]) -> list[str]:
    return [utterance.text for conversation in conversations for utterance in conversation.utterances]
