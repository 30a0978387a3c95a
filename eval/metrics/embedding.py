"""Similarity of replies by their word vectors: average, extrema and greedy matching.

Open it to see how A-bow, E-bow and greedy matching are computed.

The average and extrema scores (A-bow, E-bow) and their multi-reference protocol are those of Zhao et al. (2017) and Fu
et al. (2019): raw vectors of the tokens that have one, cosine mapped from [-1, 1] to [0, 1]. Greedy matching is that
of Rus and Lintean (2012) as Liu et al. (2016) use it, "How NOT To Evaluate Your Dialogue System", section 3.2.

Averages of word vectors have similar directions: random pairs of replies already score about .9. So compare a score
with that of a random baseline.

Shape legend: T tokens of a sentence that have a vector, D dimensions, H hypotheses, R references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from eval.metrics.matching import PrecisionRecall, best_matches, require_pairs
from eval.metrics.tokens import Tokens

Array = NDArray[np.float64]


class Vectors(Protocol):
    """Word vectors, all finite: `matrix[rows[word]]`, with a matrix of shape (V, D)."""

    @property
    def rows(self) -> Mapping[str, int]:
        """The row of each word."""

    @property
    def matrix(self) -> NDArray[np.float32]:
        """(V, D)."""


class EmbeddingScores(NamedTuple):
    """The three scores of one context."""

    average: PrecisionRecall
    extrema: PrecisionRecall
    greedy: PrecisionRecall


def known_vectors(tokens: Tokens, vectors: Vectors) -> Array:
    """The vectors of the tokens that have one, in order, repetitions included: (T, D)."""
    rows = [vectors.rows[token] for token in tokens if token in vectors.rows]
    return vectors.matrix[rows].astype(np.float64)


def average(words: Array) -> Array:
    """The mean of the word vectors, (T, D) -> (D,)."""
    mean: Array = words.mean(axis=0)
    return mean


def extrema(words: Array) -> Array:
    """The value furthest from 0 in each dimension; in a tie, the positive one.

    (T, D) -> (D,).
    """
    largest, smallest = words.max(axis=0), words.min(axis=0)
    furthest: Array = np.where(np.abs(smallest) <= largest, largest, smallest)
    return furthest


def cosine(left: Array, right: Array) -> Array:
    """Cosine of every pair of rows, (H, D) and (R, D) -> (H, R), in [-1, 1]; 0 where a row is all zeros."""
    # rounding may leave a cosine just outside its range
    cosines: Array = np.clip(_unit_rows(left) @ _unit_rows(right).T, -1.0, 1.0)
    return cosines


def greedy(left: Sequence[Array], right: Sequence[Array]) -> Array:
    """Greedy matching of every pair of sentences, given as (T, D) each with T at least 1.

    The mean cosine of each word's best match in the other sentence, averaged over the two directions: (H, R), in
    [-1, 1].
    """
    words = cosine(np.concatenate(left), np.concatenate(right))  # (all words of the left, all words of the right)
    forward = _mean_per_sentence(np.maximum.reduceat(words, _starts(right), axis=1), left)  # (H, R)
    backward = _mean_per_sentence(np.maximum.reduceat(words, _starts(left), axis=0).T, right)  # (R, H)
    return (forward + backward.T) / 2.0


def context_embedding(
    hypotheses: Sequence[Tokens], references: Sequence[Tokens], vectors: Vectors, *, mapped: bool = True
) -> EmbeddingScores | None:
    """Multi-reference precision and recall of the three scores for one context.

    Sentences without a known word are ignored.

    Args:
        hypotheses: token sequences of the sampled replies.
        references: token sequences of the reference replies.
        vectors: word vectors; not those of the model under evaluation.
        mapped: map cosines to [0, 1] by (c + 1) / 2, as Zhao et al. do; DialogWAE reports them raw.

    Returns:
        The scores, or None when no hypothesis or no reference has a known word.

    Raises:
        ValueError: there is no hypothesis or no reference.
    """
    require_pairs(len(hypotheses), len(references))
    left, right = _known_sentences(hypotheses, vectors), _known_sentences(references, vectors)
    if not left or not right:
        return None
    matrices = (
        cosine(_pool(average, left), _pool(average, right)),
        cosine(_pool(extrema, left), _pool(extrema, right)),
        greedy(left, right),
    )  # (H, R) each
    return EmbeddingScores(*(best_matches((matrix + 1.0) / 2.0 if mapped else matrix) for matrix in matrices))


def _known_sentences(sentences: Sequence[Tokens], vectors: Vectors) -> list[Array]:
    return [words for words in (known_vectors(sentence, vectors) for sentence in sentences) if len(words)]


def _pool(pool: Callable[[Array], Array], sentences: Sequence[Array]) -> Array:
    return np.stack([pool(words) for words in sentences])


def _starts(sentences: Sequence[Array]) -> NDArray[np.intp]:
    """The row of each sentence's first word, among the words of all sentences."""
    return np.cumsum([0, *(len(words) for words in sentences[:-1])])


def _mean_per_sentence(rows: Array, sentences: Sequence[Array]) -> Array:
    """Average the rows of each sentence's words, (all words, N) -> (sentences, N)."""
    lengths = np.array([len(words) for words in sentences])
    means: Array = np.add.reduceat(rows, _starts(sentences), axis=0) / lengths[:, None]
    return means


def _unit_rows(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0.0)
    return unit
