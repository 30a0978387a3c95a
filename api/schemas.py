"""Requests and responses: what a client may send, what it gets, and the step from a request to a `Conversation`."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.settings import MAX_NAME_CHARS, MAX_TOPIC_CHARS, Temperature, TopP
from dialog_cvae.types import Conversation, Utterance

MAX_SEED = 2**63 - 1
DEFAULT_RESPONSES = 5
INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode categories: control, format, separators


def _readable(text: str) -> str:
    """Refuse what no person can read: control characters, lone surrogates, and text without one visible character."""
    categories = {char: unicodedata.category(char) for char in set(text)}
    for char, category in categories.items():
        if category == "Cs" or (category == "Cc" and char not in "\t\n\r"):
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


Text = Annotated[str, AfterValidator(_readable)]
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
    num_responses: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="distinct responses wanted; at most 20 unless the server is set otherwise; null: "
        f"{DEFAULT_RESPONSES}, or the server's limit where that is lower",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="the same request with the same seed gets the same answer; drawn and returned when null"
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
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="tokens of a response, at most; null, and the limit: the server's setting, 40 by default"
    )
    respond_as: Speaker | None = Field(
        None,
        description="the speaker who answers; null: the last speaker other than the one who spoke last",
        examples=["B"],
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


class Health(Schema):
    """State of the process or of its model."""

    status: str


class ValidationProblem(Schema):
    """One thing wrong with a request."""

    loc: list[str | int] = Field(description="path to the field, from `body` on")
    msg: str = Field(description="names the field, its limit and the value")
    type: str = Field(description="kind of problem, for programs")


class ValidationProblems(Schema):
    """Everything found wrong with a request (the first 20)."""

    detail: list[ValidationProblem]


class Problem(Schema):
    """Why the server did not answer."""

    detail: str


REQUEST_EXAMPLES: dict[str, dict[str, Any]] = {
    "conversation": {
        "summary": "Two speakers, a topic, a seed",
        "value": {
            "context": [
                {"speaker": "A", "text": "do you like to cook ?"},
                {"speaker": "B", "text": "yes , mostly on weekends ."},
                {"speaker": "A", "text": "what do you make ?"},
            ],
            "num_responses": 5,
            "seed": 7,
        },
    },
    "strings": {
        "summary": "Strings: the speakers A and B alternate",
        "value": {"context": ["hello , how are you ?"], "num_responses": 3},
    },
    "sampling": {
        "summary": "Words sampled too",
        "value": {
            "context": [{"speaker": "A", "text": "what do you do in your free time ?"}],
            "temperature": 0.8,
            "top_p": 0.9,
            "max_tokens": 20,
            "respond_as": "B",
        },
    },
}

RESPONSE_EXAMPLE: dict[str, Any] = {
    "responses": [
        {"text": "i make a lot of soup .", "log_prob": -9.1},
        {"text": "oh , a bit of everything .", "log_prob": -11.4},
    ],
    "topic": None,
    "seed": 7,
    "model": "sample",
    "note": "2 of 5 responses: no more distinct ones were found",
}

PROBLEMS_EXAMPLE: dict[str, Any] = {
    "detail": [
        {
            "loc": ["body", "num_responses"],
            "msg": "num_responses: Input should be less than or equal to 20, got 500",
            "type": "less_than_equal",
        }
    ]
}
