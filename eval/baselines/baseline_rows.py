"""The rows that keep a table honest, as evaluations take them: `eval.baselines`, and people where there are references.

Each row is scored as a model's replies are, but people's, who are scored by leaving one out (`eval.baselines.people`).
"""

from __future__ import annotations

from collections.abc import Mapping

from dialog_cvae.data.cache import Cache
from eval import evaluation_cache
from eval.baselines.people import human_replies
from eval.baselines.without_model import BASELINES, Baseline
from eval.contexts import MAX_CONTEXT, windows
from eval.evaluation import SINGLE_REFERENCE_SAMPLES, Replies, Settings
from eval.generation import Sampled, answered_at
from eval.held_out import HeldOut

PEOPLE = "people (the other references)"


def honest_replies(held_out: HeldOut, settings: Settings, kept: Cache) -> Mapping[str, Replies]:
    """The replies of each row, by its name.

    Args:
        held_out: with its training conversations.
        settings: how many replies to each context, and the seed.
        kept: where what was found before is.
    """
    train = held_out.train or ()
    counts = [settings.samples, *([SINGLE_REFERENCE_SAMPLES] if settings.single_reference else [])]

    def replies(name: str, baseline: Baseline, samples: int) -> list[Sampled]:
        def reply() -> evaluation_cache.Texts:
            return [one.responses for one in baseline(train, held_out.conversations, samples, settings.seed)]

        origin = {
            "row": name,
            "conversations": held_out.digest,
            "train": held_out.train_digest,
            "samples": samples,
            "seed": settings.seed,
            "code": evaluation_cache.code(__name__),
        }
        places, texts = windows(held_out.conversations), kept.get(evaluation_cache.REPLIES, origin, reply)
        return [
            answered_at(place.conversation, place.position, MAX_CONTEXT, said)
            for place, said in zip(places, texts, strict=True)
        ]

    rows = {
        name: Replies(*(replies(name, baseline, samples) for samples in counts)) for name, baseline in BASELINES.items()
    }
    if held_out.references is not None:
        rows[PEOPLE] = Replies(
            human_replies(held_out.references, held_out.conversations, settings.samples, settings.seed)
        )
    return rows
