"""The bodies of POST /respond, and the conversion of a request to a `Conversation`.

Open it to add a field to a request or a response. The checks here are the same on all servers; `api.request_checks` has
those that depend on settings and model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from api.field_types import (
    MAP_EDGE,
    MAX_MODEL_CHARS,
    MAX_SEED,
    WHOLE,
    Coordinate,
    Diversity,
    Score,
    Speaker,
    Temperature,
    Text,
    TopP,
)
from api.schema import Schema
from dialog_cvae.config import CandidateSource
from dialog_cvae.generate.question import Source
from dialog_cvae.limits import MAX_PROFILES, MAX_TOPIC_CHARS
from dialog_cvae.types import Conversation, Profile, Sex, Utterance

DEFAULT_RESPONSES = 5
VALIDATED_TOGETHER = 20  # turns validated at a time; those after an invalid one are not validated
FinishReason = Literal["stop", "length"]


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


class Turn(Schema):
    """One utterance of the conversation so far."""

    speaker: Speaker = Field(
        description="name of the speaker; any name, the same for all utterances of one speaker", examples=["A"]
    )
    text: Text = Field(
        description="the utterance; at most 2,000 characters by default",
        examples=["do you like to cook ?"],
    )


Alternating = BeforeValidator(_alternate, json_schema_input_type=list[Turn] | list[str])
"""Validates a context, which may be a plain list of strings."""


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
        Alternating,
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

    def conversation(self, topic: str | None) -> Conversation:
        """The context as a `Conversation`.

        Args:
            topic: of the conversation.
        """
        utterances = tuple(Utterance(turn.speaker, turn.text) for turn in self.context)
        speakers = {name: Profile(each.sex, each.age, each.education) for name, each in (self.speakers or {}).items()}
        return Conversation(id="request", utterances=utterances, topic=topic, speakers=speakers)


def other_speaker(speakers: Sequence[str]) -> str:
    """Who answers if no one is asked for: the last speaker other than the latest one, else B (A if only B speaks).

    Args:
        speakers: of the utterances so far, at least one, oldest first.
    """
    last = speakers[-1]
    others = (speaker for speaker in reversed(speakers) if speaker != last)
    return next(others, "A" if last == "B" else "B")


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
