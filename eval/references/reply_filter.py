"""Which candidate replies fit a context: a logistic regression in place of human judgement.

Open it to change the filter or its features. Zhao et al. (2017) had two people judge the candidates of 240 contexts and
fitted an L2-regularised logistic regression to their labels, with features that at least 20 judged pairs have. This one
has no such labels: it learns to distinguish the real reply from the reply to another training context of equal topic
and floor flag. Words of the reply alone do not distinguish the two, so every feature combines context and reply:

    the last words of the context's last utterance and the first words of the reply; the lengths of the two; either
    length and the other's nearest word; words of the context that the reply repeats; dialog acts, where known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Utterance
from eval.contexts import Window
from eval.metrics.tokens import metric_tokens
from eval.references.context_index import ContextIndex

WINDOWS = 30_000  # most windows of the training split to learn from
LEAST_WINDOWS, LEAST_CONVERSATIONS = 500, 10
RARE = 20  # a feature is used if at least this many pairs have it
HELD_OUT = 0.1  # share of the conversations for measuring accuracy
PENALTY = 0.03  # C of scikit-learn; small, because there are thousands of weak features
LONG_WORD = 4  # characters from which a word probably has content

_tokens = lru_cache(maxsize=200_000)(metric_tokens)


class Pair(NamedTuple):
    """The context of a window, and a reply to judge instead of the window's own."""

    window: Window
    reply: Utterance


class ReplyFilter:
    """A fitted filter.

    Attributes:
        accuracy: share of the pairs of held-out training conversations classified correctly; half of them are real.
        pairs: how many pairs it was trained on.
    """

    def __init__(self, index: ContextIndex, seed: int) -> None:
        """Learn from the training windows of an index.

        Args:
            index: of the training split.
            seed: of the windows and of the replies that replace their own.

        Raises:
            ConfigError: there are too few windows or conversations to learn from.
        """
        pairs, real = _training_pairs(index, np.random.default_rng(seed))
        conversations = list(dict.fromkeys(pair.window.conversation.id for pair in pairs))
        if len(pairs) < 2 * LEAST_WINDOWS or len(conversations) < LEAST_CONVERSATIONS:
            raise ConfigError(
                f"the filter needs at least {LEAST_WINDOWS} training contexts of {LEAST_CONVERSATIONS} conversations, "
                f"but has {len(pairs) // 2} of {len(conversations)}; leave it out"
            )
        held_out = set(conversations[:: round(1 / HELD_OUT)])
        known = np.array([pair.window.conversation.id not in held_out for pair in pairs])
        self._vectorizer = CountVectorizer(analyzer=_features, min_df=RARE, binary=True)
        features = self._vectorizer.fit_transform(pair for pair, seen in zip(pairs, known, strict=True) if seen)
        self._model = LogisticRegression(C=PENALTY, solver="liblinear").fit(features, real[known])
        self.pairs = int(known.sum())
        predicted = self.scores([pair for pair, seen in zip(pairs, known, strict=True) if not seen]) > 0.0
        self.accuracy = float((predicted == real[~known]).mean())

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """Log odds that each reply is the real one, (pairs,)."""
        scores: NDArray[np.float64] = self._model.decision_function(self._vectorizer.transform(pairs))
        return scores


def _training_pairs(index: ContextIndex, rng: np.random.Generator) -> tuple[list[Pair], NDArray[np.bool_]]:
    """Each window with its own reply, then with the reply of another window of equal topic and floor flag."""
    chosen = np.sort(rng.permutation(len(index.windows))[:WINDOWS])
    pairs: list[Pair] = []
    for number in chosen:
        window = index.windows[number]
        others = index.alike(window)
        if len(others) < 2:
            continue
        other = others[rng.integers(len(others) - 1)]
        other = others[-1] if other == number else other
        pairs += (Pair(window, window.reply), Pair(window, index.windows[other].reply))
    return pairs, np.tile([True, False], len(pairs) // 2)


def _features(pair: Pair) -> Iterator[str]:
    context, reply = pair.window.context, pair.reply
    last, words = _tokens(context[-1].text), _tokens(reply.text)
    last_length, length = _length(last), _length(words)
    yield from (f"words {before} {after}" for before in last[-2:] for after in words[:2])
    yield from (f"last length, length {last_length} {length}", f"length, last word {length} {' '.join(last[-1:])}")
    yield f"last length, first word {last_length} {' '.join(words[:1])}"
    long_words = {word for word in words if len(word) >= LONG_WORD}
    yield f"length, words of the last {length} {min(3, len(long_words.intersection(last)))}"
    before = {word for utterance in context for word in _tokens(utterance.text)}
    yield f"length, words of the context {length} {min(4, len(long_words & before))}"
    yield f"length, repeats the last {length} {words == last}"
    if reply.dialog_act is not None:
        acts = [str(utterance.dialog_act) for utterance in context[-2:]]
        yield f"act, act {acts[-1]} {reply.dialog_act}"
        yield f"acts, act {' '.join(acts)} {reply.dialog_act}"
    if context[-1].dialog_act is not None:
        yield f"act, length {context[-1].dialog_act} {length}"
        yield from (f"act, word {context[-1].dialog_act} {word}" for word in set(words[:5]))


def _length(tokens: Sequence[str]) -> int:
    """The length's order of magnitude, 0 to 6."""
    return min(6, int(math.log2(len(tokens) + 1)))
