"""The replies of a checkpoint to the contexts of a corpus, and greedy ones to some, cached.

Open it to change how these replies are drawn. An edit of any module that this one imports, directly or not, draws them
again; an edit of a metric does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dialog_cvae.config import Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.generate.responder import Responder
from dialog_cvae.types import Conversation
from eval import evaluation_cache
from eval.contexts import AnsweredContext, ReplySets, count_contexts, generators, positions, windows
from eval.evaluation_cache import ScoredTexts, Texts
from eval.evaluation_settings import Progress, Settings
from eval.generation import answered_utterances, draw_replies

GREEDY_DRAWS = 5  # draws of z for each context that gets greedy replies
GREEDY_CONTEXTS = 300
GREEDY_BATCH = 50  # contexts encoded and decoded together


def cached_replies(
    responder: Responder,
    conversations: Sequence[Conversation],
    settings: Settings,
    cache: Cache,
    origin: Mapping[str, Any],
    progress: Progress,
) -> ReplySets:
    """Replies to every context, those for DialogWAE's protocol if requested, and greedy ones to some contexts.

    Args:
        responder: the checkpoint's model.
        conversations: the corpus.
        settings: how replies are drawn, and how many.
        cache: of earlier results.
        origin: digests of the checkpoint and the conversations, seed and device; the engine is added, with the version
            of its library: ONNX Runtime in 8 bits gives other replies than PyTorch.
        progress: makes progress bars.
    """
    places = windows(conversations)

    def drawn(samples: int) -> ScoredTexts:
        decided = {
            "decoding": asdict(settings.decoding),
            "protocol": settings.protocol,
            "samples": samples,
            "engine": responder.engine.name,
            "code": evaluation_cache.code(__name__),
        }
        return cache.get(
            evaluation_cache.SCORED_REPLIES,
            {**origin, **decided},
            lambda: _drawn(responder, conversations, samples, settings, progress),
        )

    counts = settings.sample_counts
    found = {count: drawn(count) for count in ({max(counts)} if _nested(settings) else set(counts))}

    def answered(count: int) -> list[AnsweredContext]:
        return [
            AnsweredContext.at(place.conversation, place.position, responder.max_context, texts[:count], scores[:count])
            for place, (texts, scores) in zip(places, found.get(count, found[max(found)]), strict=True)
        ]

    greedy = _cached_greedy(responder, conversations, settings, cache, origin)
    return ReplySets(*map(answered, counts))._replace(greedy=greedy)


def _cached_greedy(
    responder: Responder,
    conversations: Sequence[Conversation],
    settings: Settings,
    cache: Cache,
    origin: Mapping[str, Any],
) -> list[AnsweredContext]:
    """Greedy replies from GREEDY_DRAWS draws of z from the prior, to at most GREEDY_CONTEXTS contexts."""
    decoding = Decoding(max_tokens=settings.decoding.max_tokens)
    corpus = responder.encode(conversations)
    utterances = answered_utterances(corpus)
    order = np.random.default_rng(settings.seed).permutation(len(utterances))[:GREEDY_CONTEXTS]
    chosen = utterances[np.sort(order)]

    def drawn() -> Texts:
        found: Texts = []
        for batch in np.array_split(chosen, -(-len(chosen) // GREEDY_BATCH)):
            rngs = generators(corpus, batch, settings.seed)
            draws = responder.draw(corpus, batch, rngs, GREEDY_DRAWS, decoding)
            found += [tuple(map(responder.text, each)) for each in draws]
        return found

    decided = {
        "decoding": asdict(decoding),
        "engine": responder.engine.name,
        "code": evaluation_cache.code(__name__),
    }
    texts = cache.get(evaluation_cache.GREEDY, {**origin, **decided}, drawn)
    return [
        AnsweredContext.at(conversations[index], position, responder.max_context, replies)
        for (index, position), replies in zip(positions(corpus, chosen), texts, strict=True)
    ]


def _drawn(
    responder: Responder,
    conversations: Sequence[Conversation],
    samples: int,
    settings: Settings,
    progress: Progress,
) -> ScoredTexts:
    """Draw `samples` replies to every context."""
    found: ScoredTexts = []
    how = settings.seed, settings.decoding, settings.protocol
    with progress(count_contexts(conversations), "sampling") as shown:
        for one in draw_replies(responder, conversations, samples, *how):
            found.append((one.replies, one.scores))
            shown.update()
    return found


def _nested(settings: Settings) -> bool:
    """Whether the smaller number of replies are the first ones of the larger, so that drawing the larger is enough.

    By the paper's protocol this is so if only z is random; by the service's, if all are selected from the same
    candidates. The larger number may have a few more candidates where a draw was unreadable; this is ignored.
    """
    if settings.protocol == "paper":
        return settings.decoding.temperature == 0
    return settings.decoding.candidates >= max(settings.sample_counts)
