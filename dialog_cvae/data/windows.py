"""The windows of a corpus and their order in training. A window is a response and the utterances before it.

Open it to change the order of training examples. Consecutive windows of a conversation share most of their utterances.
Training takes segments of consecutive windows, so that each utterance is encoded once for all windows of its segment.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]  # integers of the smallest type that can hold the values


class Windows(Protocol):
    """Conversations that begin with an entry that is no response: a pseudo-utterance or a topic line."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """(C + 1,) the first entry of each conversation, and their number."""
        ...

    @property
    def context_only(self) -> NDArray[np.int64]:
        """The other entries that are no responses, in order."""
        ...

    @property
    def windows(self) -> int:
        """How many responses there are."""
        ...


def epoch_order(corpus: Windows, segment: int, seed: int, epoch: int) -> Integers:
    """All windows of one pass in training order: shuffled segments of at most `segment` neighbours.

    Segment boundaries move with the epoch, so that windows have different neighbours. The order depends only on seed
    and epoch, so a resumed run can reproduce it.

    Args:
        corpus: contains the windows.
        segment: number of windows of one conversation that stay together, at least 1.
        seed: of the run.
        epoch: number of the pass.

    Returns:
        (W,) indices of utterances.
    """
    rng = np.random.default_rng((seed, epoch))
    shift = int(rng.integers(segment))
    # Entries that are context alone get no number, so that neighbouring responses have consecutive numbers.
    starts = numbers(corpus.starts, corpus.context_only)
    last = np.diff(starts) - 1  # (C,) position of the last response; the first is at 1
    # A segment has the responses of a conversation with the same (position + shift) // segment.
    first_block = (1 + shift) // segment
    counts = np.where(last > 0, (last + shift) // segment - first_block + 1, 0)  # (C,) segments
    conversation = np.repeat(np.arange(len(last)), counts)
    block = np.arange(len(conversation)) - np.repeat(np.cumsum(counts) - counts, counts) + first_block
    begin = np.maximum(block * segment - shift, 1)
    end = np.minimum((block + 1) * segment - shift, last[conversation] + 1)
    shuffled = rng.permutation(len(conversation))
    begin, lengths = (starts[conversation] + begin)[shuffled], (end - begin)[shuffled]
    # The number jumps between segments and increases by 1 within a segment.
    kind = np.min_scalar_type(-int(corpus.starts[-1]))
    jumps = (begin - np.cumsum(lengths) + lengths).astype(kind)
    order: Integers = np.repeat(jumps, lengths) + np.arange(corpus.windows, dtype=kind)
    if not len(corpus.context_only):
        return order
    counted: Integers = np.delete(np.arange(corpus.starts[-1], dtype=kind), corpus.context_only)
    return counted[order]


def numbers(entries: Integers, context_only: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of entries, not counting those that are context alone."""
    return entries.astype(np.int64) - np.searchsorted(context_only, entries)
