"""The service behind the routes: it turns a request into a question for the model, and the replies into a response.

Open it to follow a request: `Service.question` checks it, and `Service.respond` answers it through the queue
(`api.batcher`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from typing import Any, TypeVar

from api import logs, traces
from api.batcher import Batcher
from api.model_schemas import Defaults, Index, Limits, Model, Topics
from api.request_checks import CHOSEN_BY_DIVERSITY, check_limits, check_profiles, check_source, check_topic
from api.respond_schemas import (
    DEFAULT_RESPONSES,
    Candidate,
    FinishReason,
    RespondRequest,
    RespondResponse,
    other_speaker,
)
from api.settings import SPELLED_OUT, Settings
from dialog_cvae.config import Decoding
from dialog_cvae.data.roles import answered_by_role, other_role
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import decoding_for, nearest_diversity
from dialog_cvae.generate.question import Answer, Question, Reply
from dialog_cvae.generate.responder import Responder
from dialog_cvae.types import Conversation, Utterance

DRAWN_SEEDS = 2**53  # exclusive; clients that store numbers as doubles can send such a seed back exactly
WARM_UP = "warm-up"  # the id of the conversation that is answered before the service is ready

T = TypeVar("T")


class WorkerThread:
    """One thread for work that would block the event loop: its cost grows with what a client sends.

    A process has one such thread: each further one would take time from the event loop.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "requests")

    async def run(self, work: Callable[..., T], /, *args: Any) -> T:
        """The result of work in that thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


class Service:
    """A loaded model with its queue and the server's settings.

    Args:
        responder: the model.
        batcher: its queue.
        settings: the server's settings.
        name: the model's name in answers; None: the model's own name.
        worker_thread: the thread for such work, which all services share.
    """

    def __init__(
        self, responder: Responder, batcher: Batcher, settings: Settings, name: str | None, worker_thread: WorkerThread
    ) -> None:
        self.responder, self.batcher, self.settings, self.worker_thread = responder, batcher, settings, worker_thread
        self.name = name or responder.name
        self._users, self._unused = 0, asyncio.Event()

    @contextmanager
    def used(self) -> Iterator[None]:
        """A context in which this service answers a request: `unused` waits for its end."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._unused.set()

    async def unused(self) -> None:
        """Wait until no request is answered by this service."""
        while self._users:
            self._unused.clear()
            await self._unused.wait()

    async def respond(self, question: Question) -> RespondResponse:
        """Answer a question.

        Raises:
            Busy: the queue is full, or the reply took too long.
        """
        assert isinstance(question.seed, int)
        replies, seen, drawn = await self.answer(question)
        draws = f" in {drawn} draws" if question.decoding.candidates and drawn else ""
        # min_score leaves out selected replies, and no others take their places
        score = f"the other selected ones have a score below {least:g}, or " if (least := question.min_score) else ""
        reason = f"{score}no more distinct ones were found{draws}"
        note = {"note": f"{len(replies)} of {question.n} responses: {reason}"}
        return RespondResponse(
            responses=[_candidate(reply) for reply in replies],
            topic=question.conversation.topic,
            seed=question.seed,
            model=self.name,
            context_used=seen.utterances,
            context_cut=seen.cut,
            **(note if len(replies) < question.n else {}),
        )

    async def answer(self, question: Question) -> Answer:
        """The replies to a question, as the model gives them.

        Raises:
            Busy: see `respond`.
        """
        return await self.batcher.respond(question, self.settings.timeout_s, traces.in_model(self.name))

    async def warm_up(self) -> None:
        """Answer a first conversation, so that problems show before the service is ready.

        An index may have no reply to it, and the word filter or the guard may refuse all: then the log has a warning.

        Raises:
            ConfigError: the model itself gave no reply.
        """
        first = Conversation(WARM_UP, (Utterance("A", "hello , how are you ?"),))
        asked = Question(first, "B", 1, 0, self._defaults(self.settings.diversity))
        if (await self.batcher.respond(asked)).replies:
            return
        asked = asked._replace(decoding=replace(asked.decoding, candidates_from="model"))
        if (await self.batcher.respond(asked)).replies:
            reason = "the index has none that may be returned"
        elif await self._replies_unfiltered(asked):
            reason = "the word filter or the guard refused all"
        else:
            raise ConfigError(f"{self.responder.name}: the model gave no reply to a first conversation")
        logs.event("no reply to a first conversation", logging.WARNING, model=self.name, reason=reason)

    async def _replies_unfiltered(self, question: Question) -> bool:
        """Whether there is a reply if none is refused. Not for a service that is ready: this holds for all requests."""
        refusals = self.responder.accepts, self.responder.guard
        self.responder.accepts = self.responder.guard = None
        try:
            return bool((await self.batcher.respond(question)).replies)
        finally:
            self.responder.accepts, self.responder.guard = refusals

    @property
    def licence(self) -> str | None:
        """Licence of the weights; None if they are the operator's own."""
        return self.responder.config.provenance.licence

    @cached_property
    def topics(self) -> bytes:
        """The response to `GET /topics`, as JSON. It is kept: a model may have thousands of topics."""
        return Topics(topics=list(self.responder.topics)).model_dump_json().encode()

    @cached_property
    def model(self) -> Model:
        """The response to `GET /model`."""
        limits, decoding = self.settings, self._defaults(self.settings.diversity)
        index = self.responder.index
        return Model(
            name=self.name,
            checkpoint=self.responder.name,
            licence=self.licence,
            topics=len(self.responder.topics),
            free_topic=self.responder.codec.free_topic,
            respond_as=list(self.responder.config.respond_as),
            version=version("dialog-cvae"),
            index=None
            if index is None
            else Index(replies=len(index.replies), min_conversations=index.min_conversations),
            engine=limits.engine_name,
            limits=Limits(
                num_responses=limits.max_responses,
                context=limits.max_context,
                text_chars=limits.max_text_chars,
                tokens=limits.max_tokens,
            ),
            defaults=Defaults(
                num_responses=self._default_num_responses(),
                diversity=limits.diversity,
                nearest_diversity=nearest_diversity(decoding),
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                max_tokens=decoding.max_tokens,
                prior_temperature=decoding.prior_temperature,
                candidates=decoding.candidates,
                candidates_from=decoding.candidates_from,
                min_score=self.settings.min_score,
            ),
        )

    def num_responses(self, request: RespondRequest) -> int:
        """How many replies a request asks for."""
        if request.num_responses is not None:
            return request.num_responses
        return self._default_num_responses() if request.at is None else 1

    def _default_num_responses(self) -> int:
        return min(DEFAULT_RESPONSES, self.settings.max_responses)

    def question(self, request: RespondRequest, speaker: str | None = None) -> Question:
        """The request in the model's terms, with defaults filled in.

        Args:
            request: the request.
            speaker: see `asked`.

        Raises:
            RequestValidationError: unknown topic, or the request exceeds a limit.
        """
        check_limits(request, self.settings)
        check_profiles(request, self.responder.config)
        check_source(request, self.responder.index)
        seed = secrets.randbelow(DRAWN_SEEDS) if request.seed is None else request.seed
        check_topic(request.topic, self.responder.codec)
        conversation, answers = self.asked(request, request.topic, speaker)
        return Question(
            conversation,
            answers,
            self.num_responses(request),
            seed,
            self._decoding(request),
            at=None if request.at is None else (request.at[0], request.at[1]),
            places=bool(request.map),
            min_score=self.settings.min_score if request.min_score is None else request.min_score,
        )

    def asked(self, request: RespondRequest, topic: str | None, speaker: str | None = None) -> tuple[Conversation, str]:
        """The conversation of a request and who answers it, as the model reads them.

        Args:
            request: a request that may lack everything but its context and speakers.
            topic: one that `check_topic` accepts.
            speaker: who answers if the request does not say it and the model has no role for them; None: see
                `other_speaker`.
        """
        config = self.responder.config
        conversation = self.responder.prepared(request.conversation(topic))
        if request.respond_as is not None:
            return conversation, self.responder.prepared_name(request.respond_as)
        speaker = speaker or other_speaker([utterance.speaker for utterance in conversation.utterances])
        if config.respond_as:
            return answered_by_role(conversation, speaker, config.respond_as)
        return conversation, other_role(conversation, speaker, config.roles)

    def _decoding(self, request: RespondRequest) -> Decoding:
        """Decoding options: the request's, else the server's."""
        asked = {name: getattr(request, name) for name in (*CHOSEN_BY_DIVERSITY, "max_tokens", "candidates_from")}
        given = {name: value for name, value in asked.items() if value is not None}
        if request.at is not None:
            given["candidates_from"] = "model"  # only the model can reply from a place of the map
        spelled_out = any(name in given for name in CHOSEN_BY_DIVERSITY)
        default = None if spelled_out else self.settings.diversity
        diversity = default if request.diversity is None else request.diversity
        return replace(self._defaults(diversity), **given)

    def _defaults(self, diversity: float | None) -> Decoding:
        """Decoding options of a request without its own: those of the settings, else those of the checkpoint."""
        stored = self.responder.decoding
        given = {name: value for name in SPELLED_OUT if (value := getattr(self.settings, name)) is not None}
        base = replace(stored, max_tokens=min(self.settings.max_tokens, stored.max_tokens), **given)
        return base if diversity is None else decoding_for(diversity, base)


def _candidate(reply: Reply) -> Candidate:
    given = {name: value for name in ("place", "score") if (value := getattr(reply, name)) is not None}
    reason: FinishReason = "stop" if reply.finished else "length"
    return Candidate(text=reply.text, log_prob=reply.log_prob, source=reply.source, finish_reason=reason, **given)
