"""Divides a file of conversations into training, validation and test split, if its lines name no splits.

Open this to change which conversations count as copies of each other, or where copies go. Conversations are ordered by
hashes of their content: the first ones are validation, the next ones test, all others training. Copies share a split,
and so do a conversation and its continuations, and conversations that differ only in their last utterance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from dialog_cvae import limits
from dialog_cvae.data.readers.jsonl_line import SPLITS
from dialog_cvae.types import Conversation

KEY_BYTES = 16
SHORT_KEY = np.dtype("<u8")  # the first half of a key
TRAIN, VALID, TEST = (SPLITS.index(name) for name in ("train", "valid", "test"))
SMALL = 10  # a group is small if a held-out split has room for this many of its size
_NUMBER = regex.compile(r"\d+")

Keys = NDArray[np.bytes_]


class Beginnings(NamedTuple):
    """Short keys of the beginnings of conversations; see `beginning_keys`.

    Attributes:
        conversations: (B,) the index of each beginning's conversation, ascending.
        keys: (B,) of the beginnings, those of a conversation in the order of their lengths.
    """

    conversations: NDArray[np.int64]
    keys: NDArray[np.uint64]

    def contexts(self) -> NDArray[np.uint64]:
        """(C,) the key of each conversation without its last utterance, which is its longest beginning."""
        is_last = np.append(np.diff(self.conversations) > 0, [True] * (len(self.keys) > 0))
        found: NDArray[np.uint64] = self.keys[is_last]
        return found


class Sizes(NamedTuple):
    """Numbers of conversations wanted in the held-out splits."""

    valid: int
    test: int


def content_keys(conversation: Conversation, seed: int) -> bytes:
    """Three hashes of KEY_BYTES each, from the strictest to the most tolerant.

    The first depends on the seed, and is equal for conversations with equal speakers and texts. The second ignores
    speakers, case and spacing; the third ignores numbers too, such as those of orders and customers.
    """
    exact = [seed, *((u.speaker, u.text) for u in conversation.utterances)]
    said = _said(conversation)
    return b"".join(map(_hash, (exact, said, [_NUMBER.sub("0", text) for text in said])))


def beginning_keys(conversation: Conversation) -> Iterator[bytes]:
    """Short keys of its first 1, 2, 3, ... utterances, without the whole, in linear time.

    A key is the beginning of the second of the `content_keys` that a conversation of these utterances would have.
    """
    written = _new_hash(b"[")
    for place, text in enumerate(_said(conversation)[:-1]):
        written.update(f"{', ' * (place > 0)}{json.dumps(text)}".encode())
        ended = written.copy()
        ended.update(b"]")
        yield ended.digest()[: SHORT_KEY.itemsize]


def short_keys(keys: Keys) -> NDArray[np.uint64]:
    """(C,) the first halves of keys (C,)."""
    halves: NDArray[np.uint64] = np.ascontiguousarray(keys).view(SHORT_KEY).reshape(len(keys), -1)[:, 0]
    return halves


def shares_of(count: int, valid_share: float, test_share: float) -> Sizes:
    """The sizes of the held-out splits of `count` conversations, at least 3; every split has one."""
    valid = min(max(1, round(valid_share * count)), count - 2)
    return Sizes(valid, min(max(1, round(test_share * count)), count - 1 - valid))


def split_by_distinct(exact: Keys, valid_share: float, test_share: float) -> NDArray[np.int8]:
    """(C,) splits by shares of the distinct conversations: the rule of reading 1; see `content_keys` for the keys."""
    distinct, rank = np.unique(exact, return_inverse=True)
    valid, test = shares_of(len(distinct), valid_share, test_share)
    of_rank = np.full(len(distinct), TRAIN, dtype=np.int8)
    of_rank[:valid], of_rank[valid : valid + test] = VALID, TEST
    return of_rank[rank]


def split_by_conversations(
    exact: Keys,
    copies: Keys,
    templates: Keys,
    valid_share: float,
    test_share: float,
    beginnings: Beginnings | None = None,
) -> NDArray[np.int8]:
    """(C,) splits by shares of the conversations; copies share a split. Keys are those of `content_keys`.

    With `beginnings`, continuations of a conversation share its split too, and so do conversations that differ only in
    their last utterance, such as several answers to one prompt: readings 1 and 2 have none.

    Small groups of copies are held out first, in the order of their hashes. Larger groups stay in training, unless one
    brings a held-out split nearer to its size.
    """
    sizes = shares_of(len(exact), valid_share, test_share)
    if beginnings is not None:
        stem = stems(copies, beginnings, sizes)
        if len(np.unique(copies[stem])) >= len(SPLITS):
            copies, templates = copies[stem], templates[stem]
    group, counts = groups(exact, copies, templates, sizes, None if beginnings is None else beginnings.contexts())
    small = max(1, min(sizes) // SMALL)
    split = np.full(len(counts), TRAIN, dtype=np.int8)

    # Small groups. If there are few of them, training keeps its share of them, but at most a third.
    eligible = np.flatnonzero(counts <= small)
    available = int(counts[eligible].sum())
    kept = min(available // 3, available * (len(exact) - sum(sizes)) // len(exact))
    scale = min(1.0, (available - kept) / sum(sizes))
    ends = np.cumsum(counts[eligible])
    first, second = round(scale * sizes.valid), round(scale * sum(sizes))
    split[eligible[ends <= first]] = VALID
    begun = int(ends[ends <= first].max(initial=0))
    split[eligible[(ends > begun) & (ends <= second)]] = TEST

    # Then larger groups, the smallest first, while they bring a split nearer to its size.
    # At least one group remains for each later split.
    larger = sorted(np.flatnonzero(counts > small).tolist(), key=lambda index: (-counts[index], -index))
    for name, size in ((VALID, sizes.valid), (TEST, sizes.test)):
        kept = 1 + (name == VALID and not (split == TEST).any())
        held = int(counts[split == name].sum())
        while larger and np.count_nonzero(split == TRAIN) > kept and (not held or held + counts[larger[-1]] / 2 < size):
            split[larger[-1]] = name
            held += int(counts[larger.pop()])
    return split[group]


def stems(copies: Keys, beginnings: Beginnings, sizes: Sizes) -> NDArray[np.int64]:
    """(C,) the index of the shortest conversation that each one continues, else its own.

    A conversation whose copies and continuations would fill more than half of a held-out split is a form, such as a
    greeting, and its continuations have nothing else in common.
    """
    known, first, counts = np.unique(short_keys(copies), return_index=True, return_counts=True)
    place = np.minimum(np.searchsorted(known, beginnings.keys), len(known) - 1)
    is_known = known[place] == beginnings.keys
    is_form = counts + np.bincount(place[is_known], minlength=len(known)) > _most_alike(sizes)
    chosen = np.flatnonzero(is_known & ~is_form[place])
    longer, shortest = np.unique(beginnings.conversations[chosen], return_index=True)
    stem = np.arange(len(copies))
    stem[longer] = first[place[chosen[shortest]]]
    return stem


def _most_alike(sizes: Sizes) -> int:
    """The most conversations that may share a split because they are alike."""
    return max(2, max(sizes) // 2)


def groups(
    exact: Keys, copies: Keys, templates: Keys, sizes: Sizes, contexts: NDArray[np.uint64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups of conversations that share a split, ordered by the smallest exact key of each.

    Copies are one group. Conversations that differ only in their numbers are one group too, unless they would fill more
    than half of a held-out split: then the text is a form, and its numbers are what matters. The same holds for
    conversations of one context: a context of very many, such as a greeting, says little about what follows it.

    Returns:
        (C,) the group of each conversation, and (G,) its number of conversations.
    """
    most = _most_alike(sizes)
    _, template, filled = np.unique(templates, return_inverse=True, return_counts=True)
    _, copy = np.unique(copies, return_inverse=True)
    joined = np.where(filled[template] <= most, template, len(filled) + copy)
    if len(np.unique(joined)) < len(SPLITS):
        joined = copy
    if contexts is not None:
        linked = _linked(joined, contexts, most)
        joined = linked if len(np.unique(linked)) >= len(SPLITS) else joined
    _, first = np.unique(exact, return_inverse=True)
    _, group, counts = np.unique(joined, return_inverse=True, return_counts=True)
    least = np.full(len(counts), len(exact))
    np.minimum.at(least, group, first)
    order = np.argsort(least, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[group], counts[order]


def _linked(label: NDArray[np.int64], contexts: NDArray[np.uint64], most: int) -> NDArray[np.int64]:
    """(C,) labels: one for all conversations that share a context or a label (C,), directly or through others.

    Where more than `most` conversations would get one label, they keep different ones.
    """
    _, context, filled = np.unique(contexts, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero((filled[context] > 1) & (filled[context] <= most))
    linked, own = label, np.arange(label.max() + 1)
    while True:
        # Each label becomes the lowest one of its contexts, then the lowest one that this leads to.
        least = np.full(len(filled), len(own))
        np.minimum.at(least, context[chosen], linked[chosen])
        lower = own.copy()
        np.minimum.at(lower, linked[chosen], least[context[chosen]])
        while (lower[lower] < lower).any():
            lower = lower[lower]
        if np.array_equal(lower, own):
            break
        linked = lower[linked]
    _, linked, counts = np.unique(linked, return_inverse=True, return_counts=True)
    return np.where(counts[linked] <= most, linked, len(counts) + label)


def _said(conversation: Conversation) -> list[str]:
    """Its texts without case and spacing."""
    return [limits.normal(" ".join(u.text.split())).casefold() for u in conversation.utterances]


def _hash(content: object) -> bytes:
    return _new_hash(json.dumps(content).encode()).digest()


def _new_hash(begin: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(begin, digest_size=KEY_BYTES)
