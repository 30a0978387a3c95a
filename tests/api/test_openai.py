"""The routes below /v1/, called by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from dialog_cvae.config import Decoding
from dialog_cvae.generate.question import Reply
from dialog_cvae.types import Utterance

KEY = "sk-0123456789abcdef"
HELLO = [{"role": "user", "content": "do you have pets ?"}]


@pytest.fixture
def ai(client: TestClient, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return connect(client)


def ask(ai: openai.OpenAI, messages: Any = HELLO, **more: Any) -> Any:
    return ai.chat.completions.create(model="stub", messages=messages, **more)


def test_a_completion_is_the_reply_that_respond_gives(ai, client, stub):
    messages = [
        {"role": "system", "content": "You are kind.\ntopic: pets"},
        {"role": "user", "content": "do you have pets ?"},
        {"role": "assistant", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "cats"}]},
        {"role": "user", "content": "nice", "name": "Ann"},
    ]
    found = ask(ai, messages, n=2, seed=7, temperature=0.5, top_p=0.9, max_tokens=12, user="me", metadata={"a": "b"})
    own = {
        "context": [
            {"speaker": "A", "text": "do you have pets ?"},
            {"speaker": "B", "text": "two cats"},
            {"speaker": "Ann", "text": "nice"},
        ],
        "respond_as": "B",
        "topic": "PETS",
        "num_responses": 2,
        "seed": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 12,
    }
    expected = client.post("/respond", json=own).json()["responses"]
    assert [choice.message.content for choice in found.choices] == [each["text"] for each in expected]
    assert stub.calls[0] == stub.calls[1]
    assert [(choice.index, choice.finish_reason, choice.message.role) for choice in found.choices] == [
        (0, "stop", "assistant"),
        (1, "stop", "assistant"),
    ]
    assert (found.object, found.model) == ("chat.completion", "stub")
    # the stub's tokens are words: 5 + 2 + 1 read, two replies of two
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (8, 4, 12)


def test_one_choice_with_the_servers_way_of_drawing_is_the_default(ai, stub):
    assert len(ask(ai).choices) == 1
    ((conversation, asked),) = stub.calls
    assert conversation.utterances == (Utterance("A", "do you have pets ?"),)
    assert (asked["n"], asked["respond_as"], asked["decoding"], conversation.topic) == (1, "B", Decoding(), None)


@pytest.mark.parametrize(
    ("messages", "speakers", "responder"),
    [
        ([("user", None), ("assistant", None)], ["A", "B"], "B"),
        ([("user", "B")], ["B"], "C"),
        ([("user", "B"), ("user", None)], ["B", "A"], "C"),
        ([("assistant", "A"), ("user", None)], ["A", "B"], "A"),
        (
            [("user", "customer"), ("assistant", "agent"), ("user", "customer")],
            ["customer", "agent", "customer"],
            "agent",
        ),
    ],
)
def test_roles_become_speakers(ai, stub, messages, speakers, responder):
    sent = [{"role": role, "content": "hi"} | ({"name": name} if name else {}) for role, name in messages]
    ask(ai, sent)
    ((conversation, asked),) = stub.calls
    assert [each.speaker for each in conversation.utterances] == speakers
    assert asked["respond_as"] == responder


@pytest.mark.parametrize("roles", [{"respond_as": ("agent",)}, {"roles": ("customer", "agent")}])
@pytest.mark.parametrize(
    "said",
    [
        [("user", None)],
        [("user", None), ("assistant", None), ("user", None)],
        [("user", "customer")],
        [("user", "customer"), ("assistant", None), ("user", "customer")],
    ],
)
def test_a_model_with_roles_gives_the_choices_of_respond(ai, client, stub, roles, said):
    stub.config = stub.config.model_copy(update=roles)
    messages = [{"role": role, "content": "hi"} | ({"name": name} if name else {}) for role, name in said]
    found = ask(ai, messages, seed=7, n=2)
    context = [{"speaker": name or {"user": "A", "assistant": "B"}[role], "text": "hi"} for role, name in said]
    expected = client.post("/respond", json={"context": context, "seed": 7, "num_responses": 2}).json()["responses"]
    assert [choice.message.content for choice in found.choices] == [each["text"] for each in expected]
    assert stub.calls[0] == stub.calls[1]


@pytest.mark.parametrize(
    ("said", "speakers", "responder"),
    [
        ([("user", None), ("assistant", None), ("user", None)], ["A", "agent", "A"], "agent"),
        ([("user", None), ("assistant", None)], ["A", "agent"], "agent"),  # the assistant speaks twice
        ([("user", "Ann"), ("user", "Bo")], ["Ann", "Bo"], "agent"),
        ([("user", None), ("assistant", "Bo"), ("user", None)], ["A", "Bo", "A"], "Bo"),
    ],
)
def test_the_assistant_has_the_models_role_unless_it_has_a_name(ai, stub, said, speakers, responder):
    stub.config = stub.config.model_copy(update={"respond_as": ("agent",)})
    ask(ai, [{"role": role, "content": "hi"} | ({"name": name} if name else {}) for role, name in said])
    ((conversation, asked),) = stub.calls
    assert ([each.speaker for each in conversation.utterances], asked["respond_as"]) == (speakers, responder)


def test_a_reply_can_be_sent_back_as_it_came(ai, stub):
    reply = ask(ai, seed=1).choices[0].message
    ask(ai, [*HELLO, reply, {"role": "user", "content": "and you ?"}])
    assert stub.calls[1][0].utterances[1] == Utterance("B", reply.content)


def test_more_tokens_than_the_limit_mean_the_limit(ai, stub):
    ask(ai, max_tokens=4096)
    ask(ai, max_completion_tokens=3)
    assert [asked["decoding"].max_tokens for _, asked in stub.calls] == [40, 3]


def test_a_reply_ends_before_the_first_stop(ai):
    whole = ask(ai, seed=1).choices[0].message.content
    for stop in (" ", ["never", " 0", " "]):
        found = ask(ai, seed=1, stop=stop)
        assert found.choices[0].message.content == whole.split(" ")[0]
        assert found.choices[0].finish_reason == "stop"
        assert found.usage.completion_tokens == 1


def test_choices_that_stop_makes_equal_or_empty_are_left_out(ai, stub, monkeypatch):
    texts = ["Yes, two", "yes", ", no", "No, none"]
    monkeypatch.setattr(stub, "respond", lambda *_, **__: [Reply(text, -1.0, 2, True) for text in texts])
    found = ask(ai, n=4, stop=",").choices
    assert [(each.index, each.message.content) for each in found] == [(0, "Yes"), (1, "No")]
    texts[:] = [",", ", no"]
    (none,) = ask(ai, n=2, stop=",").choices
    assert (none.message.content, none.finish_reason) == ("", "stop")


def test_a_stop_can_not_make_a_blocked_word(serve, stub, connect, tmp_path, monkeypatch):
    (tmp_path / "words").write_text("ass")
    ai = connect(serve(stub, blocked_words=tmp_path / "words"))
    texts = ["I'm your assistant", "your instant reply"]
    monkeypatch.setattr(stub, "respond", lambda *_, **__: [Reply(text, -1.0, 2, True) for text in texts])
    (kept,) = ask(ai, n=2, stop=["istant", "ant"]).choices
    assert (kept.index, kept.message.content) == (0, "your inst")
    del texts[1]
    (none,) = ask(ai, stop=["istant"]).choices
    assert (none.message.content, none.finish_reason) == ("", "content_filter")
    chunks = [chunk.choices[0] for chunk in ask(ai, stop=["istant"], stream=True)]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == ""
    assert chunks[-1].finish_reason == "content_filter"
    assert ask(ai, stop=["never"]).choices[0].message.content == "I'm your assistant"


def test_a_stream_has_the_words_of_the_same_reply(ai):
    whole = ask(ai, seed=3)
    chunks = list(ask(ai, seed=3, stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0].delta.content for chunk in chunks[:-1]]
    assert "".join(word or "" for word in said) == whole.choices[0].message.content
    assert said[0] == ""
    assert said[-1] is None
    assert len(said) == 4
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_without_any_reply_the_choice_is_empty_and_says_so(serve, make_stub, connect):
    found = ask(connect(serve(make_stub(distinct=0))), n=2)
    assert [(choice.message.content, choice.finish_reason) for choice in found.choices] == [("", "content_filter")]
    assert found.usage.completion_tokens == 0


def test_a_reply_that_is_cut_off_says_length(endless_folder, connect):
    from api.app import create_app
    from api.settings import Settings

    with TestClient(create_app(settings=lambda: Settings(checkpoint=endless_folder))) as client:
        ai = connect(client)
        name = ai.models.list().data[0].id
        assert ai.models.retrieve(name).id == name
        found = ai.chat.completions.create(model=name, messages=HELLO, max_tokens=5, seed=1, temperature=1)
    assert found.choices[0].finish_reason == "length"
    assert found.usage.prompt_tokens > 0
    assert found.usage.completion_tokens > 0


NEUTRAL = {
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "modalities": ["text"],
    "store": False,
    "service_tier": "auto",
}


def test_values_that_change_nothing_are_accepted(ai, stub):
    ask(ai, **NEUTRAL)
    ask(ai, **dict.fromkeys(NEUTRAL))
    assert len(stub.calls) == 2


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}


REFUSED = [
    ({"tools": [FUNCTION]}, "tools", "not supported"),
    ({"tool_choice": "required"}, "tool_choice", "not supported"),
    ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
    ({"top_logprobs": 2}, "top_logprobs", "needs logprobs: true, got 2"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
    ({"logprobs": 1}, "logprobs", "boolean"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
    ({"presence_penalty": 0.5}, "presence_penalty", "not supported"),
    ({"frequency_penalty": False}, "frequency_penalty", "not supported"),
    ({"store": 0}, "store", "nothing is kept"),
    ({"store": True}, "store", "nothing is kept"),
    ({"n": 21}, "n", "at most 20"),
    ({"n": 0}, "n", "greater than or equal to 1"),
    ({"n": 2, "stream": True}, "n", "1 in a stream"),
    ({"temperature": 11}, "temperature", "less than or equal to 10"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "give one of them, got 3 and 4"),
    ({"messages": []}, "messages", "at least 1"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages", "a user or the assistant"),
    ({"messages": [*HELLO, {"role": "tool", "content": "x"}]}, "messages[1]", "role"),
    ({"messages": [{"role": "user", "content": "x" * 2001}]}, "messages[0].content", "at most 2000"),
    (
        {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": " "}]},
        "messages[1].content",
        "visible",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type", "text"),
    ({"messages": [{"role": "system", "content": "Topic: cars"}, *HELLO]}, "messages", "known topics"),
    ({"extra_body": {"novel": 1}}, "novel", "unknown field"),
]


def test_what_would_change_the_meaning_is_refused_in_openais_form(ai, stub):
    for sent, param, words in REFUSED:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(ai, **sent)
        body = caught.value.body
        assert set(body) == {"message", "type", "param", "code"}
        assert body["type"] == "invalid_request_error"
        assert body["code"]
        assert body["param"] == param
        assert words in body["message"]
    assert not stub.calls


def test_unknown_models_and_paths_are_not_found(ai, client):
    for call in (
        lambda: ai.chat.completions.create(model="gpt-5", messages=HELLO),
        lambda: ai.models.retrieve("gpt-5"),
        lambda: ai.models.retrieve("org/gpt-5"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        ai.embeddings.create(model="stub", input="x")
    assert client.get("/elsewhere").headers["content-type"] == "application/problem+json"


def test_the_model_is_listed(ai):
    assert [(each.id, each.object) for each in ai.models.list()] == [("stub", "model")]
    assert ai.models.retrieve("stub").id == "stub"


def test_the_api_key_is_asked_for(serve, stub, connect):
    client = serve(stub, api_keys=KEY)
    assert ask(connect(client, KEY)).choices
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(connect(client, "sk-wrong"))
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        connect(client, "sk-wrong").models.list()


def test_a_full_queue_is_a_server_error_that_says_when_to_retry(serve, stub, connect):
    client = serve(stub, max_waiting=1, timeout_s=0.2)
    stub.gate.clear()
    with pytest.raises(openai.InternalServerError) as caught:
        ask(connect(client))
    stub.gate.set()
    assert caught.value.status_code == 503
    assert caught.value.body["code"] == "answer_too_slow"
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_texts_are_logged_only_if_settings_allow_it(serve, make_stub, connect, capfd):
    for allowed in (True, False):
        ask(connect(serve(make_stub(), log_text=allowed)), [{"role": "user", "content": "a secret"}])
        line = [line for line in capfd.readouterr().err.splitlines() if "/v1/chat/completions" in line]
        assert len(line) == 1
        assert ("a secret" in line[0]) is allowed


def test_a_topic_line_may_have_spaces_within_and_loses_those_after(ai, stub):
    for line in ("topic:  pets  ", "Be kind.\ntopic: pets\t\r\nNow.", "x\nTOPIC: pets" + " " * 1000):
        ask(ai, [{"role": "system", "content": line}, *HELLO])
        assert stub.calls[-1][0].topic == "PETS"


def test_an_empty_reply_that_is_sent_back_is_left_out(ai, stub):
    ask(ai, [*HELLO, {"role": "assistant", "content": ""}, {"role": "user", "content": "are you there ?"}])
    assert [turn.text for turn in stub.calls[-1][0].utterances][-1] == "are you there ?"
    assert len(stub.calls[-1][0].utterances) == len(HELLO) + 1


def test_an_error_quotes_a_long_value_in_part(client):
    body = {"model": "stub", "messages": [{"role": "x" * 90_000, "content": "hi"}]}
    assert len(client.post("/v1/chat/completions", json=body).content) < 3000
