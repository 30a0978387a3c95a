"""Checks of a well-formed request against this server: its limits and the model's topics.

Open it to add a check that depends on settings or model. `api.request_body` has already checked lengths, and
`api.respond_schemas` the request's form, which is the same on all servers.
"""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from pydantic_core import PydanticCustomError

from api.field_types import readable
from api.problems import problem, quoted
from api.respond_schemas import RespondRequest
from api.settings import Settings
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.generate.codec import Codec
from dialog_cvae.limits import UnknownTopicError, known_topic
from dialog_cvae.storage.checkpoint_config import CheckpointConfig

CHOSEN_BY_DIVERSITY = ("temperature", "top_p")


def check_limits(request: RespondRequest, settings: Settings) -> None:
    """Check a request against the server's limits.

    Raises:
        RequestValidationError: lists every limit that the request exceeds.
    """
    found = []
    # Number and length of replies.
    for field, limit in (("num_responses", settings.max_responses), ("max_tokens", settings.max_tokens)):
        value = getattr(request, field)
        if value is not None and value > limit:
            message = f"should be at most {limit}, got {quoted(value)}"
            found.append(problem((field,), "less_than_equal", message))
    # Diversity sets these two fields, so they cannot be given with it.
    for field in CHOSEN_BY_DIVERSITY:
        value = getattr(request, field)
        if request.diversity is not None and value is not None:
            values = f"got {request.diversity:g} and {value:g}"
            message = f"sets how words are sampled, and can't be given together with {field}, {values}"
            found.append(problem(("diversity",), "contradiction", message))
    if found:
        raise RequestValidationError(found)


def check_profiles(request: RespondRequest, config: CheckpointConfig) -> None:
    """Check that the model reads speakers' profiles, if the request has any.

    Raises:
        RequestValidationError: it is a language model, which was trained without profiles.
    """
    if request.speakers and config.language is not None:
        message = "this model is a language model, which reads no profiles; leave them out"
        raise RequestValidationError([problem(("speakers",), "no_profiles", message)])


def check_source(request: RespondRequest, index: ReplyIndex | None) -> None:
    """Check that responses can come from the requested source.

    Raises:
        RequestValidationError: the request wants responses of the index, but the model has none, or the request also
            gives a place of the map.
    """
    if request.candidates_from in (None, "model"):
        return
    if index is None:
        message = f"should be model, because this model has no index of responses, got {request.candidates_from}"
        raise RequestValidationError([problem(("candidates_from",), "no_index", message)])
    if request.at is not None:
        message = "can't be given together with at, because only the model answers from a place of the map; "
        message += f"got {request.candidates_from}"
        raise RequestValidationError([problem(("candidates_from",), "contradiction", message)])


def check_topic(name: str | None, codec: Codec) -> None:
    """Check that the model can use the topic.

    Raises:
        RequestValidationError: the topic is not in the model's list, if it has one, or is unreadable.
    """
    if name is None:
        return
    try:
        if codec.free_topic:
            readable(name)
        else:
            known_topic(name, codec.topics)
    except UnknownTopicError as error:
        raise RequestValidationError([problem(("topic",), "unknown_topic", error.reason)]) from None
    except PydanticCustomError as error:
        raise RequestValidationError([problem(("topic",), error.type, error.message())]) from None
