"""Chat completions as conversations: messages become utterances of speakers, and replies become choices.

Open it to change how roles, names and system messages are read, where `stop` cuts, or what a stream contains.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.openai_logprobs import cut, logprobs, split
from api.openai_schemas import (
    AssistantMessage,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChoiceLogprobs,
    Instruction,
    ReplyMessage,
    Usage,
    UserMessage,
)
from api.problems import problem, quoted
from api.respond_schemas import FinishReason, RespondRequest
from api.settings import Settings
from dialog_cvae.generate.codec import Codec
from dialog_cvae.generate.question import Reply
from dialog_cvae.limits import visible
from dialog_cvae.text.words import normalised

_TOPIC = re.compile(r"^[ \t]*topic:[ \t]*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE)


class Said(NamedTuple):
    """A message of the conversation, and its position in the request."""

    position: int
    message: UserMessage | AssistantMessage


class Converted(NamedTuple):
    """A chat completion in the form of `POST /respond`.

    Attributes:
        request: names who answers only if the last message of the assistant has a name.
        assistant: who answers otherwise, unless the model has a role for them.
    """

    request: RespondRequest
    assistant: str


def respond_request(asked: ChatRequest, settings: Settings) -> Converted:
    """The same request in the form of `POST /respond`, and the assistant's name.

    Raises:
        RequestValidationError: names the fields of the chat completion that are invalid.
    """
    said = [
        Said(place, each)
        for place, each in enumerate(asked.messages)
        if not isinstance(each, Instruction) and not _is_empty_reply(each)
    ]
    if found := [*_excesses(asked, said, settings)]:
        raise RequestValidationError(found)
    user, assistant = default_names([each.message for each in said])
    turns = [
        (each.message.name or (assistant if isinstance(each.message, AssistantMessage) else user), each.message.text)
        for each in said
    ]
    own_names = [each.message.name for each in said if isinstance(each.message, AssistantMessage)]
    most = asked.max_completion_tokens or asked.max_tokens
    fields = {
        "context": [{"speaker": name, "text": text} for name, text in turns],
        "respond_as": own_names[-1] if own_names else None,
        "topic": topic_line(asked),
        "num_responses": asked.n or 1,
        "max_tokens": None if most is None else min(most, settings.max_tokens),
        **{name: getattr(asked, name) for name in ("seed", "temperature", "top_p")},
    }
    try:
        return Converted(RespondRequest.model_validate(fields), assistant)
    except ValidationError as error:
        raise RequestValidationError([_theirs(item, said) for item in error.errors()]) from None


def _is_empty_reply(message: UserMessage | AssistantMessage) -> bool:
    """Whether a message is an empty reply of ours that a client sends back; see `nothing_said`."""
    return isinstance(message, AssistantMessage) and not visible(message.text)


def _excesses(asked: ChatRequest, said: Sequence[Said], settings: Settings) -> Iterator[dict[str, Any]]:
    """Errors in the fields that have another name in `POST /respond`, or do not exist there."""
    if not said:
        yield problem(("messages",), "too_short", "should have at least one message of a user or the assistant")
    if len({asked.max_tokens, asked.max_completion_tokens} - {None}) > 1:
        got = f"got {quoted(asked.max_tokens)} and {quoted(asked.max_completion_tokens)}"
        message = f"is not equal to max_completion_tokens; give one of them, {got}"
        yield problem(("max_tokens",), "contradiction", message)
    if asked.stream and asked.n not in (None, 1):
        yield problem(("n",), "contradiction", f"should be 1 in a stream, got {quoted(asked.n)}")
    if asked.top_logprobs and not asked.logprobs:
        yield problem(("top_logprobs",), "contradiction", f"needs logprobs: true, got {quoted(asked.top_logprobs)}")
    if asked.n is not None and asked.n > settings.max_responses:
        yield problem(("n",), "less_than_equal", f"should be at most {settings.max_responses}, got {quoted(asked.n)}")
    if len(said) > settings.max_context:
        message = f"should have at most {settings.max_context} messages of the conversation, has {len(said)}"
        yield problem(("messages",), "too_long", message)
    for place, each in said:
        if len(each.text) > settings.max_text_chars:
            message = f"should have at most {settings.max_text_chars} characters, has {len(each.text)}"
            yield problem(("messages", place, "content"), "string_too_long", message)


def _theirs(item: Mapping[str, Any], said: Sequence[Said]) -> dict[str, Any]:
    """An error of `RespondRequest`, with the name of the field that the client sent."""
    loc = item["loc"]
    if loc[0] == "context" and len(loc) > 2:
        place, field = said[loc[1]].position, "content" if loc[2] == "text" else "name"
        return problem(("messages", place, field), item["type"], item["msg"])
    return problem(("messages",) if loc[0] in ("context", "topic") else loc, item["type"], item["msg"])


def default_names(messages: Sequence[UserMessage | AssistantMessage]) -> tuple[str, str]:
    """The names of the user and the assistant in messages without names: A and B, or the next free letters."""
    users = {each.name for each in messages if isinstance(each, UserMessage) and each.name}
    assistants = {each.name for each in messages if isinstance(each, AssistantMessage) and each.name}
    user = _free("A", "user", assistants)
    return user, _free("B", "assistant", users | {user})


def _free(first: str, last: str, used: Collection[str]) -> str:
    return next((name for name in first + string.ascii_uppercase if name not in used), last)


def topic_line(asked: ChatRequest) -> str | None:
    """The topic in a line such as `Topic: PETS` of a system message.

    All other text of system messages is ignored: the models were not trained to follow instructions.
    """
    texts = [each.text for each in asked.messages if isinstance(each, Instruction)]
    found = [topic for text in texts for topic in _TOPIC.findall(text)]
    return found[-1].rstrip() if found else None


def choices(
    replies: Sequence[Reply], asked: ChatRequest, codec: Codec, accepts: Callable[[str], bool] | None
) -> list[Choice]:
    """The distinct choices; there are fewer than replies if `stop` leaves equal texts, nothing, or a blocked word.

    Clients expect at least one: it is empty if `stop` leaves nothing of any, or if there is no reply.

    Args:
        replies: the replies.
        asked: the request.
        codec: the model's.
        accepts: the word filter, because `stop` may cut within a word; None accepts all.
    """
    made = [choice(index, reply, asked, codec) for index, reply in enumerate(replies)]
    allowed = [each for each in made if accepts is None or accepts(each.message.content)] or [nothing_said(asked)]
    found: dict[str, Choice] = {}
    for each in allowed:
        found.setdefault(normalised(each.message.content), each)
    kept = [each for text, each in found.items() if text] or allowed[:1]
    return [each.model_copy(update={"index": index}) for index, each in enumerate(kept)]


def choice(index: int, reply: Reply, asked: ChatRequest, codec: Codec) -> Choice:
    """A reply as a choice; it ends before the first text of `stop` that it contains."""
    found = logprobs(reply, codec) if asked.logprobs else None
    ends = [place for stop in asked.stop or () if (place := reply.text.find(stop)) >= 0]
    if ends:
        content = reply.text[: min(ends)].rstrip()
        kept = None if found is None else cut(found, content)
        return Choice(index=index, message=ReplyMessage(content=content), logprobs=kept, finish_reason="stop")
    reason: FinishReason = "stop" if reply.finished else "length"
    return Choice(index=index, message=ReplyMessage(content=reply.text), logprobs=found, finish_reason=reason)


def nothing_said(asked: ChatRequest) -> Choice:
    """The choice if no draw was readable and allowed; clients expect at least one choice."""
    found = ChoiceLogprobs(content=[]) if asked.logprobs else None
    return Choice(index=0, message=ReplyMessage(content=""), logprobs=found, finish_reason="content_filter")


def stream(completion: ChatCompletion, *, usage: bool) -> Iterator[str]:
    """The events of a stream: the role, the reply word by word, why it ended, and the usage if requested."""
    (reply,) = completion.choices
    words = re.findall(r"\s*\S+", reply.message.content)
    found = [None] * len(words) if reply.logprobs is None else split(reply.logprobs, words)
    yield _event(completion, {"role": "assistant", "content": ""}, None, usage)
    for word, tokens in zip(words, found, strict=True):
        yield _event(completion, {"content": word}, None, usage, tokens)
    yield _event(completion, {}, reply.finish_reason, usage)
    if usage:
        yield _line(_chunk(completion) | {"choices": [], "usage": completion.usage.model_dump()})
    yield "data: [DONE]\n\n"


def _event(
    completion: ChatCompletion,
    delta: dict[str, str],
    reason: str | None,
    usage: bool,
    found: ChoiceLogprobs | None = None,
) -> str:
    tokens = None if found is None else found.model_dump()
    step = {"index": 0, "delta": delta, "logprobs": tokens, "finish_reason": reason}
    return _line(_chunk(completion) | {"choices": [step]} | ({"usage": None} if usage else {}))


def _chunk(completion: ChatCompletion) -> dict[str, Any]:
    shared = completion.model_dump(include={"id", "created", "model", "system_fingerprint"})
    return shared | {"object": "chat.completion.chunk"}


def _line(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def counted(prompt: int, completion: int) -> Usage:
    """The usage for these numbers of tokens."""
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
