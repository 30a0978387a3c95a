"""How far a model is ahead of a row without a model, and whether that is more than chance.

Open it to change which scores decide what an evaluation says in words about such rows.

References other than what was said come from the replies to similar training contexts, so the rows of nearest
neighbours would be compared with themselves. These rows are compared by what was said alone: the columns `gold.`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.contexts import Place
from eval.evaluation_cache import Columns
from eval.metrics.significance import paired_bootstrap
from eval.score_thresholds import FEW

COMPARED = ("a_bow", "bleu_nltk_3.6_4")  # measures with precision and recall; sentences use the first available one
AHEAD = "model_ahead"  # key of the differences in a row's figures
NEIGHBOURS = ("nearest neighbours", "nearest, any topic")  # rows whose replies may be among the references
RESAMPLES = 2_000


def margins(model: Columns, row: Columns, places: Sequence[Place], prefix: str = "") -> dict[str, Any]:
    """The mean difference of each measure's recall, model minus row, with a 95% interval over conversations.

    Args:
        model: the model's scores of N contexts.
        row: the row's scores of these contexts.
        places: (N,) of the contexts.
        prefix: of the columns to compare; the names of the differences have it too.

    Returns:
        Under AHEAD, `mean`, `low` and `high` by measure, without measures that fewer than FEW conversations have: the
        interval would be too narrow. With 2 conversations, half of all intervals exclude 0 by chance.
    """
    found: dict[str, Mapping[str, float]] = {}
    for measure in COMPARED:
        name = f"{prefix}{measure}.recall"
        if name not in model or name not in row:
            continue
        differences = model[name] - row[name]
        known = np.flatnonzero(np.isfinite(differences))
        clusters = [places[index][0] for index in known.tolist()]
        if len(set(clusters)) >= FEW:
            difference = paired_bootstrap(differences[known], clusters, resamples=RESAMPLES)
            found[f"{prefix}{measure}"] = {part: float(getattr(difference, part)) for part in ("mean", "low", "high")}
    return {AHEAD: found}
