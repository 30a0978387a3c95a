"""Further references for a corpus that has one for each context, after Zhao et al. (2017), section 5.3.

1.  The candidates of a context are the replies to the ten training contexts that are most similar to it
    (`eval.references.similarity`): candidates come from training conversations alone.
2.  A filter keeps those that fit. Zhao et al. trained theirs on human labels; where there are none, it is
    `reply_filter`, its threshold such that a stated share of the candidates is kept where the speaker changes.

Departure from the original: first turns answer nobody and get no candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import Window, windows
from eval.references.multi_reference import ReferenceRow, References
from eval.references.reply_filter import Pair, ReplyFilter
from eval.references.similarity import ContextIndex

CANDIDATES = 10
KEEP_SHARE = 0.8
"""Of the candidates at changes of speaker: in the 50 published rows that are known 8.0 of 10 were kept."""


class Built(NamedTuple):
    """What was built.

    Attributes:
        references: of every utterance, conversations by length as in the published file.
        threshold: log odds from which the filter kept a candidate; None without a filter or candidates.
    """

    references: References
    threshold: float | None


def build(
    index: ContextIndex,
    conversations: Sequence[Conversation],
    *,
    candidates: int = CANDIDATES,
    reply_filter: ReplyFilter | None = None,
    keep_share: float = KEEP_SHARE,
    distinct: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> Built:
    """Find further references.

    Args:
        index: of the training split.
        conversations: of another split, with at least one context.
        candidates: for each context, at least 1.
        reply_filter: which of them fit; None keeps all.
        keep_share: of the candidates at changes of speaker that the filter keeps, in (0, 1].
        distinct: drop what has the words of an earlier reference of the context; the published file does not.
        advance: told how many contexts were done, for a progress bar.
    """
    ordered = sorted(conversations, key=lambda conversation: len(conversation.utterances))
    queries = windows(ordered)
    neighbours = index.nearest(queries, candidates, advance=advance)
    pairs = [[Pair(query, one.window.reply) for one in found] for query, found in zip(queries, neighbours, strict=True)]
    threshold = None
    if reply_filter is not None and any(pairs):
        pairs, threshold = _filtered(pairs, reply_filter, keep_share)
    extras = {query.place: [pair.reply for pair in kept] for query, kept in zip(queries, pairs, strict=True)}
    every = (Window(c, position) for c in ordered for position in range(len(c.utterances)))
    return Built({w.place: _row(w, extras.get(w.place, ()), distinct) for w in every}, threshold)


def _filtered(
    pairs: Sequence[Sequence[Pair]], reply_filter: ReplyFilter, keep_share: float
) -> tuple[list[list[Pair]], float]:
    """The pairs of each context that fit, and the threshold."""
    flat = [pair for row in pairs for pair in row]
    scores = reply_filter.scores(flat)
    changes = np.array([not pair.window.continues for pair in flat])
    decisive = scores[changes] if changes.any() else scores
    threshold = float(np.quantile(decisive, 1.0 - keep_share, method="higher"))
    kept: Iterator[bool] = iter(scores >= threshold)
    return [[pair for pair in row if next(kept)] for row in pairs], threshold


def _row(window: Window, extras: Sequence[Utterance], distinct: bool) -> ReferenceRow:
    said = [window.reply, *extras]
    if distinct:
        first = {normalised(utterance.text): utterance for utterance in reversed(said)}
        said = [utterance for utterance in said if first[normalised(utterance.text)] is utterance]
    texts, acts = tuple(u.text for u in said), tuple(u.dialog_act for u in said)
    return ReferenceRow(window.context, window.reply.speaker, texts, acts)
