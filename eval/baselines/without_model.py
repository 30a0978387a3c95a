"""Baselines without a model: as many replies to the same contexts as a model gives.

Open it to add a baseline. The published metrics hardly distinguish a model from random utterances, so every table shows
these rows besides a model:

    random utterances       drawn evenly from all training utterances, none twice for a context; several utterances may
                            have the same text, so frequent texts are likelier
    one reply               the most common training utterance, n times
    i'm not sure            these words, n times
    fixed backchannels      the n most common training utterances, equal for all contexts; in Switchboard backchannels
    nearest neighbours      replies of the n most similar training contexts of equal topic and floor (`context_index`)
    nearest, any topic      the same of all topics

The published BLEU depends on details of the single reply: `uh-huh` has three tokens and gets a score, `yeah` has one
token and gets 0. `eval.references.builder` builds references from the same nearest neighbours, so with such references
the neighbour rows are compared with themselves. Judge them by the corpus's own reply, or by the published file.

No baseline sees the reference. Utterances that differ only in case, punctuation and spacing count as one, in their most
common form. The random numbers of a context depend on the seed, the index of its conversation and its position, as for
a model (`eval.contexts.generator`).

If contexts have several references, there is one more row, people: `eval.baselines.people`.
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
from eval.contexts import MAX_CONTEXT, AnsweredContext, Window, reply_texts, seeded_windows, windows
from eval.references.context_index import ContextIndex

T = TypeVar("T")
Baseline: TypeAlias = Callable[[Sequence[Conversation], Sequence[Conversation], int, int], list[AnsweredContext]]
"""(training conversations, conversations to answer, replies to each context, seed) -> contexts with replies."""

UNSURE = "i'm not sure"


def random_utterances(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """Training utterances, each as likely as it is frequent."""
    texts = reply_texts(train)
    return [replied(window, _random(texts, n, rng)) for window, rng in seeded_windows(conversations, seed)]


def commonest_utterance(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """The most common training utterance; `seed` has no effect."""
    return _always(commonest(reply_texts(train), 1) * n, conversations)


def unsure(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """A reply that fits every context and says nothing; `train` and `seed` have no effect."""
    return _always([UNSURE] * n, conversations)


def fixed_backchannels(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """The n most common training utterances, repeated if there are fewer; `seed` has no effect."""
    return _always(list(islice(cycle(commonest(reply_texts(train), n)), n)), conversations)


def nearest_neighbours(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """Replies of the most similar training contexts of equal topic and floor; random ones if there are too few."""
    return _retrieved(train, conversations, n, seed, by_topic=True)


def nearest_of_any_topic(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """Replies of the most similar training contexts of equal floor; random ones if there are too few."""
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
    """The n most common texts, the most common first; of equally common ones the first in the corpus."""
    forms: dict[str, Counter[str]] = {}
    for text in texts:
        forms.setdefault(normalised(text), Counter())[text] += 1
    totals = Counter({key: counts.total() for key, counts in forms.items()})
    return [forms[key].most_common(1)[0][0] for key, _ in totals.most_common(n)]


def verbatim(answered: Iterable[AnsweredContext], texts: Iterable[str]) -> float:
    """The share of replies that have the words of one of the texts: replies that are copied from training data.

    Raises:
        ValueError: there is no reply.
    """
    known = set(map(normalised, texts))
    replies = [normalised(reply) in known for one in answered for reply in one.replies]
    if not replies:
        raise ValueError("a share needs at least 1 reply, got 0")
    return sum(replies) / len(replies)


def shuffled(items: Sequence[T], n: int, rng: np.random.Generator) -> list[T]:
    """At most n of the items, in random order."""
    return [items[index] for index in rng.choice(len(items), min(n, len(items)), replace=False)]


def replied(window: Window, replies: Iterable[str]) -> AnsweredContext:
    """The context of a window with replies to it."""
    return AnsweredContext.at(window.conversation, window.position, MAX_CONTEXT, tuple(replies))


def _retrieved(
    train: Sequence[Conversation], conversations: Sequence[Conversation], n: int, seed: int, *, by_topic: bool
) -> list[AnsweredContext]:
    texts = reply_texts(train)
    neighbours = ContextIndex(train).nearest(windows(conversations), n, by_topic=by_topic)
    found = []
    for (query, rng), near in zip(seeded_windows(conversations, seed), neighbours, strict=True):
        replies = [one.window.reply.text for one in near]
        found.append(replied(query, [*replies, *_random(texts, n - len(replies), rng)]))
    return found


def _random(texts: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """Exactly n of the texts, none drawn twice unless there are fewer; equal texts count as different ones."""
    return list(islice(cycle(shuffled(texts, n, rng)), n))


def _always(replies: Sequence[str], conversations: Sequence[Conversation]) -> list[AnsweredContext]:
    return [replied(window, replies) for window in windows(conversations)]
