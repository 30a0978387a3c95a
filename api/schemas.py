"""Requests and responses: what a client may send, what it gets, and the step from a request to a `Conversation`."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.field_types import MAX_NAME_CHARS, MAX_TOPIC_CHARS, Diversity, Temperature, TopP
from dialog_cvae.types import Conversation, Utterance

PROBLEM_TYPE = "application/problem+json"  # the media type of problem documents
MAX_SEED = 2**63 - 1
DEFAULT_RESPONSES = 5
MAP_EDGE = 6.0  # standard deviations of the prior: beyond them the decoder has never been
READABLE_CONTROLS = "\t\n\r"
INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode categories: control, format, separators


def _readable(text: str) -> str:
    """Refuse what no person can read: control characters, lone surrogates, and text without one visible character."""
    categories = {char: unicodedata.category(char) for char in set(text)}
    for char, category in categories.items():
        if category == "Cs" or (category == "Cc" and char not in READABLE_CONTROLS):
            raise PydanticCustomError(
                "unreadable_character",
                "should have no control characters or lone surrogates, has U+{code} at character {position}",
                {"code": f"{ord(char):04X}", "position": text.index(char)},
            )
    if all(category in INVISIBLE for category in categories.values()):
        raise PydanticCustomError("blank", "should have at least one visible character")
    return text


def _alternate(context: Any) -> Any:
    """A plain list of strings becomes turns of the speakers A and B; a mixed list is refused."""
    if not isinstance(context, list) or not any(isinstance(turn, str) for turn in context):
        return context
    for position, turn in enumerate(context):
        if not isinstance(turn, str):
            raise PydanticCustomError(
                "context_mixed",
                "should hold either objects with speaker and text, or strings only; item {position} is not a string",
                {"position": position},
            )
    return [{"speaker": "AB"[position % 2], "text": turn} for position, turn in enumerate(context)]


def _whole(number: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
Text = Annotated[str, AfterValidator(_readable)]
Coordinate = Annotated[float, Field(ge=-MAP_EDGE, le=MAP_EDGE, allow_inf_nan=False)]
Speaker = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_readable)
]


class Schema(BaseModel):
    """Base of everything on the wire: types are not converted and unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Turn(Schema):
    """One utterance of the conversation so far."""

    speaker: Speaker = Field(description="who says it: any name, the same name for the same person", examples=["A"])
    text: Text = Field(
        description="what is said; at most 2,000 characters unless the server is set otherwise",
        examples=["do you like to cook ?"],
    )


class RespondRequest(Schema):
    """A conversation to answer, and how."""

    context: Annotated[list[Turn], BeforeValidator(_alternate, json_schema_input_type=list[Turn] | list[str])] = Field(
        min_length=1,
        description="utterances so far, oldest first, at most 200 unless the server is set otherwise; the model reads "
        "the last ones. A plain list of strings is read as the speakers A, B, A, ...",
    )
    topic: Annotated[str, Field(max_length=MAX_TOPIC_CHARS)] | None = Field(
        None, description="one of GET /topics, in any case; null when unknown"
    )
    num_responses: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        None,
        description="distinct responses wanted; at most 20 unless the server is set otherwise; null: "
        f"{DEFAULT_RESPONSES}, or the server's limit where that is lower; 1 together with `at`",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE] | None = Field(
        None, description="the same request with the same seed gets the same answer; drawn and returned when null"
    )
    diversity: Diversity | None = Field(
        None,
        description="from 0, the likeliest responses, to 1, the most varied: chooses how words and the latent variable "
        "are sampled, so that it can't be given together with temperature or top_p; null: the server's default",
    )
    temperature: Temperature | None = Field(
        None,
        description="sampling temperature of words, 0 to 10; 0 takes the likeliest words, so that responses differ "
        "by the latent variable alone; null takes the server's default",
    )
    top_p: TopP | None = Field(
        None,
        description="share of probability that words are sampled from, above 0 and up to 1; null: the server's default",
    )
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        None, description="tokens of a response, at most; null, and the limit: the server's setting, 40 by default"
    )
    respond_as: Speaker | None = Field(
        None,
        description="the speaker who answers; null: the last speaker other than the one who spoke last",
        examples=["B"],
    )
    map: bool | None = Field(
        None, description="whether each response comes with its place on the map of latent variables; null: no"
    )
    at: Annotated[list[Coordinate], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="a place on the map, [x, y], that all responses are decoded from instead of places drawn from the "
        f"prior; in standard deviations of the prior, {-MAP_EDGE:g} to {MAP_EDGE:g}",
        examples=[[0.5, -1.25]],
    )

    def responder(self) -> str:
        """Who answers: `respond_as`, else the most recent other speaker, else B (or A, where B talks to themselves)."""
        if self.respond_as is not None:
            return self.respond_as
        last = self.context[-1].speaker
        others = (turn.speaker for turn in reversed(self.context) if turn.speaker != last)
        return next(others, "A" if last == "B" else "B")

    def conversation(self, topic: str | None) -> Conversation:
        """The context as the library's own type, with the topic's name as the model knows it."""
        utterances = tuple(Utterance(turn.speaker, " ".join(turn.text.split())) for turn in self.context)
        return Conversation(id="request", utterances=utterances, topic=topic)


class Candidate(Schema):
    """One response."""

    text: str
    log_prob: float = Field(description="log p(x | z, c) in nats of the text x, for the latent z it was decoded from")
    place: tuple[float, float] | None = Field(
        None,
        description="present only with `map` or `at`: [x, y], where z lies along the two directions in which it moves "
        "the decoder most, in standard deviations of the prior",
    )


class RespondResponse(Schema):
    """Distinct responses, the likeliest per token first (the most typical, where they are selected from candidates)."""

    responses: list[Candidate]
    topic: str | None = Field(description="the topic's name as the model knows it; null when none was given")
    seed: int = Field(description="what to send to get the same answer again")
    model: str = Field(description="name of the model that answered")
    note: str = Field("", description="present only when there are fewer responses than were asked for")


class Topics(Schema):
    """The topics the model was fitted on."""

    topics: list[str]


class Limits(Schema):
    """What a request may ask for, at most."""

    num_responses: int = Field(description="responses")
    context: int = Field(description="utterances")
    text_chars: int = Field(description="characters of an utterance")
    tokens: int = Field(description="tokens of a response")


class Defaults(Schema):
    """What a request gets that does not say otherwise."""

    num_responses: int
    diversity: float | None = Field(description="null where the other fields are not chosen by it")
    temperature: float
    top_p: float
    max_tokens: int
    prior_temperature: float = Field(description="what the prior's standard deviations are multiplied by")
    candidates: int = Field(description="draws that responses are selected from; 0: the first distinct ones are taken")


class Model(Schema):
    """The model that answers, and this server's limits and defaults."""

    name: str
    licence: str | None = Field(description="licence of the weights; null where they are the operator's own")
    topics: int = Field(description="number of topics it knows, see GET /topics")
    version: str = Field(description="of the service's software")
    engine: str = Field(description="what computes: onnx, onnx-int8 or torch")
    limits: Limits
    defaults: Defaults


class Health(Schema):
    """State of the model."""

    status: str


class Liveness(Health):
    """State of the process, and what it serves."""

    model: str | None = Field(description="name of the model; null before it is loaded")
    licence: str | None = Field(description="licence of the weights; null where they are the operator's own")


class Problem(Schema):
    """Why the server did not answer, after RFC 9457."""

    type: str = Field(description="kind of problem, for programs: a stable relative URI, or about:blank")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong with this request, for people")
    instance: str = Field(description="this request as a URI: it ends in the X-Request-ID, which the server logs")


class FieldProblem(Schema):
    """One thing wrong with a request."""

    loc: list[str | int] = Field(description="path to the field, from `body` on")
    msg: str = Field(description="names the field, its limit and the value")
    type: str = Field(description="kind of problem, for programs")


class InvalidRequest(Problem):
    """Everything found wrong with a request (the first 20)."""

    errors: list[FieldProblem]
