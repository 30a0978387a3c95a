"""The order of training against one built window by window."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.windows import epoch_order
from dialog_cvae.types import Conversation, Utterance
from tests.dialog_cvae.data.drawn_conversations import conversations, encode


def _naive_order(corpus: EncodedCorpus, segment: int, seed: int, epoch: int) -> list[int]:
    """The order of a pass, window by window: cut where the conversation or the block changes, and shuffled."""
    rng = np.random.default_rng((seed, epoch))
    shift = int(rng.integers(segment))
    pieces: dict[tuple[int, int], list[int]] = {}
    for conversation, (begin, end) in enumerate(pairwise(corpus.starts.tolist())):
        for utterance in range(begin + 1, end):
            pieces.setdefault((conversation, (utterance - begin + shift) // segment), []).append(utterance)
    segments = list(pieces.values())
    return [utterance for index in rng.permutation(len(segments)) for utterance in segments[index]]


@given(st.lists(conversations, min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_an_epoch_has_every_window_once_in_segments(
    spoken: list[Conversation], segment: int, seed: int, epoch: int
) -> None:
    corpus = encode(spoken)
    order = epoch_order(corpus, segment, seed, epoch)
    assert order.tolist() == _naive_order(corpus, segment, seed, epoch)
    assert sorted(order) == corpus.responses.tolist()
    assert len(order) == corpus.windows
    joined = 0  # windows that follow their neighbour; at least those that segments of this length must join
    conversation, _ = corpus.places(order)
    for index, (before, after) in enumerate(pairwise(order)):
        joined += bool(after == before + 1 and conversation[index] == conversation[index + 1])
    lengths = Counter(corpus.places(corpus.responses)[0].tolist()).values()
    assert joined >= sum(length - (2 + (length - 2) // segment if length > 1 else 1) for length in lengths)


def test_segments_begin_elsewhere_in_another_epoch() -> None:
    corpus = encode([Conversation("c", tuple(Utterance("AB"[i % 2], "a") for i in range(40)))])
    orders = [epoch_order(corpus, 5, 0, epoch).tolist() for epoch in range(8)]
    first = corpus.responses[0]
    begins = [{b % 5 for a, b in pairwise(order) if b not in (a + 1, first)} for order in orders]
    assert all(len(places) == 1 for places in begins)  # every fifth window, in whatever order the segments are
    assert len(set.union(*begins)) > 2
    assert orders != [epoch_order(corpus, 5, 1, epoch).tolist() for epoch in range(8)]


def test_a_conversation_without_utterances_has_no_window() -> None:
    corpus = encode([Conversation("c", ()), Conversation("d", (Utterance("A", "a"),)), Conversation("e", ())])
    assert epoch_order(corpus, 5, 0, 0).tolist() == corpus.responses.tolist() == [2]
    assert corpus.windows == 1
    assert [array.tolist() for array in corpus.places(np.arange(4))] == [[0, 1, 1, 2], [0, 0, 1, 0]]
