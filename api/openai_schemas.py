"""The bodies of `/v1/chat/completions`, and the values allowed in fields that the models do not support.

Open it to see which of OpenAI's fields are used, ignored or refused. A field that would change the meaning of the reply
is refused unless it has its neutral value, which clients often send.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.field_types import MAX_SEED, WHOLE, Speaker, Temperature, TopP
from api.respond_schemas import FinishReason
from api.schema import Schema
from api.settings import Settings

MAX_MESSAGES = 20_000
MAX_PARTS = 100  # most parts of text in a message
MAX_STOPS, MAX_STOP_CHARS = 4, 200
MAX_TOP_LOGPROBS = 20
# Values that change nothing; null is always one of them.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none",),
    "tools": ([],),
    "web_search_options": (),
}
WHY = {
    "store": "nothing is kept between requests",
}
NO_MEANS = "the model has no equivalent"

PositiveInt = Annotated[int, Field(ge=1), WHOLE]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]


class TextPart(Schema):
    """A part of a message."""

    type: Literal["text"]
    text: str


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _same(value: Any, other: Any) -> bool:
    """Whether two JSON values are equal; to Python, but not to JSON, false equals 0."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


class _Message(Schema):
    content: Annotated[list[TextPart], Field(min_length=1, max_length=MAX_PARTS), BeforeValidator(_parts)]
    name: Speaker | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        return " ".join(part.text for part in self.content)


class Instruction(_Message):
    """A message to the model, not part of the conversation; see `api.openai_chat.topic_line`."""

    role: Literal["system", "developer"]


class UserMessage(_Message):
    """An utterance of a speaker whom the model answers."""

    role: Literal["user"]


class AssistantMessage(_Message):
    """An utterance of the speaker who answers. Clients that send back a reply as it came add fields without content."""

    role: Literal["assistant"]
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None


Message = Annotated[Instruction | UserMessage | AssistantMessage, Discriminator("role")]


class StreamOptions(Schema):
    """What a stream contains."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # ignored: the sizes of chunks reveal no more than the reply's words


class ChatRequest(Schema):
    """A conversation to answer, as OpenAI's clients send it."""

    model: Annotated[str, Field(min_length=1, max_length=1000)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    n: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    stop: Annotated[list[Stop] | None, Field(max_length=MAX_STOPS), BeforeValidator(_listed)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS), WHOLE] | None = None
    # Ignored: they say who asks and how to produce the reply, not which reply is wanted.
    user: Any = None
    metadata: Any = None
    parallel_tool_calls: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    # Refused, unless they have a value of NEUTRAL.
    audio: Any = None
    frequency_penalty: Any = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    modalities: Any = None
    prediction: Any = None
    presence_penalty: Any = None
    reasoning_effort: Any = None
    response_format: Any = None
    store: Any = None
    tool_choice: Any = None
    tools: Any = None
    web_search_options: Any = None

    @classmethod
    def times(cls, settings: Settings) -> int:
        """See `Schema.times`; a message may have several parts."""
        return 4

    @field_validator(*NEUTRAL)
    @classmethod
    def _neutral(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if value is not None and not any(_same(value, neutral) for neutral in NEUTRAL[name]):
            raise PydanticCustomError(
                "unsupported", "not supported: {why}; leave it out", {"why": WHY.get(name, NO_MEANS)}
            )
        return value


class ReplyMessage(BaseModel):
    """A reply."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class TopLogprob(BaseModel):
    """A token that could have been in a place, and its log probability there."""

    token: str
    bytes: list[int] | None  # null: the token is not text
    logprob: float


class TokenLogprob(TopLogprob):
    """A token of a reply, and the likeliest ones in its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """The tokens of a choice, or of a part of it."""

    content: list[TokenLogprob]
    refusal: None = None


class Choice(BaseModel):
    """One of the replies."""

    index: int
    message: ReplyMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | Literal["content_filter"]


class Usage(BaseModel):
    """Tokens of the model's tokenizer: of the utterances that it read, and of the texts of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """The replies to a conversation."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str


class ModelCard(BaseModel):
    """The model, as OpenAI lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All models: the one that is served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
