"""Which training contexts resemble a context: TF-IDF bags of words, as in Zhao et al. (2017), section 5.3.

    d(c_i, c_j) = 1[t_i = t_j] * 1[f_i = f_j] * cos(h_i, h_j)

with t the topic, f whether the last utterance of the context has the speaker of the reply, and h the TF-IDF vector of
all words of the context; the inverse document frequencies are those of the training contexts. The reply has no
influence, so that different replies are found.

Open it to change which replies the nearest-neighbour baselines and the built references use.

Shape legend: N training windows, Q queries, V words of the training utterances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval.contexts import Window, windows
from eval.metrics.tokens import metric_tokens

ANY_TOPIC = -1
CELLS = 2**22  # cosines computed at a time, of 8 bytes, whatever the size of the corpus


class Neighbour(NamedTuple):
    """A training window, and the cosine of its context with the query's, in [0, 1]."""

    window: Window
    similarity: float


class ContextIndex:
    """TF-IDF vectors of the contexts of a training split.

    Attributes:
        windows: the N training windows that have a context, in the corpus's order.
    """

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        """Index the conversations.

        Raises:
            ConfigError: they have no window or no word.
        """
        # imported here because it takes seconds to load, and cached baselines do not need it
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

        self.windows = windows(conversations)
        texts, spans = _spans(self.windows)
        self._counter = CountVectorizer(analyzer=metric_tokens, dtype=np.float64)
        try:
            counts = spans @ self._counter.fit_transform(texts)  # (N, V)
        except ValueError:  # an empty vocabulary
            raise ConfigError("the training conversations have no word in any context") from None
        self._weights = TfidfTransformer()
        self._vectors = self._weights.fit_transform(counts)  # (N, V), unit rows
        topics = {window.conversation.topic for window in self.windows} - {None}
        self._topic_ids = {topic: number for number, topic in enumerate(sorted(topics, key=str))}
        self._topics = np.array([self._topic_ids.get(w.conversation.topic, ANY_TOPIC) for w in self.windows])  # (N,)
        self._continues = np.array([window.continues for window in self.windows])  # (N,)
        self._alike: dict[tuple[int, bool], NDArray[np.intp]] = {}  # by topic and floor flag, filled on demand

    def alike(self, window: Window) -> NDArray[np.intp]:
        """Indices of the training windows of equal topic and floor flag.

        For a window without a topic, or with one that no training window has, those of all topics.
        """
        return self._members(self._group(window, by_topic=True))

    def nearest(
        self,
        queries: Sequence[Window],
        n: int,
        *,
        by_topic: bool = True,
        advance: Callable[[int], object] = lambda _: None,
    ) -> list[list[Neighbour]]:
        """The windows most similar to each query, among those that are `alike`; the most similar first.

        Equally similar ones are in the corpus's order. There are fewer than `n` if fewer are alike.

        Args:
            queries: windows of conversations that were not indexed; each has a context.
            n: neighbours wanted, at least 1.
            by_topic: False compares with windows of all topics.
            advance: called with the number of queries just answered, for a progress bar.
        """
        if not queries:
            return []
        found: dict[int, list[Neighbour]] = {}
        groups: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
        for number, query in enumerate(queries):
            groups[self._group(query, by_topic)].append(number)
        vectors = self._transform(queries)
        for group, numbers in groups.items():
            members = self._members(group)
            columns = self._vectors[members].T.tocsr()  # (V, members)
            size = max(1, CELLS // max(1, len(members)))
            for begin in range(0, len(numbers), size):
                chosen = numbers[begin : begin + size]
                for number, cosines in zip(chosen, (vectors[chosen] @ columns).toarray(), strict=True):
                    best = _largest(cosines, n)
                    found[number] = [Neighbour(self.windows[members[i]], float(cosines[i])) for i in best]
                advance(len(chosen))
        return [found[number] for number in range(len(queries))]

    def _group(self, window: Window, by_topic: bool) -> tuple[int, bool]:
        topic = self._topic_ids.get(window.conversation.topic, ANY_TOPIC) if by_topic else ANY_TOPIC
        return topic, window.continues

    def _members(self, group: tuple[int, bool]) -> NDArray[np.intp]:
        if group not in self._alike:
            topic, continues = group
            alike = self._continues == continues
            self._alike[group] = np.flatnonzero(alike if topic == ANY_TOPIC else alike & (self._topics == topic))
        return self._alike[group]

    def _transform(self, chosen: Sequence[Window]) -> sparse.csr_matrix:
        """TF-IDF vectors of contexts, (windows, V); words that occur in no training context do not count."""
        texts, spans = _spans(chosen)
        return self._weights.transform(spans @ self._counter.transform(texts))


def _spans(chosen: Sequence[Window]) -> tuple[list[str], sparse.csr_matrix]:
    """The distinct utterances of the contexts, and which of them each context has, (windows, texts)."""
    texts: list[str] = []
    first: dict[int, int] = {}  # index of the first text of each conversation, by identity
    for conversation in (window.conversation for window in chosen):
        if id(conversation) not in first:
            first[id(conversation)] = len(texts)
            texts += (utterance.text for utterance in conversation.utterances[:-1])
    lengths = np.array([len(window.context) for window in chosen], dtype=np.int64)
    ends = np.array([first[id(window.conversation)] + window.position for window in chosen], dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    columns = np.arange(offsets[-1]) + np.repeat(ends - offsets[1:], lengths)
    return texts, sparse.csr_matrix((np.ones(len(columns)), columns, offsets), shape=(len(chosen), len(texts)))


def _largest(values: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Indices of the n largest values, the largest first; equal values in their order."""
    floor = np.partition(values, -n)[-n] if len(values) > n else -np.inf
    candidates = np.flatnonzero(values >= floor)
    order: NDArray[np.intp] = candidates[np.argsort(-values[candidates], kind="stable")][:n]
    return order
