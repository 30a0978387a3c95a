"""How much replies differ: distinct n-grams, n-gram entropy, self-BLEU, distinct replies and the entropy of labels.

Open it to see how a measure of diversity is defined. Noise is diverse too: read these with a quality metric. Replies
are token sequences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from eval.metrics.bleu import leave_one_out_bleu
from eval.metrics.matching import Context
from eval.metrics.tokens import Tokens, ngrams


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


class CorpusDiversity(NamedTuple):
    """How much the replies to many contexts differ.

    Measures within a context show whether a context gets different replies. Measures over all replies show whether
    different contexts get different replies.

    Attributes:
        distinct_replies: different replies of a context, mean over contexts.
        self_bleu_2: among the replies of a context, mean over contexts with at least two of them; None without any.
        self_bleu_3: the same with three orders.
        distinct_1: unigrams over all replies.
        distinct_2: bigrams over all replies.
        entropy_4: in nats, of the 4-grams over all replies.
        distinct_1_fixed: unigrams of a fixed number of tokens, from shuffled replies; None if there are fewer.
        distinct_2_fixed: bigrams of the same tokens.
    """

    distinct_replies: float
    self_bleu_2: float | None
    self_bleu_3: float | None
    distinct_1: Distinct
    distinct_2: Distinct
    entropy_4: float
    distinct_1_fixed: Distinct | None
    distinct_2_fixed: Distinct | None

    def figures(self) -> dict[str, float]:
        """The measures by name, ratios for distinct n-grams; without those that are None."""
        values = {name: value.ratio if isinstance(value, Distinct) else value for name, value in self._asdict().items()}
        return {name: value for name, value in values.items() if value is not None}


def corpus_diversity(contexts: Sequence[Context], *, tokens: int = 10_000, seed: int = 0) -> CorpusDiversity:
    """Diversity of the hypotheses of all contexts, within a context and over all.

    Args:
        contexts: hypotheses and references; the references are ignored.
        tokens: the fixed number of tokens of `distinct_1_fixed` and `distinct_2_fixed`.
        seed: seed of the order in which replies give those tokens; without shuffling, few conversations would give all.

    Raises:
        ValueError: there are no contexts, one has no replies, or `tokens` is below 1.
    """
    if not contexts or tokens < 1:
        raise ValueError(
            f"diversity needs at least 1 context and 1 token, got {len(contexts)} contexts, {tokens} tokens"
        )
    by_context = [hypotheses for hypotheses, _ in contexts]
    empty = next((index for index, hypotheses in enumerate(by_context) if not hypotheses), None)
    if empty is not None:
        raise ValueError(f"context {empty} of {len(contexts)} (from 0) has no replies")
    replies = [reply for hypotheses in by_context for reply in hypotheses]
    shuffled = [replies[i] for i in np.random.default_rng(seed).permutation(len(replies))]
    unigrams = distinct(replies, 1)
    enough = unigrams.total >= tokens
    return CorpusDiversity(
        distinct_replies=sum(map(distinct_replies, by_context)) / len(contexts),
        self_bleu_2=_mean_self_bleu(by_context, 2),
        self_bleu_3=_mean_self_bleu(by_context, 3),
        distinct_1=unigrams,
        distinct_2=distinct(replies, 2),
        entropy_4=ngram_entropy(replies, 4),
        distinct_1_fixed=distinct_at(shuffled, 1, tokens) if enough else None,
        distinct_2_fixed=distinct_at(shuffled, 2, tokens) if enough else None,
    )


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

    Replies are used in the given order, the last one cut; shuffle them if their order matters.

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


def ngram_entropy(replies: Sequence[Tokens], n: int) -> float:
    """Ent-n of Zhang et al. (2018): the entropy in nats of how often each n-gram of the replies occurs.

    Unlike distinct-n it shows whether a few n-grams make up most of the replies. It grows with the number of tokens, up
    to the logarithm of the number of n-grams; 0 when no reply has n tokens.

    Raises:
        ValueError: no replies, or n below 1.
    """
    _require_replies(replies, n, at_least=1)
    grams = [gram for reply in replies for gram in ngrams(reply, n)]
    return label_entropy(grams) if grams else 0.0


def self_bleu(replies: Sequence[Tokens], n: int) -> float:
    """Self-BLEU-n of Zhu et al. (2018): the mean BLEU-n of each reply with all the others as its references.

    Lower is more diverse. It has uniform weights over n orders and smoothing method1, as is usual in the field. With
    that smoothing, even identical replies have less than 1 if they have fewer than n tokens.

    Raises:
        ValueError: fewer than two replies, or n below 1.
    """
    _require_replies(replies, n, at_least=2)
    return float(leave_one_out_bleu(replies, [1.0 / n] * n, "method1").mean())


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


def _mean_self_bleu(by_context: Sequence[Sequence[Tokens]], n: int) -> float | None:
    scores = [self_bleu(replies, n) for replies in by_context if len(replies) > 1]
    return math.fsum(scores) / len(scores) if scores else None


def _require_replies(replies: Sequence[Tokens], n: int, at_least: int) -> None:
    if len(replies) < at_least:
        raise ValueError(f"this measure needs at least {at_least} replies, got {len(replies)}")
    if n < 1:
        raise ValueError(f"n-grams need n of at least 1, got {n}")
