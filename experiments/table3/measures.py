"""The columns of Table 3's page beside the paper's, and the paper's figures.

Open it to add a column to the page, or to change which figures are tested for significance.
"""

from __future__ import annotations

from collections.abc import Mapping

from eval.measures import Measure

FURTHER = (
    Measure("elbo", "ELBO ↑", 2),
    Measure("rec_perplexity", "Rec-P, corpus ↓", 2),
    Measure("kl", "KL", 2),
    Measure("iw_nll", "IW-NLL ↓", 2),
    Measure("active_units", "active units", 1),
    Measure("mutual_information", "MI", 2),
    Measure("mutual_information_leave_one_out", "MI, left out", 2),
    Measure("marginal_kl", "marginal KL", 2),
    Measure("nats_from_z", "nats from z", 2),
)
"""What the model knows, in nats for each response where they are nats, over all responses."""

STRATA = tuple(
    Measure(f"{stratum}bleu_nltk_3.4.5_4.{part}", f"{label}B4 {short}", 3)
    for stratum, label in (
        ("gold.", "only what was said: "),
        ("floor_change.", "speaker changes: "),
        ("continuation.", "same speaker: "),
    )
    for part, short in (("precision", "prec"), ("recall", "recall"))
)
"""Of the published BLEU: against the one reply that was said, and by whether the speaker changes."""

TESTED = (
    Measure("kl", "KL", 3),
    Measure("iw_nll", "IW-NLL", 3),
    Measure("bleu_nltk_3.4.5_4.precision", "B4 prec", 4),
    Measure("bleu_nltk_3.4.5_4.recall", "B4 recall", 4),
    Measure("bleu_nltk_3.6_4.precision", "B4 prec, today's NLTK", 4),
    Measure("bleu_nltk_3.6_4.recall", "B4 recall, today's NLTK", 4),
    Measure("a_bow.precision", "A-bow prec", 4),
    Measure("a_bow.recall", "A-bow recall", 4),
    Measure("e_bow.precision", "E-bow prec", 4),
    Measure("e_bow.recall", "E-bow recall", 4),
    Measure("distinct_replies", "different replies", 3),
)
"""Columns of an evaluation; Holm's correction is over these, within a contrast."""

_PAPER_ORDER = (
    "paper_rec_perplexity",
    "paper_kl",
    "bleu_nltk_3.4.5_4.precision",
    "bleu_nltk_3.4.5_4.recall",
    "a_bow.precision",
    "a_bow.recall",
    "e_bow.precision",
    "e_bow.recall",
)


def _paper(*column: float) -> Mapping[str, float]:
    return dict(zip(_PAPER_ORDER, column, strict=True))


PAPER: Mapping[tuple[bool, str], Mapping[str, float]] = {
    (False, "monotonic"): _paper(36.16, 0.265, 0.185, 0.122, 0.957, 0.911, 0.867, 0.784),
    (False, "cyclical"): _paper(29.77, 4.104, 0.234, 0.220, 0.961, 0.941, 0.833, 0.808),
    (True, "monotonic"): _paper(18.44, 14.06, 0.211, 0.210, 0.958, 0.938, 0.830, 0.808),
    (True, "cyclical"): _paper(16.74, 15.55, 0.219, 0.219, 0.961, 0.940, 0.828, 0.805),
}
"""Table 3 of Fu et al. (2019), by bag of words and schedule of beta; its learning rate has the schedule of beta."""
