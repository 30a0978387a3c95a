"""The search for similar contexts: TF-IDF bags of words, compared by their cosine.

Open it to change what makes two contexts similar. The reply index of a checkpoint (`reply_index`) and the
nearest-neighbour rows of evaluations (`eval.references.context_index`) both search with it.

Words are counted in each utterance of a context; those of the utterance k places before the reply count r_k times.
With df(w) the number of contexts that have a word w, and N the number of contexts::

    idf(w) = ln((1 + N) / (1 + df(w))) + 1        h(c, w) = idf(w) * sum over k of r_k * count(w in utterance -k)

as in scikit-learn's `TfidfTransformer`. Only the words of each utterance are stored. The cosines of all contexts with a
query are sums over the utterances that share a word with the query.

Shape legend: U utterances, C conversations, K utterances of a context, V words, P places: the utterances of each
conversation after K empty ones, so that one convolution sums over contexts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import ConfigError

Doubles = NDArray[np.float64]
CHUNK = 256  # utterances whose words are counted together; limits memory


class Bags(NamedTuple):
    """The words of utterances, without their order.

    Attributes:
        offsets: (U + 1,) int64, where the words of each utterance begin.
        words: (sum of all,) int32, distinct in each utterance.
        counts: (sum of all,) int32, how often each occurs.
        starts: (C + 1,) int64, the first utterance of each conversation, and U.
    """

    offsets: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, conversations: Iterable[Iterable[Sequence[str]]], column: Mapping[str, int]) -> Self:
        """The bags of conversations of utterances of words; words without a column are left out."""
        words: list[int] = []
        counts: list[int] = []
        lengths, starts = [0], [0]
        for conversation in conversations:
            for said in conversation:
                bag = Counter(column[word] for word in said if word in column)
                words += bag
                counts += bag.values()
                lengths.append(len(bag))
            starts.append(len(lengths) - 1)
        return cls(
            np.cumsum(lengths, dtype=np.int64),
            np.array(words, dtype=np.int32),
            np.array(counts, dtype=np.int32),
            np.array(starts, dtype=np.int64),
        )


class ContextSearch:
    """Contexts that can be searched.

    Args:
        bags: of the utterances.
        vocabulary: V.
        weights: (K,) r_1 to r_K, above 0; K is the most utterances of a context.

    Attributes:
        idf: (V,).

    Raises:
        ConfigError: no context has a word.
    """

    def __init__(self, bags: Bags, vocabulary: int, weights: Sequence[float]) -> None:
        self._weights = np.array(weights, dtype=np.float64)
        reach = len(weights)
        lengths = np.diff(bags.starts)
        self._places = np.arange(len(bags.offsets) - 1) + reach * (1 + np.repeat(np.arange(len(lengths)), lengths))
        self._size = int(bags.starts[-1]) + reach * len(lengths)
        # document frequencies, then the length of each context's vector
        found = np.zeros(vocabulary)
        for _, words, table in self._tables(bags):
            found[words] += np.count_nonzero(table, axis=0)
        if not found.any():
            raise ConfigError("the training conversations have no word in any context")
        contexts = int(np.maximum(lengths - 1, 0).sum())
        self.idf: Doubles = np.log((1 + contexts) / (1 + found)) + 1
        self._norms = np.zeros(len(self._places))
        for begin, words, table in self._tables(bags):
            self._norms[begin : begin + len(table)] = np.sqrt(((table * self.idf[words]) ** 2).sum(axis=1))
        # the places of each word
        order = np.argsort(bags.words, kind="stable")
        owners = np.repeat(self._places, np.diff(bags.offsets))
        self._holders = owners[order]
        self._counts = bags.counts[order].astype(np.float64)
        self._begins = np.searchsorted(bags.words[order], np.arange(vocabulary + 1))

    def cosines(self, context: Sequence[Sequence[int]]) -> Doubles:
        """(U,) the similarity of each utterance's own context to the given one, in [0, 1]; 0 if it has no context.

        Args:
            context: known words of each utterance, oldest first; at most the last K are used.
        """
        tally: dict[int, float] = {}
        for weight, said in zip(self._weights, reversed(context), strict=False):
            for word in said:
                tally[word] = tally.get(word, 0.0) + float(weight)
        words = np.array(sorted(tally), dtype=np.int64)
        query = np.array([tally[word] for word in words.tolist()]) * self.idf[words]
        shared = np.zeros(self._size)
        for word, value in zip(words.tolist(), (query * self.idf[words]).tolist(), strict=True):
            part = slice(self._begins[word], self._begins[word + 1])
            shared[self._holders[part]] += value * self._counts[part]
        sums = np.convolve(shared, np.concatenate(([0.0], self._weights)))[self._places]
        lengths = self._norms * np.sqrt((query**2).sum())
        cosines: Doubles = np.divide(sums, lengths, out=np.zeros(len(sums)), where=lengths > 0)
        return cosines

    def _tables(self, bags: Bags) -> Iterator[tuple[int, NDArray[Any], Doubles]]:
        """The contexts of neighbouring utterances: the first utterance, the words, and each word's weight in each."""
        reach = len(self._weights)
        for first, end in zip(bags.starts[:-1].tolist(), bags.starts[1:].tolist(), strict=True):
            for begin in range(first, end, CHUNK):
                low, high = max(first, begin - reach), min(end, begin + CHUNK)
                part = slice(bags.offsets[low], bags.offsets[high])
                words, column = np.unique(bags.words[part], return_inverse=True)
                said = np.zeros((high - low, len(words)))
                rows = np.repeat(np.arange(high - low), np.diff(bags.offsets[low : high + 1]))
                said[rows, column] = bags.counts[part]
                table = np.zeros_like(said)
                for distance, weight in enumerate(self._weights.tolist(), start=1):
                    table[distance:] += weight * said[:-distance]
                yield begin, words, table[begin - low :]


def largest(values: Doubles, n: int) -> NDArray[np.intp]:
    """Indices of the n largest values, the largest first; equal values in their order."""
    floor = np.partition(values, -n)[-n] if len(values) > n else -np.inf
    candidates = np.flatnonzero(values >= floor)
    order: NDArray[np.intp] = candidates[np.argsort(-values[candidates], kind="stable")][:n]
    return order
