"""What readers found: shares of each source, agreement of the readers, differences of the sources.

Open it to add a measure. An empty reply counts as no to each question, and so does a context to which a source gave no
reply. A reply that a source gave twice counts twice.

Answers may be missing. What is found from several answers is then missing too, even if one of them decides it: if only
those without a deciding answer were left out, shares would be too low ("all") or too high ("any").

Intervals, tests and agreement have conversations as their unit (`intervals`, `agreement`).

Shape legend: R readers, I replies of the sheet, C contexts, Q questions, M measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.text.words import normalised
from eval.blind.agreement import agreement
from eval.blind.intervals import paired_difference, share
from eval.blind.listening import is_listening_noise
from eval.blind.ratings import Ratings
from eval.blind.sheet import Key
from eval.blind.sheet_files import QUESTIONS
from eval.metrics.significance import holm

Array = NDArray[np.float64]

BOTH = "fits_and_specific"
CONTEXT = "context_with_such_a_reply"
JUDGEMENTS = (*QUESTIONS, BOTH)
"""Of one reply by one reader: the answers, and whether it fits and is specific."""

MEASURES = (*JUDGEMENTS, CONTEXT)
"""Of one context: the shares of its replies, and whether one of them or more fits and is specific."""


def tally(key: Key, ratings: Ratings) -> dict[str, Any]:
    """All results, as in tally.json.

    Args:
        key: of the sheet.
        ratings: of at least one reader.
    """
    judged = _judgements(ratings.values)  # (R, I, Q + 1)
    conversations = [context.conversation for context in key.contexts]
    found: dict[str, Any] = {
        "sheet": key.sheet,
        "made": key.made,
        "contexts": len(key.contexts),
        "conversations": len(set(conversations)),
        "replies": len(key.texts),
        "missing": {
            reader: dict(zip(QUESTIONS, counts.tolist(), strict=True))
            for reader, counts in zip(ratings.readers, ratings.missing, strict=True)
        },
        "texts": {name: _texts(key, name) for name in key.sources},
        "mean": _compared(_values(key, judged), conversations),
    }
    if len(ratings.readers) > 1:
        found["all"] = _compared(_values(key, _all(judged, axis=0)[None]), conversations)
        found["agreement"] = _agreements(key, ratings.readers, judged)
    return found


def _judgements(values: Array) -> Array:
    """(R, I, Q + 1): the answers, and whether a reply both fits and is specific."""
    fits, specific = QUESTIONS.index("fits"), QUESTIONS.index("specific")
    both = _all(values[..., [fits, specific]], axis=-1)
    return np.concatenate([values, both[..., None]], axis=-1)


def _values(key: Key, judged: Array) -> dict[str, Array]:
    """The measures of each context, means over readers, (C, M) by source; NaN where no reader judged."""
    rows = {one: row for row, one in enumerate(key.texts)}
    found = {name: np.empty((len(key.contexts), len(MEASURES))) for name in key.sources}
    for number, context in enumerate(key.contexts):
        on_sheet = {rows[one] for ids in context.replies.values() for one in ids if one is not None}
        answers = judged[:, sorted(on_sheet)]  # (R, replies, Q + 1)
        # an empty reply counts as no, for readers who judged another reply to this context
        unread = np.isnan(answers).all(axis=1) & bool(on_sheet)
        empty = np.where(unread, np.nan, 0.0)  # (R, Q + 1)
        for name, ids in context.replies.items():
            replies = np.stack([empty if one is None else judged[:, rows[one]] for one in ids or [None]], axis=1)
            has_one = _any(replies[..., -1], axis=1)[:, None]  # (R, 1)
            found[name][number] = _mean(np.concatenate([_mean(replies, axis=1), has_one], axis=1), axis=0)
    return found


def _compared(values: Mapping[str, Array], conversations: Sequence[str]) -> dict[str, Any]:
    """Shares of each source, and differences of each pair, by Holm's method over the pairs of a measure.

    Args:
        values: the measures of each context, (C, M) by source.
        conversations: (C,) of the contexts.
    """
    sources = {
        name: {measure: share(rows[:, column], conversations)._asdict() for column, measure in enumerate(MEASURES)}
        for name, rows in values.items()
    }
    pairs = list(combinations(values, 2))
    differences: list[dict[str, Any]] = [{"first": first, "second": second} for first, second in pairs]
    for column, measure in enumerate(MEASURES):
        columns = {name: rows[:, column] for name, rows in values.items()}
        tests = [paired_difference(columns[first], columns[second], conversations) for first, second in pairs]
        known = iter(holm([test.p for test in tests if test.p is not None]))
        for row, test in zip(differences, tests, strict=True):
            row[measure] = test._asdict() | {"p_holm": None if test.p is None else next(known)}
    return {"sources": sources, "differences": differences}


def _agreements(key: Key, readers: tuple[str, ...], judged: Array) -> list[dict[str, Any]]:
    """The agreement of each pair of readers on each judgement."""
    order = {name: number for number, name in enumerate(dict.fromkeys(each.conversation for each in key.contexts))}
    numbers = {
        one: order[context.conversation]
        for context in key.contexts
        for ids in context.replies.values()
        for one in ids
        if one is not None
    }
    conversations = np.array([numbers[one] for one in key.texts], dtype=np.int64)
    return [
        {"readers": [readers[first], readers[second]]}
        | {
            name: agreement(judged[first, :, column], judged[second, :, column], conversations)._asdict()
            for column, name in enumerate(JUDGEMENTS)
        }
        for first, second in combinations(range(len(readers)), 2)
    ]


def _texts(key: Key, name: str) -> dict[str, Any]:
    """What can be counted without readers; like theirs, shares are means over contexts."""
    rows = [
        [key.texts[one] for one in context.replies[name] if one is not None] for context in key.contexts
    ]  # the texts of each context
    noises = [np.mean([is_listening_noise(text) for text in texts]) for texts in rows if texts]
    return {
        "replies": sum(len(context.replies[name]) for context in key.contexts),
        "contexts_without_reply": sum(not texts for texts in rows),
        "distinct": float(np.mean([len(set(map(normalised, texts))) for texts in rows])),
        "listening_noises": float(np.mean(noises)) if noises else None,
    }


def _mean(values: Array, axis: int) -> Array:
    """The mean of values that are not NaN; NaN if all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _all(values: Array, axis: int) -> Array:
    """Whether all values, 0 or 1, are 1; NaN if one is missing."""
    found: Array = values.min(axis=axis)  # NaN if one is NaN
    return found


def _any(values: Array, axis: int) -> Array:
    """Whether any value, 0 or 1, is 1; NaN if one is missing."""
    found: Array = values.max(axis=axis)
    return found
