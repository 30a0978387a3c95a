"""The columns of tables: figures by the names that an evaluation gives them.

Open it to add a figure to the tables of `eval.dialog` and of the experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Measure(NamedTuple):
    """A column.

    Attributes:
        name: of the figure, parts joined by a point: `a_bow.recall`.
        label: its heading.
        digits: after the decimal point.
    """

    name: str
    label: str
    digits: int


MAIN = (
    Measure("paper_rec_perplexity", "Rec-P ↓", 2),
    Measure("paper_kl", "KL", 3),
    Measure("bleu_nltk_3.4.5_4.precision", "B4 prec", 3),
    Measure("bleu_nltk_3.4.5_4.recall", "B4 recall", 3),
    Measure("bleu_nltk_3.6_4.precision", "B4 prec, today's NLTK", 3),
    Measure("bleu_nltk_3.6_4.recall", "B4 recall, today's NLTK", 3),
    Measure("a_bow.precision", "A-bow prec", 3),
    Measure("a_bow.recall", "A-bow recall", 3),
    Measure("e_bow.precision", "E-bow prec", 3),
    Measure("e_bow.recall", "E-bow recall", 3),
)
"""The paper's Table 3."""

DIVERSITY = (
    Measure("distinct_replies_per_context", "different replies", 2),
    Measure("distinct_greedy", "different greedy replies of 5", 2),
    Measure("self_bleu_2", "self-BLEU-2 ↓", 3),
    Measure("distinct_1", "distinct-1", 4),
    Measure("distinct_2", "distinct-2", 4),
    Measure("distinct_2_fixed", "distinct-2 of 10,000 tokens", 3),
    Measure("act_entropy", "act entropy", 2),
    Measure("mean_reply_tokens", "tokens", 1),
    Measure("verbatim_from_training", "said in training", 3),
)
"""How much replies differ, entropy in nats, and the share of replies that are training utterances word by word."""


def flat(figures: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among an evaluation's figures, parts joined by a point."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{part}": number for part, number in flat(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return found
