"""Builds further references for a corpus with one per context, after Zhao et al. (2017), section 5.3.

Open it to change which candidates become references.

1.  The candidates of a context are the replies to the ten training contexts that are most similar to it
    (`eval.references.context_index`): candidates come from training conversations alone.
2.  A filter keeps those that fit. Zhao et al. trained theirs on human labels. `reply_filter` needs none; its threshold
    keeps a given share of the candidates where the speaker changes.

Departure from the original: first utterances have no context and get no candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import Window, windows
from eval.references.context_index import ContextIndex
from eval.references.multi_reference import ReferenceRow, References
from eval.references.reply_filter import Pair, ReplyFilter

CANDIDATES = 10
KEEP_SHARE = 0.8
"""Of the candidates where the speaker changes: in the 50 known rows of the published file, 8.0 of 10 were kept."""


class Built(NamedTuple):
    """The built references.

    Attributes:
        references: of every utterance; conversations are ordered by length, as in the published file.
        threshold: the filter kept candidates with at least these log odds; None without a filter or candidates.
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
        keep_share: share of the candidates at changes of speaker that the filter keeps, in (0, 1].
        distinct: drop references with the same words as an earlier one of the context; the published file keeps them.
        advance: called with the number of contexts just done, for a progress bar.
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
    replies = [window.reply, *extras]
    if distinct:
        first = {normalised(utterance.text): utterance for utterance in reversed(replies)}
        replies = [utterance for utterance in replies if first[normalised(utterance.text)] is utterance]
    texts, acts = tuple(u.text for u in replies), tuple(u.dialog_act for u in replies)
    return ReferenceRow(window.context, window.reply.speaker, texts, acts)
