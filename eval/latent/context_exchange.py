"""How much a model uses the context: the nats that a reply loses with the context of another conversation.

Open it to change which contexts are exchanged, or what is exchanged with a context.

Shape legend: N compared replies, W replies of the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model_config import SviConfig
from dialog_cvae.types import Conversation
from eval.latent.likelihood import Advance, importance_weighted_nll
from eval.metrics.significance import clustered_standard_error

MOST = 300  # most replies to compare

Encode = Callable[[Sequence[Conversation]], EncodedCorpus | EncodedTurns]
Spot: TypeAlias = tuple[int, int]
"""The index of a conversation, and the position of a reply in it, from 0."""


def exchanges(conversations: Sequence[Conversation], seed: int, most: int = MOST) -> dict[Spot, Spot]:
    """For each reply, a reply of another conversation whose context it gets.

    Every context is used once. The two replies have speakers of the same name, unless too many of that name's replies
    are in one conversation. If a conversation has more than half of all replies, only as many of its replies take part
    as all others have. Empty if there is only one conversation.

    Args:
        conversations: of a split.
        seed: of the replies and of their order.
        most: most replies; all have a context of at least one utterance.
    """
    rng = np.random.default_rng(seed)
    spots = [(index, at) for index, one in enumerate(conversations) for at in one.reply_positions if at > 0]
    chosen = _balanced([spots[place] for place in rng.permutation(len(spots))[:most]])

    def speaker(spot: Spot) -> str:
        return conversations[spot[0]].utterances[spot[1]].speaker

    found: dict[Spot, Spot] = {}
    for _, group in groupby(sorted(chosen, key=speaker), speaker):
        found |= _rotated(list(group))
    rest = [spot for spot in chosen if spot not in found]
    if not rest:
        return found
    others = _rotated(rest)
    return found | others if others else _rotated(chosen)


def _balanced(spots: Sequence[Spot]) -> list[Spot]:
    """The spots, reduced so that no conversation has more than all others together."""
    counts = Counter(conversation for conversation, _ in spots)
    surplus = {conversation: 2 * count - len(spots) for conversation, count in counts.items()}
    kept = []
    for spot in spots:
        surplus[spot[0]] -= 1
        if surplus[spot[0]] < 0:
            kept.append(spot)
    return kept


def _rotated(spots: Sequence[Spot]) -> dict[Spot, Spot]:
    """A permutation that maps each spot to one of another conversation; empty if there is none.

    The spots are sorted by conversation and then shifted by the size of the largest conversation, so that no spot stays
    in its conversation.
    """
    first_seen = {conversation: order for order, (conversation, _) in reversed(list(enumerate(spots)))}
    ordered = sorted(spots, key=lambda spot: first_seen[spot[0]])
    largest = max((sum(1 for _ in group) for _, group in groupby(ordered, lambda spot: spot[0])), default=0)
    if 2 * largest > len(ordered):
        return {}
    return dict(zip(ordered, ordered[largest:] + ordered[:largest], strict=True))


def with_context_of(conversations: Sequence[Conversation], pairs: Iterable[tuple[Spot, Spot]]) -> list[Conversation]:
    """For each pair, the conversation of the second spot up to its reply, with the words of the first spot's reply.

    Topic, profiles and the speaker's name are those of the second.
    """
    found = []
    for (own, at), (other, there) in pairs:
        conversation = conversations[other]
        reply = replace(conversation.utterances[there], text=conversations[own].utterances[at].text)
        found.append(replace(conversation, utterances=(*conversation.utterances[:there], reply)))
    return found


def context_figures(
    model: LatentModel,
    encode: Encode,
    conversations: Sequence[Conversation],
    own_nll: NDArray[np.float64],
    *,
    draws: int,
    svi: SviConfig | None = None,
    seed: int = 0,
    advance: Advance | None = None,
) -> dict[str, Any]:
    """Mean nats that a reply loses when its context is replaced by the context of a reply in another conversation.

    Both likelihoods are importance-weighted bounds with the same noise; prior and posterior use the context that is
    read. For a model that ignores the context, it is 0 up to rounding.

    Args:
        model: on any device.
        encode: encodes conversations for it.
        conversations: of the split.
        own_nll: (W,) the bound of every reply in its own context, in nats, from `draws` draws of this seed.
        draws: draws of z for each reply.
        svi: refinement of the posteriors, if any.
        seed: seed of the pairs and of the noise.
        advance: receives the number of replies of each finished batch.

    Returns:
        `nats_context_exchanged`, its standard error over conversations, and the numbers of replies and conversations;
        nothing if there are no pairs, or if a likelihood is not finite.
    """
    pairs = exchanges(conversations, seed)
    if not pairs:
        return {}
    corpus = encode(with_context_of(conversations, pairs.items()))
    last = corpus.starts[1:] - 1
    exchanged = importance_weighted_nll(
        model, corpus, last, [draws], places=list(pairs), svi=svi, seed=seed, advance=advance
    )
    spots = ((index, at) for index, one in enumerate(conversations) for at in one.reply_positions)
    row = {spot: number for number, spot in enumerate(spots)}
    own = own_nll[[row[spot] for spot in pairs]]
    lost = exchanged.nll[draws] - own
    if not np.isfinite(lost).all():
        return {}
    clusters = [index for index, _ in pairs]
    return {
        "nats_context_exchanged": float(lost.mean()),
        "nats_context_exchanged_se": clustered_standard_error(lost, clusters),
        "context_exchanged_replies": len(lost),
        "context_exchanged_conversations": len(set(clusters)),
    }
