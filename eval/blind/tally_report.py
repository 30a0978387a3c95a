"""A tally as text for the screen.

Open it to change which figures the command prints; tally.json has all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.blind.sheet_files import QUESTIONS
from eval.blind.tally import BOTH, CONTEXT, JUDGEMENTS, MEASURES
from eval.report import markdown_table
from eval.score_thresholds import FEW

LABELS = {BOTH: "fits + specific", CONTEXT: "contexts with one"}


def as_text(found: Mapping[str, Any]) -> str:
    """The tables of a tally.

    Args:
        found: the result of `tally.tally`.
    """
    readers = found["missing"]
    parts = [
        f"sheet {found['sheet']}: {found['contexts']} contexts of {found['conversations']} conversations, "
        f"{found['replies']} replies, {len(readers)} readers"
    ]
    if found["conversations"] < FEW:
        parts.append(f"no intervals: they need at least {FEW} conversations")
    parts += list(_missing(found))
    parts += [
        "",
        "Shares with 95% intervals; each context counts the same. fits + specific: of replies; contexts with one: with",
        "at least one reply that fits and is specific. Intervals are over conversations.",
    ]
    for kind, title in (("mean", "Mean of the readers"), ("all", "What all readers say yes to")):
        if kind in found:
            parts += ["", *([f"{title}:", ""] if "all" in found else []), *_shares(found, found[kind]["sources"])]
    if "agreement" in found:
        parts += ["", "Agreement of the readers: percent, Cohen's kappa with its 95% interval:", "", *_agreement(found)]
    if found["mean"]["differences"]:
        parts += [
            "",
            "Differences, first minus second, in percentage points (95% interval; p of a sign-flip test after",
        ]
        parts += ["Holm's correction):", "", *_differences(found["mean"]["differences"])]
    return "\n".join(parts)


def _missing(found: Mapping[str, Any]) -> Iterator[str]:
    for reader, counts in found["missing"].items():
        if any(counts.values()):
            words = ", ".join(f"{question} {counts[question]}" for question in QUESTIONS)
            yield (
                f"{reader}: no answer for some of {found['replies']} replies ({words}); shares leave out what needs "
                "one, and say of how many contexts they are"
            )


def _shares(found: Mapping[str, Any], sources: Mapping[str, Any]) -> list[str]:
    head = ["source", *(LABELS.get(name, name) for name in MEASURES), "replies", "distinct", "listening noises"]
    rows = []
    for name, shares in sources.items():
        texts = found["texts"][name]
        counts = [str(texts["replies"]), f"{texts['distinct']:.2f}", _percent(texts["listening_noises"])]
        rows.append([name, *(_interval(shares[measure], found["contexts"]) for measure in MEASURES), *counts])
    return markdown_table(head, rows)


def _agreement(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [" and ".join(pair["readers"]), *(_kappa(pair[judgement]) for judgement in JUDGEMENTS)]
        for pair in found["agreement"]
    ]
    return markdown_table(["readers", *(LABELS.get(name, name) for name in JUDGEMENTS)], rows)


def _differences(differences: list[dict[str, Any]]) -> list[str]:
    shown = ("fits", BOTH, CONTEXT)
    rows = [[f"{row['first']} - {row['second']}", *(_difference(row[name]) for name in shown)] for row in differences]
    return markdown_table(["sources", *(LABELS.get(name, name) for name in shown)], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _interval(figure: Mapping[str, Any], contexts: int) -> str:
    """A share with its interval, such as `45% [35, 55]`, and its number of contexts if some of the sheet's are missing.

    Args:
        figure: a `Share`.
        contexts: of the sheet.
    """
    interval = "" if figure["low"] is None else f" [{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]"
    of = "" if figure["contexts"] in (0, contexts) else f" of {figure['contexts']}"
    return f"{_percent(figure['mean'])}{interval}{of}"


def _kappa(figure: Mapping[str, Any]) -> str:
    if figure["kappa"] is None:
        return _percent(figure["percent"])
    interval = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['percent']:.0%}, {figure['kappa']:.2f}{interval}"


def _p_value(value: float) -> str:
    """A p-value; the test cannot tell the smallest ones apart."""
    return f"p={value:.3f}" if value >= 0.0005 else "p<0.0005"


def _difference(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    interval = "" if figure["low"] is None else f" [{100 * figure['low']:+.0f}, {100 * figure['high']:+.0f}]"
    return f"{100 * figure['mean']:+.0f}{interval} {_p_value(figure['p_holm'])}"
