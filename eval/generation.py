"""Draw replies to every context of a corpus.

Open it to change how contexts are batched. There are two protocols, the paper's and the service's; the latter uses the
service's code (`Responder`). See `evaluation_settings.ReplyProtocol`.

Shape legend: B contexts of a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.generate.responder import Question, Responder
from dialog_cvae.types import Conversation
from eval.contexts import AnsweredContext, generators, positions
from eval.evaluation_cache import ScoredTexts
from eval.evaluation_settings import ReplyProtocol

BATCH = 96  # contexts encoded together; the replies to a context do not depend on the others in its batch
REPLIES = 480  # approximate number of replies decoded together; limits memory
AHEAD = 8  # batches to start before waiting for the first one


def draw_replies(
    responder: Responder,
    conversations: Sequence[Conversation],
    samples: int,
    seed: int,
    decoding: Decoding,
    protocol: ReplyProtocol = "paper",
) -> Iterator[AnsweredContext]:
    """Draw replies to every context of at least one utterance, in order.

    By the paper's protocol each context gets `samples` replies. By the service's it gets fewer if fewer are distinct,
    each with the score that the service compares with `min_score`. A context without any readable reply gets one empty
    reply without a score, so that metrics count it.

    The official code skips first utterances too (it scores 5,419 of 5,481 test pairs for that reason).

    Args:
        responder: the model.
        conversations: the corpus.
        samples: replies to each context.
        seed: decides a context's replies, with the index of its conversation and its position.
        decoding: how tokens are drawn.
        protocol: how replies are drawn.
    """
    corpus = responder.encode(conversations)

    def answer(batch: NDArray[np.int64]) -> list[AnsweredContext]:
        places = positions(corpus, batch)
        if protocol == "paper":
            drawn = responder.draw(corpus, batch, generators(corpus, batch, seed), samples, decoding)
            found: ScoredTexts = [(tuple(map(responder.text, draws)), ()) for draws in drawn]
        else:
            questions = [
                _question(conversations[index], position, (seed, index, position), samples, decoding)
                for index, position in places
            ]
            found = _service_replies(responder, questions)
        return [
            AnsweredContext.at(conversations[index], position, responder.max_context, texts, scores)
            for (index, position), (texts, scores) in zip(places, found, strict=True)
        ]

    # fewer contexts at a time if each has many draws
    size = max(1, min(BATCH, REPLIES // max(samples, decoding.candidates)))
    yield from _side_by_side(responder, answered_utterances(corpus), size, answer)


def _side_by_side(
    responder: Responder,
    utterances: NDArray[np.int64],
    size: int,
    answer: Callable[[NDArray[np.int64]], list[AnsweredContext]],
) -> Iterator[AnsweredContext]:
    """Answer batches of at most `size` contexts on the engine's threads; the results in order."""
    batches = (utterances[begin : begin + size] for begin in range(0, len(utterances), size))
    with responder.engine.side_by_side() as threads:
        ahead: deque[Future[list[AnsweredContext]]] = deque()
        for batch in batches:
            ahead.append(threads.submit(answer, batch))
            if len(ahead) > AHEAD:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _service_replies(responder: Responder, questions: Sequence[Question]) -> ScoredTexts:
    """The replies that the service gives to each question, with their scores; one empty reply if it gives none."""
    answers = responder.finish(responder.begin(questions))
    return [
        (
            tuple(reply.text for reply in answer) or ("",),
            tuple(reply.score for reply in answer if reply.score is not None),
        )
        for answer in answers
    ]


def _question(conversation: Conversation, position: int, seed: tuple[int, ...], n: int, decoding: Decoding) -> Question:
    """The question of a request to the service for replies, with scores, in place of the utterance at `position`."""
    before = replace(conversation, utterances=conversation.utterances[:position])
    # replies have scores only with a limit; a limit of 0 leaves out no reply
    return Question(before, conversation.utterances[position].speaker, n, seed, decoding, min_score=0.0)


def answered_utterances(corpus: EncodedCorpus | EncodedTurns) -> NDArray[np.int64]:
    """The utterances of a corpus that have a context, in order."""
    utterances = corpus.responses
    return utterances[corpus.places(utterances)[1] > 1]  # place 0 is the pseudo-utterance, place 1 the first utterance
