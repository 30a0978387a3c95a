"""`POST /feedback`: what became of suggestions, appended to a file as JSON lines if the operator names one.

Open it to see what is stored: only what the client sends, the time, and who answered; names are as the model read
them. No text of a conversation is stored unless the client sends it. `dialog-cvae feedback FILE` counts the lines and
makes training data of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, field_validator

from api.field_types import MAX_MODEL_CHARS, WHOLE, Score, Speaker, Text
from api.models import Models
from api.problems import Refusal, problem
from api.respond_schemas import Alternating, RespondRequest, Turn
from api.routes import OffLoopRoute, Ready, declared
from api.schema import Schema
from api.service import Service
from api.settings import Settings
from dialog_cvae.errors import ConfigError
from dialog_cvae.limits import MAX_TOPIC_CHARS

MEGABYTE = 1_000_000
MAX_ID_CHARS = 200
MAX_POSITION = 999

if sys.platform != "win32":
    import fcntl

router = APIRouter(route_class=OffLoopRoute)
_one_at_a_time = threading.Lock()


class FeedbackRequest(Schema):
    """What became of the suggestions for one reply."""

    outcome: Literal["taken", "edited", "refused"] = Field(
        description="taken: a suggestion was sent as it is; edited: it was changed first; refused: none was used"
    )
    position: Annotated[int, Field(ge=0, le=MAX_POSITION), WHOLE] | None = Field(
        None, description="of the suggestion in `responses`, from 0"
    )
    scores: Annotated[list[Score], Field(min_length=1, max_length=MAX_POSITION + 1)] | None = Field(
        None, description="`score` of each suggestion, in order; requests with a `min_score`, which may be 0, get them"
    )
    sent: Text | None = Field(None, description="the text that was sent; at most 2,000 characters by default")
    context: Annotated[list[Turn], Alternating] | None = Field(
        None,
        min_length=1,
        description="the conversation before it, if it may be stored, as in POST /respond; at most 200 utterances by "
        "default",
    )
    respond_as: Speaker | None = Field(None, description="who sent the text; null: as in POST /respond")
    topic: Annotated[Text, Field(max_length=MAX_TOPIC_CHARS)] | None = Field(
        None, description="of the conversation; none if it is blank"
    )
    model: Annotated[Text, Field(max_length=MAX_MODEL_CHARS)] | None = Field(
        None, description="that suggested the reply"
    )
    request_id: Annotated[Text, Field(max_length=MAX_ID_CHARS)] | None = Field(
        None, description="the X-Request-ID of the request that was answered with the suggestions"
    )

    @field_validator("topic", mode="before")
    @classmethod
    def _no_blank_topic(cls, topic: Any) -> Any:
        """No topic instead of a blank one: a page may send its empty field."""
        return None if isinstance(topic, str) and not topic.strip(" ") else topic


class Stored(Schema):
    """The feedback is in the file."""

    status: Literal["stored"] = "stored"


@router.post("/feedback", summary="Say what became of suggestions", responses=declared(404, 408, 413, 422, 503, 507))
async def feedback(models: Ready, asked: FeedbackRequest, _request: Request) -> Stored:
    """Append a line to the operator's file; 404 if there is none, 507 if it is full."""
    settings = models.settings
    if settings.feedback is None:
        raise Refusal(404, "not-found", "feedback is switched off; the operator sets DIALOG_CVAE_FEEDBACK to a file")
    await models.worker_thread.run(_check, asked, settings)
    content = await models.worker_thread.run(line, asked, _asked(models, asked.model))
    try:
        await asyncio.to_thread(append, settings.feedback, content, settings.feedback_max_mb * MEGABYTE)
    except OSError as error:
        reason = (
            "the file of feedback is full" if isinstance(error, FullError) else f"it can't be stored: {error.strerror}"
        )
        raise Refusal(507, "feedback-full", reason) from None
    return Stored()


def _check(given: FeedbackRequest, settings: Settings) -> None:
    """Check the server's limits, and the position among the scores.

    Raises:
        RequestValidationError: lists everything that is wrong.
    """
    texts = [(("context", place, "text"), turn.text) for place, turn in enumerate(given.context or ())]
    texts += [(("sent",), given.sent)] if given.sent is not None else []  # type: ignore[list-item]
    found = [
        problem(field, "string_too_long", f"should have at most {settings.max_text_chars} characters, has {len(text)}")
        for field, text in texts
        if len(text) > settings.max_text_chars
    ]
    if len(given.context or ()) > settings.max_context:
        message = f"should have at most {settings.max_context} utterances, has {len(given.context or ())}"
        found.append(problem(("context",), "too_long", message))
    if given.scores is not None and given.position is not None and given.position >= len(given.scores):
        message = f"should be below {len(given.scores)}, the number of scores, but is {given.position}"
        found.append(problem(("position",), "less_than", message))
    if found:
        raise RequestValidationError(found)


def _asked(models: Models, name: str | None) -> Service:
    """The model that suggested the reply; the default if none of this name is served any more."""
    return models.named(name if name in models.accepted_names else None)


def line(given: FeedbackRequest, service: Service) -> bytes:
    """The feedback as one line, with the time, and with the speaker of the text if there is a context.

    Args:
        given: what the client sent.
        service: the model that suggested the reply, which decides who answered if the client names no speaker.
    """
    content = given.model_dump(exclude_none=True)
    if given.context:
        asked = RespondRequest.model_construct(context=given.context, respond_as=given.respond_as)
        conversation, content["respond_as"] = service.asked(asked, None)
        for turn, utterance in zip(content["context"], conversation.utterances, strict=True):
            turn["speaker"] = utterance.speaker
    return json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **content}).encode() + b"\n"


class FullError(OSError):
    """The file has reached its limit."""


def append(path: Path, content: bytes, limit: int) -> None:
    """Append a whole line to a file that several processes may write to.

    Raises:
        FullError: the file would be longer than `limit` bytes.
        OSError: the line can't be written; nothing of it is left in the file.
    """
    with _one_at_a_time:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if sys.platform != "win32":  # only one process at a time may write
                fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            size = os.fstat(file).st_size
            os.lseek(file, max(size - 1, 0), os.SEEK_SET)
            if size and os.read(file, 1) != b"\n":  # the last line is incomplete: a machine stopped during a write
                content = b"\n" + content
            if size + len(content) > limit:
                raise FullError
            try:
                complete = os.write(file, content) == len(content)
            except OSError:
                os.ftruncate(file, size)
                raise
            if not complete:
                os.ftruncate(file, size)
                raise OSError(28, "No space left on device")
        finally:
            os.close(file)


def check_file(settings: Settings) -> None:
    """Check that the feedback file can be written.

    Raises:
        ConfigError: it can't be written.
    """
    if settings.feedback is not None:
        try:
            os.close(os.open(settings.feedback, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))
        except OSError as error:
            reason = f"can't be written ({error.strerror})"
            raise ConfigError(f"DIALOG_CVAE_FEEDBACK: {settings.feedback}: {reason}") from None
