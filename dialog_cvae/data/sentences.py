"""Corpora of single sentences, sorted by length: all sentences of a batch have one length, without padding.

Open it to change how batches of sentences are formed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.windows import Integers


class Sentences(NamedTuple):
    """S sentences as flat arrays, the shortest first; N is the total number of tokens.

    Attributes:
        tokens: (N,) unsigned, each sentence as `<s> ... </s>`.
        offsets: (S + 1,) int64, index in `tokens` where each sentence begins.
        label: (S,) int32, the class; 0 if there is none.
        source: (S,) int64, index of each sentence in the corpus.
    """

    tokens: Integers
    offsets: NDArray[np.int64]
    label: NDArray[np.int32]
    source: NDArray[np.int64]

    @classmethod
    def of(cls, corpus: EncodedCorpus) -> Sentences:
        """From a corpus whose conversations have one sentence each, with the class as their topic."""
        rows = corpus.responses
        stored = corpus.as_reply(rows)
        begin = corpus.offsets[stored].astype(np.int64)
        lengths = corpus.offsets[stored + 1].astype(np.int64) - begin
        order = np.argsort(lengths, kind="stable")
        begin, lengths = begin[order], lengths[order]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        places = np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1])
        label = corpus.topic[corpus.places(rows)[0]][order]
        return cls(corpus.tokens[places], offsets, label, order)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(S,) numbers of tokens, `<s>` and `</s>` included."""
        return np.diff(self.offsets)

    @property
    def windows(self) -> int:
        """S, the number of examples."""
        return len(self.label)

    @property
    def responses(self) -> NDArray[np.int64]:
        """(S,) indices of all sentences."""
        return np.arange(self.windows)

    def first(self, count: int | None) -> NDArray[np.int64]:
        """The first `count` sentences of the corpus, or all, the shortest first."""
        return self.responses if count is None else np.flatnonzero(self.source < count)

    def groups(self) -> list[NDArray[np.int64]]:
        """The sentences of each length, the shortest first."""
        cuts = np.flatnonzero(np.diff(self.lengths)) + 1
        return np.split(self.responses, cuts) if self.windows else []

    def chunks(self, chosen: Integers, size: int) -> list[Integers]:
        """The sentences in the given order, in parts of one length and at most `size` sentences."""
        cuts = np.flatnonzero(np.diff(self.lengths[chosen])) + 1
        runs = np.split(chosen, cuts) if len(chosen) else []
        return [run[begin : begin + size] for run in runs for begin in range(0, len(run), size)]

    def rows(self, chosen: Integers) -> NDArray[np.int64]:
        """(B, L) token ids of sentences of one length."""
        begin = self.offsets[chosen]
        lengths = self.offsets[np.asarray(chosen) + 1] - begin
        assert (lengths == lengths[0]).all(), "a batch has sentences of one length"
        return self.tokens[begin[:, None] + np.arange(lengths[0])].astype(np.int64)

    def places(self, chosen: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The index of each sentence in the corpus, and its position, 1; see `EncodedCorpus.places`."""
        return self.source[chosen], np.ones(len(chosen), dtype=np.int64)


def epoch_batches(sentences: Sentences, size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """All sentences of one pass, shuffled, in batches of one length and at most `size` sentences.

    The released code forms its batches once and shuffles their order. Here each pass forms new batches. The result
    depends only on seed and epoch, so a resumed run can reproduce it.
    """
    rng = np.random.default_rng((seed, epoch))
    batches = [
        shuffled[begin : begin + size]
        for group in sentences.groups()
        for shuffled in [rng.permutation(group)]
        for begin in range(0, len(shuffled), size)
    ]
    return [batches[index] for index in rng.permutation(len(batches))]


def batches_per_epoch(sentences: Sentences, size: int) -> int:
    """The number of batches of one pass."""
    return sum(-(-len(group) // size) for group in sentences.groups())
