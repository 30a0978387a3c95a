"""The table that helps to choose a `min_score`, as text, and what it says in a sentence.

Open it to change which threshold is proposed, or which columns readers see; metrics.json has all figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.report import markdown_table
from eval.score_thresholds import A_BOW, BLEU, FEW

LABELS = {A_BOW: "A-bow", BLEU: "BLEU-4"}
KEPT = 0.8  # share of the contexts in which the proposed threshold keeps a reply

NOTE = (
    "What a min_score of the service leaves of these replies. Above chance: how much more a reply is like what was "
    "said here than like what was said in other conversations, mean over the replies that are left, and over those "
    "that are left out; in brackets the 95% interval of the difference."
)


def min_score_table(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table.

    Args:
        table: `min_score` of metrics.json.
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
    return f"{gain['left']:.3f} / {gain['left_out']:.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"


def min_score_sentences(table: Mapping[str, Any]) -> Iterator[str]:
    """Whether a min_score is of use with these replies, and which one is a start.

    One threshold is tested, which is chosen by how much it leaves and not by what it leaves: the highest that keeps a
    reply in a share KEPT of the contexts. By every measure the interval of the difference must be above 0.
    """
    measures = _measures(table)
    row = next((row for row in reversed(table["rows"]) if row["min_score"] and row["contexts"] >= KEPT), None)
    if table["conversations"] < FEW:
        yield (
            f"Choosing min_score: {table['conversations']} conversations are too few to say whether replies with a "
            f"higher score are better; at least {FEW} are needed."
        )
        return
    gains = {} if row is None else {n: g for n in measures if (g := row.get(n, {}).get("above_chance")) is not None}
    if row is None or not gains:
        yield "Choosing min_score: no threshold leaves some replies and leaves out others; the scores say nothing here."
        return
    figures = "; ".join(f"{LABELS[name]} {_compared(gain)}" for name, gain in gains.items())
    against = f"likeness to what was said, above chance, of those left / left out: {figures}"
    better = [LABELS[name] for name, gain in gains.items() if gain["low"] > 0]
    if len(better) == len(gains):
        yield (
            f"Choosing min_score: {row['min_score']:g} is a start. It keeps a reply in {row['contexts']:.0%} of the "
            f"contexts, {row['replies']:.1f} on average, and the replies that it leaves out are worse ({against})."
        )
    elif better:
        yield (
            f"Choosing min_score: unclear. What {row['min_score']:g} leaves is better than what it leaves out by "
            f"{' and '.join(better)} alone ({against}). It keeps a reply in {row['contexts']:.0%} of the contexts; let "
            "people read what it leaves before you use it."
        )
    else:
        yield (
            f"Choosing min_score: the scores do not separate better from worse replies in these "
            f"{table['conversations']} conversations. At {row['min_score']:g}, which keeps a reply in "
            f"{row['contexts']:.0%} of the contexts, what is left is not clearly better than what is left out "
            f"({against}). A min_score gives fewer replies, not better ones."
        )
