"""From a request to its answer: the loaded model, its queue, and this server's limits."""

from __future__ import annotations

import difflib
import secrets
from dataclasses import replace
from importlib.metadata import version

from fastapi.exceptions import RequestValidationError

from api import errors
from api.batcher import Batcher
from api.schemas import DEFAULT_RESPONSES, Candidate, Defaults, Limits, Model, RespondRequest, RespondResponse
from api.settings import SPELLED_OUT, Settings
from dialog_cvae.config import Decoding
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import decoding_for
from dialog_cvae.generate.replies import Question, Reply
from dialog_cvae.generate.responder import Responder
from dialog_cvae.types import Conversation, Utterance

DRAWN_SEEDS = 2**53  # a drawn seed survives clients whose numbers are doubles
WARM_UP = "warm-up"  # the id of the first conversation
CHOSEN_BY_DIVERSITY = ("temperature", "top_p")


class Service:
    """A loaded model with its queue and its limits."""

    def __init__(self, responder: Responder, batcher: Batcher, settings: Settings) -> None:
        self.responder, self.batcher, self.settings = responder, batcher, settings
        self._topics = {topic.casefold(): topic for topic in reversed(responder.topics)}

    @property
    def licence(self) -> str | None:
        """Licence of the weights; None where they are the operator's own."""
        return self.responder.config.provenance.licence

    def model(self) -> Model:
        """What `GET /model` says."""
        limits, decoding = self.settings, self._defaults(self.settings.diversity)
        return Model(
            name=self.responder.name,
            licence=self.licence,
            topics=len(self.responder.topics),
            version=version("dialog-cvae"),
            engine=limits.engine_name,
            limits=Limits(
                num_responses=limits.max_responses,
                context=limits.max_context,
                text_chars=limits.max_text_chars,
                tokens=limits.max_tokens,
            ),
            defaults=Defaults(
                num_responses=self.wanted(None),
                diversity=limits.diversity,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                max_tokens=decoding.max_tokens,
                prior_temperature=decoding.prior_temperature,
                candidates=decoding.candidates,
            ),
        )

    def topic(self, name: str | None) -> str | None:
        """The topic as the model knows it, whatever its case.

        Raises:
            RequestValidationError: for an unknown topic; the message offers the closest names.
        """
        if name is None or name in self.responder.topics:
            return name
        folded = name.strip().casefold()
        if folded in self._topics:
            return self._topics[folded]
        close = [self._topics[key] for key in difflib.get_close_matches(folded, self._topics, n=3, cutoff=0.0)]
        hint = f"the closest are {', '.join(map(repr, close))}" if close else "leave it out"
        message = f"should be one of the {len(self._topics)} known topics, got {errors.quoted(name)}; {hint}"
        raise RequestValidationError([errors.problem(("topic",), "unknown_topic", message)])

    def check(self, request: RespondRequest) -> None:
        """Hold a well-formed request against this server's limits.

        Raises:
            RequestValidationError: with every limit that is passed.
        """
        limits, problems = self.settings, []
        if len(request.context) > limits.max_context:
            message = f"should have at most {limits.max_context} utterances, has {len(request.context)}"
            problems.append(errors.problem(("context",), "too_long", message))
        for position, turn in enumerate(request.context):
            if len(turn.text) > limits.max_text_chars:
                message = f"should have at most {limits.max_text_chars} characters, has {len(turn.text)}"
                problems.append(errors.problem(("context", position, "text"), "string_too_long", message))
        for field in ("num_responses", "max_tokens"):
            value = getattr(request, field)
            limit = {"num_responses": limits.max_responses, "max_tokens": limits.max_tokens}[field]
            if value is not None and value > limit:
                message = f"should be at most {limit}, got {errors.quoted(value)}"
                problems.append(errors.problem((field,), "less_than_equal", message))
        for field in CHOSEN_BY_DIVERSITY:
            value = getattr(request, field)
            if request.diversity is not None and value is not None:
                values = f"got {request.diversity:g} and {value:g}"
                message = f"decides how words are sampled, and can't be given together with {field}, {values}"
                problems.append(errors.problem(("diversity",), "contradiction", message))
        if problems:
            raise RequestValidationError(problems)

    def _defaults(self, diversity: float | None) -> Decoding:
        """How to draw when a request says no more: as the settings say, else as the checkpoint says."""
        stored = self.responder.decoding
        given = {name: value for name in SPELLED_OUT if (value := getattr(self.settings, name)) is not None}
        base = replace(stored, max_tokens=min(self.settings.max_tokens, stored.max_tokens), **given)
        return base if diversity is None else decoding_for(diversity, base)

    def _decoding(self, request: RespondRequest) -> Decoding:
        """How to draw: as the request says, else as this server does."""
        asked = {name: getattr(request, name) for name in (*CHOSEN_BY_DIVERSITY, "max_tokens")}
        given = {name: value for name, value in asked.items() if value is not None}
        spelled_out = any(name in given for name in CHOSEN_BY_DIVERSITY)
        default = None if spelled_out else self.settings.diversity
        diversity = default if request.diversity is None else request.diversity
        return replace(self._defaults(diversity), **given)

    def wanted(self, request: RespondRequest | None) -> int:
        """How many responses a request wants, or one that says nothing."""
        if request is not None and request.num_responses is not None:
            return request.num_responses
        return (
            1 if request is not None and request.at is not None else min(DEFAULT_RESPONSES, self.settings.max_responses)
        )

    async def warm_up(self) -> None:
        """Answer a first conversation, so that whatever can't work shows before anybody asks.

        Raises:
            ConfigError: there was no reply.
        """
        first = Conversation(WARM_UP, (Utterance("A", "hello , how are you ?"),))
        found = await self.batcher.respond(Question(first, "B", 1, 0, self._defaults(self.settings.diversity)))
        if not found:
            raise ConfigError(f"{self.responder.name}: the model gave no reply to a first conversation")

    async def respond(self, request: RespondRequest) -> RespondResponse:
        """Answer a request.

        Raises:
            RequestValidationError: for an unknown topic or a passed limit.
            Busy: when too many wait already, or the answer takes too long.
        """
        self.check(request)
        topic = self.topic(request.topic)
        seed = secrets.randbelow(DRAWN_SEEDS) if request.seed is None else request.seed
        wanted = self.wanted(request)
        question = Question(
            request.conversation(topic),
            request.responder(),
            wanted,
            seed,
            self._decoding(request),
            at=None if request.at is None else (request.at[0], request.at[1]),
            places=bool(request.map),
        )
        found = await self.batcher.respond(question, self.settings.timeout_s)
        note = {"note": f"{len(found)} of {wanted} responses: no more distinct ones were found"}
        return RespondResponse(
            responses=[_candidate(each) for each in found],
            topic=topic,
            seed=seed,
            model=self.responder.name,
            **(note if len(found) < wanted else {}),
        )


def _candidate(response: Reply) -> Candidate:
    place = {} if response.place is None else {"place": response.place}
    return Candidate(text=response.text, log_prob=response.log_prob, **place)
