"""Sample replies to every context of a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dialog_cvae.data.batches import NOBODY
from dialog_cvae.decoding import Decoding
from dialog_cvae.respond import Responder
from dialog_cvae.types import Conversation, Utterance

BATCH = 48  # contexts encoded together; what is decoded with a context never changes its replies


class Sampled(NamedTuple):
    """One context with its reference and the sampled replies.

    Attributes:
        conversation: its id.
        position: index of the reference among the conversation's utterances, from 0; at least 1.
        topic: of the conversation, None when unknown.
        context: the utterances that the model saw, oldest first.
        reference: what was said.
        responses: texts, in the order in which they were drawn.
    """

    conversation: str
    position: int
    topic: str | None
    context: tuple[Utterance, ...]
    reference: Utterance
    responses: tuple[str, ...]


def count_contexts(conversations: Sequence[Conversation]) -> int:
    """Contexts that have at least one utterance: the first utterance of a conversation answers nobody."""
    return sum(len(conversation.utterances) - 1 for conversation in conversations)


def sample_responses(
    responder: Responder, conversations: Sequence[Conversation], samples: int, seed: int, decoding: Decoding
) -> Iterator[Sampled]:
    """Draw `samples` replies for every context of at least one utterance, in order.

    The official code skips first utterances too (it scores 5,419 of 5,481 test pairs for that reason).

    Args:
        responder: the model.
        conversations: whose contexts to answer.
        samples: replies for each context.
        seed: with the index of the conversation and the position it decides a context's replies.
        decoding: how tokens are drawn.
    """
    corpus = responder.encode(conversations)
    positions = np.arange(len(corpus.start)) - corpus.start - 1  # -1 for the pseudo-utterance
    chosen = np.flatnonzero((corpus.speaker != NOBODY) & (positions > 0))
    for begin in range(0, len(chosen), BATCH):
        batch = chosen[begin : begin + BATCH]
        places = [(int(corpus.conversation[i]), int(positions[i])) for i in batch]
        rngs = [np.random.default_rng((seed, *place)) for place in places]
        drawn = responder.draw(corpus, batch, rngs, samples, decoding)
        for (index, position), draws in zip(places, drawn, strict=True):
            conversation = conversations[index]
            yield Sampled(
                conversation.id,
                position,
                conversation.topic,
                conversation.utterances[max(0, position - responder.max_context) : position],
                conversation.utterances[position],
                tuple(map(responder.text, draws)),
            )
