"""Sample replies to every context of a corpus."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import EncodedCorpus
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.generate.replies import selected
from dialog_cvae.generate.responder import Responder
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import generator

BATCH = 96  # contexts encoded together; what is encoded and decoded with a context never changes its replies
REPLIES = 480  # decoded together, about, so that memory stays small however many a context has
AHEAD = 8  # batches begun before the first of them is waited for


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

    Where they are selected from candidates, fewer come where fewer are distinct, at least one, which may be empty.

    The official code skips first utterances too (it scores 5,419 of 5,481 test pairs for that reason).

    Args:
        responder: the model.
        conversations: whose contexts to answer.
        samples: replies for each context.
        seed: with the index of the conversation and the position it decides a context's replies.
        decoding: how tokens are drawn.
    """
    corpus = responder.encode(conversations)
    chosen = answered(corpus)
    count = max(samples, decoding.candidates)

    def answer(batch: NDArray[np.int64]) -> list[Sampled]:
        drawn = responder.draw(corpus, batch, generators(corpus, batch, seed), count, decoding)
        texts = [
            tuple(reply.text for reply in selected(responder.readable(draws), samples)) or ("",)
            if decoding.candidates
            else tuple(map(responder.text, draws))
            for draws in drawn
        ]
        places = zip(*corpus.places(batch), texts, strict=True)
        return [
            answered_at(conversations[index], int(place) - 1, responder.max_context, said)
            for index, place, said in places
        ]

    size = max(1, min(BATCH, REPLIES // count))
    batches = (chosen[begin : begin + size] for begin in range(0, len(chosen), size))
    with responder.engine.side_by_side() as threads:
        ahead: deque[Future[list[Sampled]]] = deque()
        for batch in batches:
            ahead.append(threads.submit(answer, batch))
            if len(ahead) > AHEAD:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def answered(corpus: EncodedCorpus) -> NDArray[np.int64]:
    """The utterances of a corpus that stand in answer to another, in order."""
    responses = corpus.responses
    return responses[corpus.places(responses)[1] > 1]  # at 0 stands the pseudo-utterance, at 1 what answers nobody


def generators(corpus: EncodedCorpus | Sentences, responses: NDArray[np.int64], seed: int) -> list[np.random.Generator]:
    """The randomness of the replies to each context, wherever and with whatever else they are drawn."""
    places = zip(*corpus.places(responses), strict=True)
    return [generator(seed, int(conversation), int(place) - 1) for conversation, place in places]


def answered_at(conversation: Conversation, position: int, max_context: int, responses: tuple[str, ...]) -> Sampled:
    """The record of replies to the context of the utterance at `position`, of at most `max_context` utterances."""
    context = conversation.utterances[max(0, position - max_context) : position]
    return Sampled(conversation.id, position, conversation.topic, context, conversation.utterances[position], responses)
