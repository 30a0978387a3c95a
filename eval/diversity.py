"""How much replies differ: distinct n-grams, self-BLEU, distinct replies and the entropy of labels.

Every figure here rises when quality falls; read it beside a quality metric. Replies are token sequences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from eval.bleu import sentence_bleu
from eval.tokens import Tokens, ngrams


class Distinct(NamedTuple):
    """Distinct n-grams among all n-grams of some replies; n-grams never span two replies.

    Attributes:
        distinct: how many different n-grams there are; ControlVAE's Dis-n.
        total: how many n-grams there are.
    """

    distinct: int
    total: int

    @property
    def ratio(self) -> float:
        """Distinct-n of Li et al. (2016); 0 when no reply has n tokens."""
        return self.distinct / self.total if self.total else 0.0


def distinct(replies: Sequence[Tokens], n: int) -> Distinct:
    """Distinct n-grams over all the replies together.

    With all replies of a corpus, the `ratio` is distinct-n; with the samples of one context, DialogWAE's inter-dist.

    Raises:
        ValueError: no replies, or n below 1.
    """
    _require_replies(replies, n, at_least=1)
    grams = [gram for reply in replies for gram in ngrams(reply, n)]
    return Distinct(len(set(grams)), len(grams))


def distinct_at(replies: Sequence[Tokens], n: int, tokens: int) -> Distinct:
    """Distinct n-grams of the first `tokens` tokens: distinct-n falls with length, so compare models at one length.

    Replies are taken in the order given, the last one cut; shuffle them with a seed if their order means anything.

    Raises:
        ValueError: n below 1, or the replies have fewer than `tokens` tokens together.
    """
    available = sum(len(reply) for reply in replies)
    if not 1 <= tokens <= available:
        raise ValueError(f"distinct-{n} at {tokens} tokens needs replies of that many tokens, got {available}")
    kept: list[Tokens] = []
    left = tokens
    for reply in replies:
        kept.append(reply[:left])
        left -= len(kept[-1])
        if left == 0:
            break
    return distinct(kept, n)


def intra_distinct(replies: Sequence[Tokens], n: int) -> float:
    """DialogWAE's intra-dist: distinct-n within each reply, averaged; a reply of fewer than n tokens counts 0.

    Raises:
        ValueError: no replies, or n below 1.
    """
    _require_replies(replies, n, at_least=1)
    return math.fsum(distinct([reply], n).ratio for reply in replies) / len(replies)


def self_bleu(replies: Sequence[Tokens], n: int) -> float:
    """Self-BLEU-n of Zhu et al. (2018): the mean BLEU-n of each reply with all the others as its references.

    Lower is more diverse. Uniform weights over n orders and smoothing method1, as the field reports it; that
    smoothing gives even identical replies less than 1 when they have fewer than n tokens.

    Raises:
        ValueError: fewer than two replies, or n below 1.
    """
    _require_replies(replies, n, at_least=2)
    weights = [1.0 / n] * n
    scores = (
        sentence_bleu(reply, [*replies[:i], *replies[i + 1 :]], weights, "method1") for i, reply in enumerate(replies)
    )
    return math.fsum(scores) / len(replies)


def distinct_replies(replies: Iterable[Tokens]) -> int:
    """How many different token sequences there are; 0 for no replies."""
    return len({tuple(reply) for reply in replies})


def label_entropy(labels: Iterable[Hashable]) -> float:
    """Entropy in nats of how often each label (a dialog act, say) occurs: 0 for one label, ln K for K equal shares.

    Raises:
        ValueError: no labels.
    """
    counts = Counter(labels)
    total = counts.total()
    if total == 0:
        raise ValueError("the entropy of labels needs at least 1 label, got 0")
    return -math.fsum(count / total * math.log(count / total) for count in counts.values()) + 0.0


def _require_replies(replies: Sequence[Tokens], n: int, at_least: int) -> None:
    if len(replies) < at_least:
        raise ValueError(f"this measure needs at least {at_least} replies, got {len(replies)}")
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1, got {n}")
