"""The bodies of requests and responses, and the conversion of a request to a `Conversation`.

The checks here are the same on all servers; `api.request_checks` has those that depend on settings and model.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from api.field_types import Diversity, Score, Temperature, TopP
from dialog_cvae.config import CandidateSource
from dialog_cvae.generate.question import Source
from dialog_cvae.limits import MAX_PROFILES, MAX_SPEAKER_CHARS, MAX_TOPIC_CHARS, normal, visible
from dialog_cvae.types import Conversation, Profile, Sex, Utterance

PROBLEM_TYPE = "application/problem+json"  # the media type of problem documents
MAX_SEED = 2**63 - 1
DEFAULT_RESPONSES = 5
MAX_MODEL_CHARS = 200  # of a model's name
MAP_EDGE = 6.0  # standard deviations of the prior; training reaches no latent values beyond
VALIDATED_TOGETHER = 20  # turns; those after the first invalid ones are not validated
READABLE_CONTROLS = "\t\n\r"
FinishReason = Literal["stop", "length"]


def readable(text: str) -> str:
    """The text in Unicode's normal form C.

    Control characters, lone surrogates, and text without any visible character are refused.
    """
    categories = {char: unicodedata.category(char) for char in set(text)}
    for char, category in categories.items():
        if category == "Cs" or (category == "Cc" and char not in READABLE_CONTROLS):
            raise PydanticCustomError(
                "unreadable_character",
                "should have no control characters or lone surrogates, has U+{code} at character {position}",
                {"code": f"{ord(char):04X}", "position": text.index(char)},
            )
    if not visible(text):
        raise PydanticCustomError("blank", "should have at least one visible character")
    return normal(text)


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


def _few_errors(context: list[Any], validate: ValidatorFunctionWrapHandler) -> Any:
    """The valid turns. Validation stops soon after the first error, so that a long list does not make a long report."""
    if not isinstance(context, list):
        return validate(context)
    turns: list[Any] = []
    for begin in range(0, max(1, len(context)), VALIDATED_TOGETHER):
        end = begin + VALIDATED_TOGETHER
        try:
            turns += validate(context[begin:end])
        except ValidationError:
            return validate([*turns, *context[begin:end]])  # fails again, with the positions in the whole list
    return turns


def _whole(number: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
Text = Annotated[str, AfterValidator(readable)]
Coordinate = Annotated[float, Field(ge=-MAP_EDGE, le=MAP_EDGE, allow_inf_nan=False)]
Speaker = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SPEAKER_CHARS), AfterValidator(readable)
]


class Schema(BaseModel):
    """Base of all bodies: values are not converted, and unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    times: ClassVar[int] = 1  # as many JSON items may be in a body as in so many requests to /respond


class Turn(Schema):
    """One utterance of the conversation so far."""

    speaker: Speaker = Field(
        description="name of the speaker; any name, the same for all utterances of one speaker", examples=["A"]
    )
    text: Text = Field(
        description="the utterance; at most 2,000 characters by default",
        examples=["do you like to cook ?"],
    )


class SpeakerProfile(Schema):
    """What is known about a speaker; null: unknown."""

    sex: Sex | None = None
    age: Annotated[int, Field(ge=0, le=130), WHOLE] | None = Field(None, description="in years")
    education: Annotated[int, Field(ge=0, le=3), WHOLE] | None = Field(
        None, description="0 less than high school, 1 less than college, 2 college, 3 more than college"
    )


class RespondRequest(Schema):
    """A conversation to answer, and how."""

    context: Annotated[
        list[Turn],
        WrapValidator(_few_errors),
        BeforeValidator(_alternate, json_schema_input_type=list[Turn] | list[str]),
    ] = Field(
        min_length=1,
        description="utterances so far, oldest first, at most 200 by default; the model reads the last ones, see "
        "`context_used` of the answer. "
        "A plain list of strings is read as the speakers A, B, A, ...",
    )
    model: Annotated[str, Field(max_length=MAX_MODEL_CHARS)] | None = Field(
        None, description="name of the model that answers, one of `models` of GET /model; null: the server's default"
    )
    topic: Annotated[str, Field(max_length=MAX_TOPIC_CHARS)] | None = Field(
        None,
        description="one of GET /topics, case is ignored; any text where GET /model says `free_topic`; null: unknown",
    )
    num_responses: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        None,
        description=f"number of distinct responses; at most 20 by default; null: {DEFAULT_RESPONSES}, or the server's "
        "limit if that is lower; with `at`: 1",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE] | None = Field(
        None,
        description="the same request with the same seed gets the same answer; null: a random one, which is returned",
    )
    diversity: Diversity | None = Field(
        None,
        description="from 0, the likeliest responses, to 1, the most varied: sets how words and the latent variable "
        "are sampled, and can't be given together with temperature or top_p; null: the server's default",
    )
    temperature: Temperature | None = Field(
        None,
        description="sampling temperature of words, 0 to 10; 0 takes the likeliest words, so that responses differ "
        "only by the latent variable; null: the server's default",
    )
    top_p: TopP | None = Field(
        None,
        description="share of probability that words are sampled from, above 0 and up to 1; null: the server's default",
    )
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        None,
        description="maximum number of tokens of a response; the limit, and the value for null: the server's setting, "
        "40 by default",
    )
    candidates_from: CandidateSource | None = Field(
        None,
        description="model: the model writes the responses; corpus: they are taken from the conversations that it was "
        "fitted on; both: the model ranks both kinds together. The last two need a checkpoint with an index, see GET "
        "/model, and can't be given together with `at`; null: the checkpoint's default",
    )
    respond_as: Speaker | None = Field(
        None,
        description="the speaker who answers; null: the role that the model learnt to answer as (see GET /model), "
        "else the last speaker other than the one who spoke last",
        examples=["B"],
    )
    speakers: Annotated[dict[Speaker, SpeakerProfile], Field(max_length=MAX_PROFILES)] | None = Field(
        None,
        description="profiles by name of a speaker; a language model, which has read none, refuses them; null: unknown",
        examples=[{"A": {"sex": "female", "age": 41}}],
    )
    min_score: Score | None = Field(
        None,
        description="responses with a lower `score` are left out, so that there may be none; 0 leaves out none; null: "
        "the server's setting, which by default leaves out none",
    )
    map: bool | None = Field(
        None, description="whether to return each response's place on the map of latent variables; null: no"
    )
    at: Annotated[list[Coordinate], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="a place on the map, [x, y], from which all responses are decoded, instead of places drawn from "
        f"the prior; in standard deviations of the prior, {-MAP_EDGE:g} to {MAP_EDGE:g}",
        examples=[[0.5, -1.25]],
    )

    def responder(self) -> str:
        """The speaker who answers: `respond_as`, else the last other speaker, else B (A if only B speaks)."""
        if self.respond_as is not None:
            return self.respond_as
        last = self.context[-1].speaker
        others = (turn.speaker for turn in reversed(self.context) if turn.speaker != last)
        return next(others, "A" if last == "B" else "B")

    def conversation(self, topic: str | None) -> Conversation:
        """The context as a `Conversation`.

        Args:
            topic: in the model's spelling.
        """
        utterances = tuple(Utterance(turn.speaker, " ".join(turn.text.split())) for turn in self.context)
        speakers = {name: Profile(each.sex, each.age, each.education) for name, each in (self.speakers or {}).items()}
        return Conversation(id="request", utterances=utterances, topic=topic, speakers=speakers)


class Candidate(Schema):
    """One response."""

    text: str
    log_prob: float = Field(
        description="log p(x | z, c) of the text x in nats, where z is the latent value it was decoded from; for a "
        "response from the corpus, the likeliest of a few values"
    )
    source: Source = Field(
        "model", description="model: the model wrote it; corpus: it is from the conversations that it was fitted on"
    )
    finish_reason: FinishReason = Field(
        description="stop: the model ended the text; length: it was cut off at `max_tokens`"
    )
    place: tuple[float, float] | None = Field(
        None,
        description="present only with `map` or `at`: [x, y], the position of z along the two directions that "
        "change the decoder's first state most, in standard deviations of the prior",
    )
    score: float | None = Field(
        None,
        description="present only with a `min_score`, from 0 to 1: the mean similarity of all candidates to this "
        "response where responses are selected from candidates, else the geometric mean of its tokens' probabilities",
    )


class RespondResponse(Schema):
    """Distinct responses, the likeliest per token first.

    If they are selected from candidates, the most typical is first, and those that were cut off are last.
    """

    responses: list[Candidate]
    topic: str | None = Field(description="the topic in the model's spelling; null: none was given")
    seed: int = Field(description="send it to get the same answer again")
    model: str = Field(description="name of the model that answered")
    context_used: int = Field(description="number of utterances that the model read: the last ones of the context")
    context_cut: bool = Field(
        description="whether the model read less than the whole context: there were earlier utterances, or a text was "
        "too long for it and shortened"
    )
    note: str = Field("", description="present only if there are fewer responses than requested")


class Topics(Schema):
    """The topics the model was fitted on."""

    topics: list[str]


class Limits(Schema):
    """The limits of requests."""

    num_responses: int = Field(description="responses")
    context: int = Field(description="utterances")
    text_chars: int = Field(description="characters of an utterance")
    tokens: int = Field(description="tokens of a response")


class Defaults(Schema):
    """The values of fields that a request leaves out."""

    num_responses: int
    diversity: float | None = Field(description="null: the other fields are not set by it")
    nearest_diversity: float | None = Field(
        description="the diversity with the same temperature, where a slider may begin; null: words are not sampled"
    )
    temperature: float
    top_p: float
    max_tokens: int
    prior_temperature: float = Field(description="factor of the prior's standard deviations")
    candidates: int = Field(
        description="number of draws from which responses are selected; 0: the first distinct draws are taken"
    )
    candidates_from: CandidateSource = Field(description="model, corpus or both")


class Index(Schema):
    """An index of responses that were said in the conversations that the model was fitted on."""

    replies: int = Field(description="different responses")
    min_conversations: int = Field(description="each was said in at least so many conversations")


class Model(Schema):
    """The model that answers, and this server's limits and defaults."""

    name: str = Field(description="a request with this `model` is answered by it")
    models: list[str] = Field(
        [], description="names of all models that are served; the first answers requests that name none"
    )
    checkpoint: str = Field(
        "", description="what the weights were fitted on, and after how many steps; it changes with a reload"
    )
    licence: str | None = Field(description="licence of the weights; null: unknown, as for the operator's own")
    topics: int = Field(description="number of its topics, see GET /topics")
    free_topic: bool = Field(description="whether the topic of a request may be any text; then there is no list")
    respond_as: list[str] = Field(
        [],
        description="the roles that the model learnt to answer as, of which a request that names no speaker gets one: "
        "that of the context's latest speaker with a role, else the first; empty: none",
    )
    version: str = Field(description="of the service's software")
    index: Index | None = Field(
        None, description="of responses from the conversations that it was fitted on; null: it has none"
    )
    engine: str = Field(description="the inference engine, such as onnx, onnx-int8 or torch")
    limits: Limits
    defaults: Defaults


class Health(Schema):
    """State of the model."""

    status: str


class Liveness(Health):
    """State of the process, and its model."""

    model: str | None = Field(description="name of the model; null: not loaded yet")
    licence: str | None = Field(description="licence of the weights; null: unknown, as for the operator's own")


class Problem(Schema):
    """Why the server did not answer, after RFC 9457."""

    type: str = Field(description="kind of problem, for programs: a stable relative URI, or about:blank")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong with this request, in words")
    instance: str = Field(description="this request as a URI, which ends in its X-Request-ID; the server logs it")


class FieldProblem(Schema):
    """One error in a request."""

    loc: list[str | int] = Field(description="path to the field, beginning with `body`")
    msg: str = Field(description="names the field, its limit and the value")
    type: str = Field(description="kind of problem, for programs")


class InvalidRequest(Problem):
    """The errors in a request, at most 20."""

    errors: list[FieldProblem]
