"""The routes that OpenAI's clients call: `/v1/chat/completions` and `/v1/models`.

Open it to add such a route. They are not in the OpenAPI document, because OpenAI's own describes them. Errors have
OpenAI's form, see `api.openai_errors`; what the fields mean here is in `api.openai_chat`.
"""

from __future__ import annotations

import time
from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse

from api.disconnect import while_connected
from api.openai_chat import Converted, choices, counted, respond_request, stream
from api.openai_schemas import ChatCompletion, ChatRequest, ModelCard, ModelList
from api.request_record import record_of
from api.respond_schemas import RespondRequest
from api.routes import Chosen, ModelRoute, Ready
from api.service import Service
from dialog_cvae.generate.question import Answer, Question

STARTED = int(time.time())  # when this process began to offer the model

router = APIRouter(prefix="/v1", include_in_schema=False)
completing = APIRouter(prefix="/v1", include_in_schema=False, route_class=ModelRoute)


@completing.post("/chat/completions", response_model=None)
async def chat_completions(service: Chosen, asked: ChatRequest, request: Request) -> Response | ChatCompletion:
    """Reply as the assistant, with `n` distinct choices, or fewer if `stop` makes some equal or empty.

    The whole reply must be known before a stream begins: it may be selected from candidates, and the word filter and
    the guard read it.
    """
    # Read the messages.
    converted = await service.worker_thread.run(respond_request, asked, service.settings)
    record = record_of(request.scope)
    record.rows = converted.request.num_responses
    record.text["context"] = [turn.text for turn in converted.request.context]
    # Reply.
    question = await service.worker_thread.run(_question, service, converted)
    if asked.logprobs:
        question = question._replace(likeliest=asked.top_logprobs or 0)
    answer = await while_connected(request.receive, service.answer(question))
    record.text["responses"] = [each.text for each in answer.replies]
    completion = await service.worker_thread.run(
        _completion, asked, converted.request, answer, service, record.request_id
    )
    if not asked.stream:
        return completion
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return StreamingResponse(
        stream(completion, usage=usage), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _question(service: Service, converted: Converted) -> Question:
    """The request in the model's terms.

    Raises:
        RequestValidationError: see `Service.question`; the topic, which a message names, is an error of the messages.
    """
    try:
        return service.question(converted.request, converted.assistant)
    except RequestValidationError as error:
        topic = {"loc": ("body", "messages")}
        items = [{**item, **topic} if item["loc"] == ("body", "topic") else item for item in error.errors()]
    raise RequestValidationError(items)


def _completion(
    asked: ChatRequest, question: RespondRequest, answer: Answer, service: Service, request_id: str
) -> ChatCompletion:
    codec = service.responder.codec
    found = choices(answer.replies, asked, codec, service.responder.accepts)
    count = codec.count
    read = question.context[len(question.context) - answer.seen.utterances :]
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        created=int(time.time()),
        model=service.name,
        choices=found,
        usage=counted(sum(count(turn.text) for turn in read), sum(count(each.message.content) for each in found)),
        system_fingerprint=f"dialog-cvae-{version('dialog-cvae')}-{service.settings.engine_name}",
    )


@router.get("/models")
async def models(models: Ready) -> ModelList:
    """The models that are served."""
    return ModelList(data=[_card(name) for name in models.names])


@router.get("/models/{name:path}")
async def model(models: Ready, name: str) -> ModelCard:
    """The model of this name."""
    return _card(models.named(name).name)


def _card(name: str) -> ModelCard:
    return ModelCard(id=name, created=STARTED, owned_by="dialog-cvae")
