"""The routes that OpenAI's clients call: `/v1/chat/completions` and `/v1/models`.

They are not in the OpenAPI document, because OpenAI's own describes them. Errors have OpenAI's form, see
`api.openai_errors`; what the fields mean here is in `api.openai_chat`.
"""

from __future__ import annotations

import time
from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from api import openai_errors
from api.disconnect import while_connected
from api.openai_chat import choice, counted, nothing_said, respond_request, stream
from api.openai_schemas import ChatCompletion, ChatRequest, ModelCard, ModelList
from api.request_record import record_of
from api.routes import OffLoopRoute, Ready
from api.schemas import RespondRequest
from api.service import Service
from dialog_cvae.generate.replies import Answer

STARTED = int(time.time())  # when this process began to offer the model

router = APIRouter(prefix="/v1", include_in_schema=False)
completing = APIRouter(prefix="/v1", include_in_schema=False, route_class=OffLoopRoute)


@completing.post("/chat/completions", response_model=None)
async def chat_completions(service: Ready, asked: ChatRequest, request: Request) -> Response | ChatCompletion:
    """Reply as the assistant, with `n` distinct choices.

    A reply is chosen among several draws, so that a stream begins when the whole reply is known.
    """
    # Find the model and read the messages.
    if asked.model != service.responder.name:
        return _no_model(asked.model)
    converted = await service.apart(respond_request, asked, service.settings)
    record = record_of(request.scope)
    record.rows = converted.num_responses
    record.text["context"] = [turn.text for turn in converted.context]
    # Reply.
    question = await service.apart(service.question, converted)
    if asked.logprobs:
        question = question._replace(likeliest=asked.top_logprobs or 0)
    answer = await while_connected(request.receive, service.answer(question))
    record.text["responses"] = [each.text for each in answer.replies]
    completion = await service.apart(_completion, asked, converted, answer, service, record.request_id)
    if not asked.stream:
        return completion
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return StreamingResponse(
        stream(completion, usage=usage), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _completion(
    asked: ChatRequest, question: RespondRequest, answer: Answer, service: Service, request_id: str
) -> ChatCompletion:
    reading = service.responder.reading
    choices = [choice(index, reply, asked, reading) for index, reply in enumerate(answer.replies)]
    choices = choices or [nothing_said(asked)]
    count = reading.count
    read = question.context[len(question.context) - answer.seen.utterances :]
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        created=int(time.time()),
        model=service.responder.name,
        choices=choices,
        usage=counted(sum(count(turn.text) for turn in read), sum(count(each.message.content) for each in choices)),
        system_fingerprint=f"dialog-cvae-{version('dialog-cvae')}-{service.settings.engine_name}",
    )


@router.get("/models")
async def models(service: Ready) -> ModelList:
    """The model that is served."""
    return ModelList(data=[_card(service)])


@router.get("/models/{name:path}", response_model=None)
async def model(service: Ready, name: str) -> Response | ModelCard:
    """The model of this name."""
    return _card(service) if name == service.responder.name else _no_model(name)


def _card(service: Service) -> ModelCard:
    return ModelCard(id=service.responder.name, created=STARTED, owned_by="dialog-cvae")


def _no_model(name: str) -> Response:
    message = f"The model `{name[:80]}` does not exist; GET /v1/models lists the one that is served."
    return openai_errors.error(404, message, "model", "model_not_found")
