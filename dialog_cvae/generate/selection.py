"""The selection of replies: a few candidates that together represent everything that was drawn.

Open it to change which draws are shown, and in which order.

It chooses the set S of candidates that makes

    sum over drawn i of   weight(i) * max over j in S of similarity(i, j)

large, a facility location problem. If a person's next utterance has the distribution of the weighted draws, this is its
expected similarity to the best reply shown, times the sum of the weights. It favours likely replies, because many draws
resemble them, and different replies, because a second one like the first adds nothing. The greedy choice reaches at
least 1 - 1/e of the optimum (Nemhauser, Wolsey and Fisher, 1978). Its first reply has the least Bayes risk (Kumar and
Byrne, 2004). The first n replies do not depend on how many are wanted.

A draw's weight says how much likelier its context makes it than it is in general (`draw_weights`). This lowers draws
that do not fit, which are mostly unlikely, and replies that fit anywhere, whose words are in every conversation.

Shape legend: D draws, C distinct candidates, each with the sum of its draws' weights, G distinct n-grams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.text.words import same_words

CONTRAST = 3.0  # how much weights differ: at 0 all are equal, at a large value only the best draw counts
LOOP = 3  # a reply loops if it has the same run of this many words twice
SHORT, BOTH_SHORT = 2, 0.9  # two replies of at most SHORT words have at least this similarity

Words = tuple[str, ...]


def loops(said: Words) -> bool:
    """Whether a reply has the same three words in a row twice, a typical failure of models.

    3% of Switchboard's test utterances in the fluent style do so too, mostly long ones. So such a reply is not refused,
    but others are preferred.
    """
    runs = list(zip(*(said[start:] for start in range(LOOP)), strict=False))
    return len(set(runs)) < len(runs)


def similarity(replies: Sequence[Words]) -> NDArray[np.float64]:
    """(C, C) Dice coefficients of the replies' words and pairs of words, from 0 to 1; 1 for equal replies."""
    grams = [Counter(said) + Counter(pairwise(said)) for said in replies]
    column: dict[str | tuple[str, str], int] = {}
    for counts in grams:
        for gram in counts:
            column.setdefault(gram, len(column))
    table = np.zeros((len(replies), len(column)), dtype=np.int32)  # (C, G)
    own = [[column[gram] for gram in counts] for counts in grams]
    for row, columns, counts in zip(table, own, grams, strict=True):
        row[columns] = list(counts.values())
    sizes = table.sum(axis=1)
    shared = np.stack([np.minimum(row[c], table[:, c]).sum(axis=1) for row, c in zip(table, own, strict=True)])
    likeness: NDArray[np.float64] = 2.0 * shared / (sizes[:, None] + sizes)
    return likeness


def short_alike(likeness: NDArray[np.float64], replies: Sequence[Words]) -> NDArray[np.float64]:
    """Likenesses (C, C) in which short replies are similar, whatever their words are.

    Most short replies are listening noises ("Right.", "Uh-huh."), which all say the same. So one of them represents the
    others, and leaves the other places to replies with content.
    """
    short = np.array([len(said) <= SHORT for said in replies], dtype=bool)
    return np.where(short[:, None] & short, np.maximum(likeness, BOTH_SHORT), likeness)


def representatives(
    likeness: NDArray[np.float64], weights: NDArray[np.float64], preferred: NDArray[np.bool_], n: int
) -> list[int]:
    """At most `n` candidates, chosen greedily: always the one that adds most.

    Args:
        likeness: (C, C), at least 0.
        weights: (C,) how much each counts.
        preferred: (C,) candidates to choose before any others. Among equally good ones the first is chosen.
        n: how many to choose.
    """
    chosen: list[int] = []
    left = preferred.copy()
    covered = np.zeros(len(weights))
    while len(chosen) < min(n, len(weights)):
        if not left.any():
            left = ~preferred
        gains = np.maximum(likeness, covered) @ weights
        chosen.append(int(np.where(left, gains, -1.0).argmax()))
        left[chosen[-1]] = False
        covered = np.maximum(covered, likeness[chosen[-1]])
    return chosen


def draw_weights(
    log_probs: Sequence[float], information: Sequence[float], tokens: Sequence[int]
) -> NDArray[np.float64]:
    """(D,) how much each draw counts: 1 for the draw that its context explains best, less for the others.

    The weight of a reply x is proportional to exp(CONTRAST (log p(x | z, c) - log p(x)) / tokens), from the mutual
    information of Li et al. (NAACL 2016) for each token. p(x) is the product over its words of the share of training
    conversations that have the word. On draws that were judged one by one, more selected replies fitted, and more were
    specific, than with weights of 1; a CONTRAST of 1 gave half of the gain (docs/model.md).

    Args:
        log_probs: (D,) log p(x | z, c), in nats.
        information: (D,) -log p(x), in nats; 0 if it is unknown.
        tokens: (D,) at least 1.
    """
    each = (np.array(log_probs, np.float64) + np.array(information, np.float64)) / np.array(tokens, np.float64)
    weights: NDArray[np.float64] = np.exp(CONTRAST * (each - each.max(initial=-np.inf)))
    return weights


def select(
    texts: Sequence[str], finished: Sequence[bool], n: int, weights: Sequence[float] | NDArray[np.float64] | None = None
) -> list[tuple[int, float]]:
    """At most `n` distinct draws that represent all of them, the most typical first, each with its score.

    Replies that were cut off or that loop count as draws, but are chosen only if no others are left. The score of a
    reply is the weighted mean similarity of all draws to it, from 0 to 1: how typical it is, whatever else is chosen.

    Args:
        texts: of the draws.
        finished: whether each draw ended within its limit of tokens.
        n: how many to choose.
        weights: weights of the draws, above 0; default: 1 each.
    """
    places: dict[Words, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(same_words(text), []).append(place)
    if not places:
        return []
    # all draws with the same words are represented by the first finished one, if there is one
    best = [max(where, key=lambda place: finished[place]) for where in places.values()]
    each = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=np.float64)
    totals = np.array([each[where].sum() for where in places.values()])
    preferred = np.array([finished[place] and not loops(said) for said, place in zip(places, best, strict=True)])
    likeness = short_alike(similarity(list(places)), list(places))
    scores = (likeness @ totals / totals.sum()).tolist()
    return [(best[choice], scores[choice]) for choice in representatives(likeness, totals, preferred, n)]
