"""Log lines, and what they must not contain."""

from __future__ import annotations

import json
import logging
import re

import pytest

from api import logs
from api.request_log import route_of

BODY = {"context": ["my secret words"], "num_responses": 2, "seed": 1}


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_request_is_one_json_line_without_its_text(serve, stub, capsys):
    client = serve(stub, log_format="json")
    capsys.readouterr()
    answer = client.post("/respond", json=BODY, headers={"X-Request-ID": "r1"})
    (line,) = lines(capsys)
    assert line.pop("time").endswith("+00:00")
    assert 0 < line.pop("seconds") < 10
    assert line == {
        "level": "INFO",
        "logger": "api",
        "event": "request",
        "request_id": "r1",
        "method": "POST",
        "route": "/respond",
        "status": 200,
        "rows": 2,
        "rejection": None,
    }
    assert answer.json()["responses"][0]["text"] not in str(line)


def test_text_is_logged_only_if_the_setting_is_on(serve, stub, capsys):
    client = serve(stub, log_format="json", log_text=True)
    capsys.readouterr()
    answer = client.post("/respond", json=BODY).json()
    (line,) = lines(capsys)
    assert line["context"] == ["my secret words"]
    assert line["responses"] == [each["text"] for each in answer["responses"]]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "body", [{"context": ["secret"], "seed": -1}, {"context": ["secret\x00"]}, {"context": ["hi"], "secret": 1}]
)
def test_refusals_are_logged_without_the_text_of_the_request(serve, stub, capsys, form, body):
    client = serve(stub, log_format=form)
    client.post("/respond", json=body)
    logged = capsys.readouterr().err
    assert "invalid" in logged
    assert "secret" not in logged


def test_paths_are_logged_as_their_templates(serve, stub, capsys):
    client = serve(stub, log_format="json")
    capsys.readouterr()
    for path in ("/topics?q=secret", "/secret", "/page/secret"):
        client.get(path)
    client.request("SECRETSECRETSECRETSECRET", "/topics")
    found = lines(capsys)
    assert [line["route"] for line in found] == ["/topics", "unmatched", "/page/{path}", "/topics"]
    assert [line["status"] for line in found] == [200, 404, 404, 405]


@pytest.mark.parametrize("root", ["", "/dialog"])
def test_files_of_the_page_are_logged_as_such_below_any_path(root):
    scope = {"type": "http", "path": f"{root}/page/app.js", "root_path": root, "headers": []}
    assert route_of(scope) == "/page/{path}"
    assert route_of({**scope, "root_path": f"{root}/page", "app_root_path": root}) == "/page/{path}"


def test_the_configuration_is_logged_with_secrets_masked(serve, stub, capsys):
    serve(stub, log_format="json", api_keys="k" * 20, max_waiting=3)
    first = lines(capsys)[0]
    assert first["event"] == "configuration"
    assert first["DIALOG_CVAE_MAX_WAITING"] == "3"
    assert first["DIALOG_CVAE_API_KEYS"] == "**********"
    assert "kkk" not in str(first)


def test_an_unknown_variable_is_logged_as_a_warning(serve, stub, capsys, monkeypatch):
    monkeypatch.setenv("DIALOG_CVAE_MAX_RESPONSE", "3")
    monkeypatch.setenv("DIALOG_CVAE_DATA", "x")
    serve(stub, log_format="json")
    warnings = [line["event"] for line in lines(capsys) if line["level"] == "WARNING"]
    assert warnings == [
        "DIALOG_CVAE_MAX_RESPONSE is not a setting of the service; did you mean DIALOG_CVAE_MAX_RESPONSES?"
    ]


def test_a_clients_key_on_a_server_without_keys_is_logged_as_a_warning(serve, stub, capsys, monkeypatch):
    monkeypatch.setenv("DIALOG_CVAE_API_KEY", "x" * 20)
    for settings in ({}, {"api_keys": "k" * 20}):
        serve(stub, log_format="json", **settings)
        warnings = [line["event"] for line in lines(capsys) if line["level"] == "WARNING"]
        assert warnings == [
            "DIALOG_CVAE_API_KEY is for clients: this service requires no key; to require one, set "
            "DIALOG_CVAE_API_KEYS or DIALOG_CVAE_API_KEYS_FILE"
        ] * (not settings)


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("api", logging.INFO, "x.py", 1, message, None, None)
    made.created = 1.5
    made.fields = fields
    return made


def test_text_lines_cannot_be_forged():
    line = logs.TextLines(text=True).format(record("request", said="a b\n2026 INFO forged", route="/topics", rows=None))
    assert line == ('1970-01-01T00:00:01.500+00:00 INFO    request said="a b\\n2026 INFO forged" route=/topics')


@pytest.mark.parametrize("text", ["\x1b[2J", "\u2028", "\r\n", "é", "\ud800"])
def test_lines_are_ascii(text):
    for form in (logs.JsonLines(text=True), logs.TextLines(text=True)):
        line = form.format(record("request", said=text))
        assert re.fullmatch(r"[ -~]*", line)


def test_uvicorns_lines_have_the_same_format_and_its_access_log_is_off(monkeypatch, capsys):
    import uvicorn

    loggers = {name: logging.getLogger(name) for name in ("uvicorn", "uvicorn.access", "uvicorn.error")}
    before = {name: (logger.handlers, logger.propagate, logger.level) for name, logger in loggers.items()}
    try:
        uvicorn.Config("api.app:app")  # configures logging
        logs.configure("json", text=False)
        loggers["uvicorn.error"].info("hello")
        loggers["uvicorn.access"].info('%s - "%s %s HTTP/%s" %d', "1.2.3.4", "GET", "/secret", "1.1", 200)
        assert not loggers["uvicorn.access"].hasHandlers()
        (line,) = lines(capsys)
        assert (line["logger"], line["event"]) == ("uvicorn.error", "hello")
    finally:
        for name, logger in loggers.items():
            logger.handlers, logger.propagate, logger.level = before[name]


def test_logging_configured_elsewhere_is_unchanged():
    logger, handler = logging.getLogger("uvicorn.access"), logging.NullHandler()
    before, logger.handlers = logger.handlers, [handler]
    try:
        logs.configure("json", text=False)
        assert logger.handlers == [handler]
    finally:
        logger.handlers = before
