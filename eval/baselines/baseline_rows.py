"""The replies of all baselines, cached, and the references themselves if there are several.

Open it to see which rows a table shows besides a model. All rows are scored like a model's replies, except the last:
there each reference is scored against the others (`eval.baselines.people`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dialog_cvae.data.cache import Cache
from eval import evaluation_cache
from eval.baselines.people import human_replies
from eval.baselines.without_model import BASELINES, Baseline, replied
from eval.contexts import AnsweredContext, ReplySets, windows
from eval.evaluation_cache import Texts
from eval.evaluation_settings import Settings

if TYPE_CHECKING:  # not at run time, where the digest of this module's code would include the metrics
    from eval.held_out import HeldOut

OTHERS = "the other references"


def baseline_replies(held_out: HeldOut, settings: Settings, cache: Cache) -> Mapping[str, ReplySets]:
    """The replies of each row, by its name.

    Args:
        held_out: with its training conversations.
        settings: how many replies to each context, and the seed.
        cache: of earlier results.
    """
    train = held_out.train or ()
    places = windows(held_out.conversations)

    def answered(name: str, baseline: Baseline, samples: int) -> list[AnsweredContext]:
        def reply() -> Texts:
            return [one.replies for one in baseline(train, held_out.conversations, samples, settings.seed)]

        origin = {
            "row": name,
            "conversations": held_out.digest,
            "train": held_out.train_digest,
            "samples": samples,
            "seed": settings.seed,
            "code": evaluation_cache.code(__name__),
        }
        texts = cache.get(evaluation_cache.REPLIES, origin, reply)
        return [replied(place, replies) for place, replies in zip(places, texts, strict=True)]

    rows = {
        name: ReplySets(*(answered(name, baseline, samples) for samples in settings.sample_counts))
        for name, baseline in BASELINES.items()
    }
    if held_out.references is not None:
        rows[OTHERS] = ReplySets(
            human_replies(held_out.references, held_out.conversations, settings.samples, settings.seed)
        )
    return rows
