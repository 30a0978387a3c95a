"""Statistics of a file of references, next to what is known about the published file.

Open it to add a statistic or to see where a published figure comes from. The paper gives two means over the 5,481 rows
of the published file (Zhao et al. 2017, section 5.3), and COTK distributes 50 whole rows of 5 conversations. In all 50
the speaker changes, so only that stratum is compared with them; the figure for the other stratum is inferred from the
two. A duplicate is a reference with exactly the same text, as counted in those rows. "The context before" is the
previous one in the same stratum.

For references of `eval.references.builder`, the mean where the speaker changes proves nothing: the builder's threshold
is set to keep a published share of candidates there. The other figures are not fitted to the published file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

from eval.references.multi_reference import References

STRATA = ("all", "speaker changes", "speaker goes on")
ACTS_SHOWN = 6
LABEL_WIDTH = 48
ARTEFACT = ") "  # a remnant of Switchboard's markup, with which texts of the published file begin

PUBLISHED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "all": MappingProxyType({"mean_references": 7.69, "mean_dialog_acts": 4.2}),
        "speaker changes": MappingProxyType(
            {
                "mean_references": 9.0,
                "least_references": 4,
                "most_references": 11,
                "mean_dialog_acts": 4.4,
                "rows_with_duplicates": 0.44,
                "rows_with_gold_again": 0.02,
                "one_word_extras": 0.44,
                "mean_words_of_extras": 8.6,
                "mean_words_of_gold": 12.6,
                "extras_of_the_row_before": 0.64,
                "extras_with_artefact": 0.30,
            }
        ),
    }
)
"""The mean of references counts the gold reply: the paper's 6.69 are further ones."""

INFERRED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"speaker goes on": MappingProxyType({"mean_references": 5.3})}
)
"""Not published: it follows from the mean of all contexts, if the mean of the 50 rows holds for all contexts where the
speaker changes, which are 64.4%. The gold reply counts; 4.3 are further ones."""

PUBLISHED_ACTS: Mapping[str, float] = MappingProxyType(
    {
        "acknowledge_(backchannel)": 0.31,
        "abandoned_or_turn-exit/uninterpretable": 0.20,
        "statement-opinion": 0.18,
        "statement-non-opinion": 0.15,
    }
)
"""Shares of the further references' dialog acts in the 50 rows; only the four that are known."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "contexts": "contexts",
        "mean_references": "references, mean",
        "least_references": "  least",
        "most_references": "  most",
        "contexts_without_extras": "contexts with the gold reply alone",
        "mean_dialog_acts": "different dialog acts, mean",
        "rows_with_duplicates": "contexts with a reference twice",
        "rows_with_gold_again": "contexts with the gold reply again",
        "one_word_extras": "further references of one word",
        "mean_words_of_extras": "words of a further reference, mean",
        "mean_words_of_gold": "words of the gold reply, mean",
        "extras_of_the_row_before": "further references that the context before has",
        "extras_with_artefact": f"further references that begin with {ARTEFACT.strip()}",
    }
)


class Stratum(NamedTuple):
    """The statistics of one stratum of contexts.

    Attributes:
        figures: by the names of LABELS; None if there is nothing to count.
        references: how many contexts have each number of references.
        extra_acts: shares of the dialog acts of further references, the most common first; unknown acts do not count.
        gold_acts: the same of gold replies.
    """

    figures: dict[str, float | None]
    references: dict[int, int]
    extra_acts: dict[str, float]
    gold_acts: dict[str, float]


def statistics(references: References) -> dict[str, Stratum]:
    """The strata by name; windows without a context, which are not scored, do not count."""
    scored = {place: row for place, row in references.items() if row.context}
    members = {
        "all": scored,
        "speaker changes": {place: row for place, row in scored.items() if not row.continues},
        "speaker goes on": {place: row for place, row in scored.items() if row.continues},
    }
    return {name: _stratum(members[name]) for name in STRATA}


def _stratum(rows: References) -> Stratum:
    counts = [len(row.responses) for row in rows.values()]
    extras = [text for row in rows.values() for text in row.responses[1:]]
    acts = [{act for act in row.dialog_acts if act is not None} for row in rows.values()]
    figures = {
        "contexts": len(rows),
        "mean_references": _mean(counts),
        "least_references": min(counts, default=None),
        "most_references": max(counts, default=None),
        "contexts_without_extras": _mean([count == 1 for count in counts]),
        "mean_dialog_acts": _mean([len(found) for found in acts if found]),
        "rows_with_duplicates": _mean([len(set(row.responses)) < len(row.responses) for row in rows.values()]),
        "rows_with_gold_again": _mean([row.responses[0] in row.responses[1:] for row in rows.values()]),
        "one_word_extras": _mean([_words(text) == 1 for text in extras]),
        "mean_words_of_extras": _mean([_words(text) for text in extras]),
        "mean_words_of_gold": _mean([_words(row.responses[0]) for row in rows.values()]),
        "extras_of_the_row_before": _mean(list(_again(rows))),
        "extras_with_artefact": _mean([text.startswith(ARTEFACT) for text in extras]),
    }
    return Stratum(
        figures,
        dict(sorted(Counter(counts).items())),
        _shares(act for row in rows.values() for act in row.dialog_acts[1:]),
        _shares(row.dialog_acts[0] for row in rows.values()),
    )


def _again(rows: References) -> Iterator[bool]:
    """For each further reference, whether the previous row of its conversation has it too."""
    for before, place in pairwise(sorted(rows)):
        if before[0] == place[0]:
            yield from (text in rows[before].responses[1:] for text in rows[place].responses[1:])


def _words(text: str) -> int:
    """Words separated by spaces: `uh-huh` is one; a bracket alone is none."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _shares(acts: Iterable[str | None]) -> dict[str, float]:
    counts = Counter(act for act in acts if act is not None)
    return {act: count / counts.total() for act, count in counts.most_common()}


def as_json(strata: Mapping[str, Stratum]) -> dict[str, Any]:
    """The strata, each with its published and inferred figures."""
    return {
        name: {
            **stratum._asdict(),
            "published": dict(PUBLISHED.get(name, {})),
            "inferred": dict(INFERRED.get(name, {})),
        }
        for name, stratum in strata.items()
    } | {"published_extra_acts": dict(PUBLISHED_ACTS)}


def as_text(strata: Mapping[str, Stratum]) -> str:
    """A table as plain text."""
    lines = ["in brackets: the published file, of Switchboard, as far as it is known", ""]
    lines += [f"{'':<{LABEL_WIDTH}}" + "".join(f"{name:>20}" for name in strata)]
    for name, label in LABELS.items():
        cells = (_cell(key, name, stratum.figures[name]) for key, stratum in strata.items())
        lines.append(f"{label:<{LABEL_WIDTH}}" + "".join(f"{cell:>20}" for cell in cells))
    lines += ["", "contexts by their number of references"]
    for name, stratum in strata.items():
        lines.append(f"  {name}: " + ", ".join(f"{number}: {count:,}" for number, count in stratum.references.items()))
    lines += ["", "dialog acts of further references (and of gold replies)"]
    for name, stratum in strata.items():
        shares = list(stratum.extra_acts.items())[:ACTS_SHOWN]
        acts = (f"{act} {share:.0%} ({stratum.gold_acts.get(act, 0.0):.0%})" for act, share in shares)
        lines.append(f"  {name}: " + (", ".join(acts) or "unknown"))
    published = ", ".join(f"{act} {share:.0%}" for act, share in PUBLISHED_ACTS.items())
    return "\n".join([*lines, f"  published, speaker changes: {published}"])


def _cell(stratum: str, figure: str, value: float | None) -> str:
    shown = "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
    published, inferred = (table.get(stratum, {}).get(figure) for table in (PUBLISHED, INFERRED))
    if published is not None:
        return f"{shown} [{published:g}]"
    return shown if inferred is None else f"{shown} [{inferred:g} inferred]"
