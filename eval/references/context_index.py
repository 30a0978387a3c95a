"""Which training contexts resemble a context: TF-IDF bags of words, as in Zhao et al. (2017), section 5.3.

    d(c_i, c_j) = 1[t_i = t_j] * 1[f_i = f_j] * cos(h_i, h_j)

where t is the topic, f says whether the last utterance of the context has the speaker of the reply, and h is the TF-IDF
vector of all words of the context. The inverse document frequencies are those of the training contexts. The reply is
not compared, so that different replies are found.

Open it to change which replies the nearest-neighbour baselines and the built references use.

Shape legend: N training windows, Q queries, V words of the training utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.context_search import Bags, ContextSearch, largest
from dialog_cvae.types import Conversation
from eval.contexts import MAX_CONTEXT, Window, windows
from eval.metrics.tokens import metric_tokens

ANY_TOPIC = -1


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
        held = list(conversations)
        self.windows = windows(held)
        said = [[metric_tokens(utterance.text) for utterance in c.utterances] for c in held]
        self._column: dict[str, int] = {}
        for word in (word for each in said for tokens in each for word in tokens):
            self._column.setdefault(word, len(self._column))
        self._search = ContextSearch(Bags.of(said, self._column), len(self._column), (1.0,) * MAX_CONTEXT)
        lengths = np.array([len(c.utterances) for c in held], dtype=np.int64)
        first = np.cumsum(lengths) - lengths
        places = (begin + at for begin, c in zip(first.tolist(), held, strict=True) for at in c.reply_positions if at)
        self._utterances = np.fromiter(places, dtype=np.int64)  # (N,) the windows' replies
        topics = {window.conversation.topic for window in self.windows} - {None}
        self._topic_ids = {topic: number for number, topic in enumerate(sorted(topics, key=str))}
        self._topics = np.array([self._topic_ids.get(w.conversation.topic, ANY_TOPIC) for w in self.windows])  # (N,)
        self._continues = np.array([window.continues for window in self.windows])  # (N,)
        self._alike: dict[tuple[int, bool], NDArray[np.intp]] = {}  # windows by topic and floor flag, found on demand

    def alike(self, window: Window) -> NDArray[np.intp]:
        """Indices of the training windows of equal topic and floor flag.

        For a window without a topic, or with a topic that no training window has, windows of all topics.
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
        found = []
        for query in queries:
            members = self._members(self._group(query, by_topic))
            said = [metric_tokens(utterance.text) for utterance in query.context]
            known = [[self._column[word] for word in tokens if word in self._column] for tokens in said]
            cosines = self._search.cosines(known)[self._utterances[members]]
            found.append([Neighbour(self.windows[members[i]], float(cosines[i])) for i in largest(cosines, n)])
            advance(1)
        return found

    def _group(self, window: Window, by_topic: bool) -> tuple[int, bool]:
        topic = self._topic_ids.get(window.conversation.topic, ANY_TOPIC) if by_topic else ANY_TOPIC
        return topic, window.continues

    def _members(self, group: tuple[int, bool]) -> NDArray[np.intp]:
        if group not in self._alike:
            topic, continues = group
            alike = self._continues == continues
            self._alike[group] = np.flatnonzero(alike if topic == ANY_TOPIC else alike & (self._topics == topic))
        return self._alike[group]
