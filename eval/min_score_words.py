"""The table for choosing a `min_score`, as text, and its result in a sentence.

Open it to change which threshold is proposed, or which columns are shown; metrics.json has all figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.report import markdown_table
from eval.score_thresholds import A_BOW, BLEU, FEW

LABELS = {A_BOW: "A-bow", BLEU: "BLEU-4"}
KEPT = 0.8  # least share of contexts in which the proposed threshold keeps a reply

NOTE = (
    "What a min_score of the service leaves of these replies. Above chance: how much more a reply is like what was "
    "said here than like what was said in other conversations, mean over the replies that are left, and over those "
    "that are left out; in brackets the 95% interval of the difference."
)


def min_score_table(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table.

    Args:
        table: the field `min_score` of metrics.json.
    """
    measures = _measures(table)
    compared = [f"{LABELS[name]} above chance, left / left out" for name in measures]
    head = ["min_score", "contexts with a reply", "replies left", "their tokens", *compared]
    return head, [_cells(row, measures) for row in table["rows"]]


def min_score_lines(table: Mapping[str, Any]) -> list[str]:
    """The table as text, with what its columns mean."""
    return [NOTE, "", *markdown_table(*min_score_table(table))]


def _measures(table: Mapping[str, Any]) -> list[str]:
    return [name for name in LABELS if any(name in row for row in table["rows"])]


def _cells(row: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    tokens = f"{row['tokens']:.1f}" if "tokens" in row else ""
    gains = [row.get(name, {}).get("above_chance") for name in measures]
    compared = ["" if gain is None else _compared(gain) for gain in gains]
    return [f"{row['min_score']:g}", f"{row['contexts']:.0%}", f"{row['replies']:.1f}", tokens, *compared]


def _compared(gain: Mapping[str, float]) -> str:
    return f"{gain['left']:z.3f} / {gain['left_out']:z.3f} [{gain['low']:+z.3f}, {gain['high']:+z.3f}]"


def min_score_sentences(table: Mapping[str, Any]) -> Iterator[str]:
    """Whether a min_score is useful with these replies, and which one to start with.

    Thresholds that keep a reply in at least a share KEPT of the contexts are tested in rising order. Testing stops at
    the first threshold for which the interval of the difference is not above 0 by every measure. In such a fixed order
    each test may have the level of a single test (Maurer, Hothorn and Lehmacher, 1995).
    """
    measures = _measures(table)
    scored = table["conversations"]
    compared = table.get("conversations_compared", scored)  # earlier versions did not count these
    if compared < FEW:
        few = f"({scored})" if compared == scored else f"with references ({compared} of {scored})"
        yield (
            f"Choosing min_score: there are too few conversations {few} to say whether replies with a higher score are "
            f"better; at least {FEW} are needed."
        )
        return
    tested = [row for row in table["rows"] if row["contexts"] >= KEPT and _gains(row, measures)]
    if not tested:
        yield "Choosing min_score: no threshold leaves some replies and leaves out others; the scores say nothing here."
        return
    passed = list(itertools.takewhile(lambda row: all(map(_better, _gains(row, measures).values())), tested))
    row = passed[-1] if passed else tested[0]
    gains = _gains(row, measures)
    figures = "; ".join(f"{LABELS[name]} {_compared(gain)}" for name, gain in gains.items())
    against = f"likeness to what was said, above chance, of those left / left out: {figures}"
    kept = f"keeps a reply in {row['contexts']:.0%} of the contexts, {row['replies']:.1f} on average"
    better = [LABELS[name] for name, gain in gains.items() if _better(gain)]
    limit = f"{row['min_score']:g}"
    if passed:
        yield f"Choosing min_score: {limit} is a start. It {kept}, and what it leaves out is worse ({against})."
    elif better:
        yield (
            f"Choosing min_score: unclear. What {limit} leaves is better than what it leaves out by "
            f"{' and '.join(better)} alone ({against}). It {kept}; let people read what it leaves before you use it."
        )
    else:
        yield (
            f"Choosing min_score: the scores do not separate better from worse replies in these "
            f"{compared} conversations. {limit} {kept}, but what is left is not clearly better than what "
            f"is left out ({against}). A min_score gives fewer replies, not better ones."
        )


def _gains(row: Mapping[str, Any], measures: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """The quality of what a threshold keeps and leaves out, by measure; empty if there is nothing to compare."""
    return {name: row[name]["above_chance"] for name in measures if "above_chance" in row.get(name, {})}


def _better(gain: Mapping[str, float]) -> bool:
    return gain["low"] > 0
