"""What the service says about its models and its state: the bodies of GET /model, /topics and /health.

Open it to change what a client can learn before it asks for responses.
"""

from __future__ import annotations

from pydantic import Field

from api.schema import Schema
from dialog_cvae.config import CandidateSource


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
    min_score: float | None = Field(description="least score of a response; null: no response is left out for it")


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
        "that of the context's latest speaker with a role, but not the one who spoke last, else the first other one; "
        "empty: none",
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
