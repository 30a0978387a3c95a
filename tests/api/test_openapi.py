"""The OpenAPI document describes exactly what the service does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck
from pydantic_core import PydanticCustomError
from schemathesis.generation import GenerationMode

from api.app import create_app
from api.field_types import readable
from api.openapi import readable_pattern
from api.settings import Settings
from dialog_cvae.limits import visible


def test_the_document_is_complete_and_its_examples_work(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/respond",
        "/respond/batch",
        "/feedback",
        "/admin/reload",
        "/topics",
        "/model",
        "/metrics",
        "/health/live",
        "/health/ready",
    }
    respond = document["paths"]["/respond"]["post"]
    assert list(respond["responses"]) == ["200", "408", "413", "422", "500", "503"]
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                assert "X-Request-ID" in answer["headers"]
                assert (list(answer["content"]) == ["application/problem+json"]) == (status != "200")
    media = respond["requestBody"]["content"]["application/json"]
    for example in media["examples"].values():
        assert client.post("/respond", json=example["value"]).status_code == 200
    fields = document["components"]["schemas"]["RespondRequest"]["properties"]
    assert all("description" in field for field in fields.values())
    forms = fields["context"]["anyOf"]
    assert forms[0]["items"] == {"$ref": "#/components/schemas/Turn"}
    assert forms[1]["items"]["type"] == "string"
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_examples_of_problems_have_the_form_of_problems(client):
    document = client.get("/openapi.json").json()
    for status, answer in document["paths"]["/respond"]["post"]["responses"].items():
        (media,) = answer["content"].values()
        if status != "200":
            assert media["example"]["status"] == int(status)
            assert set(media["example"]) >= {"type", "title", "status", "detail", "instance"}


def test_the_document_has_this_servers_limits(serve, make_stub):
    client = serve(make_stub(topics=()), max_responses=3, max_context=7, max_text_chars=99, max_tokens=12)
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas["RespondRequest"]["properties"]
    assert fields["num_responses"]["anyOf"][0]["maximum"] == 3
    assert fields["max_tokens"]["anyOf"][0]["maximum"] == 12
    assert fields["seed"]["anyOf"][0]["maximum"] == 2**63 - 1
    assert [form["maxItems"] for form in fields["context"]["anyOf"]] == [7, 7]
    assert schemas["Turn"]["properties"]["text"]["maxLength"] == 99
    assert fields["topic"]["anyOf"] == [{"type": "null"}]


def test_the_document_is_available_without_a_server():
    assert create_app().openapi()["components"]["schemas"]["RespondRequest"]["properties"]["topic"]["anyOf"]


def pattern_holds(codes: Iterable[int]) -> None:
    pattern = re.compile(readable_pattern())

    def accepted(text: str) -> bool:
        try:
            return bool(readable(text))
        except PydanticCustomError:
            return False

    for code in codes:
        if not 0xD800 <= code < 0xE000:  # surrogates, which valid JSON can't contain
            assert accepted(chr(code)) is bool(pattern.search(chr(code))), hex(code)
    for text in ("", " \t", "a\x00", "\x00a", " a ", "\u200b\n", "\n.\n", "a\u0085"):
        assert accepted(text) is bool(pattern.search(text)), text


def test_the_pattern_of_readable_text_agrees_with_the_validator():
    hidden = (code for code in range(sys.maxunicode) if not visible(chr(code)))
    pattern_holds([*range(0x3100), *range(0x3100, sys.maxunicode, 499), *hidden])


@pytest.mark.endurance
def test_the_pattern_of_readable_text_agrees_with_the_validator_for_every_character():
    pattern_holds(range(sys.maxunicode + 1))


def fuzz(client: TestClient, examples: int) -> int:
    """Send requests that the document allows, and others, and apply all checks of schemathesis to the answers."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    asked = 0
    for found in schema.get_all_operations():
        # Without body and parameters, no request is invalid.
        for mode in GenerationMode if found.ok().body else [GenerationMode.POSITIVE]:
            strategy = found.ok().as_strategy(generation_mode=mode)

            @hypothesis.settings(
                max_examples=examples if found.ok().body else 1,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[hypothesis.Phase.generate],
            )
            @hypothesis.given(case=strategy)
            def ask(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                sent = case.as_transport_kwargs(base_url="http://testserver")
                if "data" in sent:
                    sent["content"] = sent.pop("data")
                if not isinstance(sent.get("content", b""), bytes | str):
                    hypothesis.reject()
                try:
                    answer = client.request(**{name: value for name, value in sent.items() if name != "cookies"})
                except UnicodeEncodeError:
                    hypothesis.reject()  # a header that HTTP can't transport
                case.validate_response(answer)

            ask()
    return asked


def test_answers_conform_to_the_document(serve, stub):
    assert fuzz(serve(stub, max_context=5, max_text_chars=50), 15) > 30


@pytest.mark.endurance
def test_answers_conform_to_the_document_in_thousands_of_cases(serve, stub):
    assert fuzz(serve(stub, max_context=20, max_text_chars=200), 1000) > 1600


@pytest.mark.endurance
def test_answers_of_a_real_model_conform_to_the_document(tmp_path, tiny_checkpoint):
    tiny_checkpoint.save(tmp_path / "tiny")
    app = create_app(settings=lambda: Settings(checkpoint=tmp_path / "tiny", max_context=5, max_text_chars=80))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert fuzz(client, 400) > 700
