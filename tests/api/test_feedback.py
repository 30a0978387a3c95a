"""Feedback on suggestions: what is stored, and what is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.feedback import FullError, append
from api.settings import Settings
from dialog_cvae.errors import ConfigError

EDITED = {
    "outcome": "edited",
    "position": 1,
    "sent": "yes,\ntwo ca\u0301ts \u2028",
    "context": [
        {"speaker": "Ann", "text": "any pets ?"},
        {"speaker": "Bo", "text": "hm"},
        {"speaker": "Ann", "text": "?"},
    ],
    "topic": "PETS",
    "request_id": "abc",
}


def test_feedback_is_off_by_default(client):
    answer = client.post("/feedback", json=EDITED)
    assert answer.status_code == 404
    assert "DIALOG_CVAE_FEEDBACK" in answer.json()["detail"]


def test_a_line_has_what_the_client_sent_and_the_speaker(serve, stub, tmp_path):
    file = tmp_path / "feedback.jsonl"
    client = serve(stub, feedback=file)
    for body in (EDITED, {"outcome": "refused"}):
        answer = client.post("/feedback", json=body)
        assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == EDITED | {"sent": "yes,\ntwo c\u00e1ts \u2028", "respond_as": "Bo"}
    assert set(second) == {"time", "outcome"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_blank_topic_is_none_and_a_plain_list_is_a_context_as_in_respond(serve, stub, tmp_path):
    file = tmp_path / "f"
    client = serve(stub, feedback=file)
    body = {"outcome": "edited", "sent": "yes", "context": ["any pets ?", "hm", "?"], "topic": " "}
    assert client.post("/feedback", json=body).status_code == 200
    stored = json.loads(file.read_text())
    assert [turn["speaker"] for turn in stored["context"]] == ["A", "B", "A"]
    assert stored["respond_as"] == "B"
    assert "topic" not in stored


@pytest.mark.parametrize("model", [None, "stub", "removed since"])
@pytest.mark.parametrize(
    ("speaker", "config", "stored"),
    [
        ("Customer", {"roles": ("customer", "agent")}, ("customer", "agent")),
        ("A", {"respond_as": ("agent",)}, ("A", "agent")),
        ("Agent", {"respond_as": ("agent",), "roles": ("customer", "agent")}, ("agent", "agent")),
    ],
)
def test_who_sent_the_text_is_who_answers_in_respond(serve, stub, tmp_path, speaker, config, stored, model):
    stub.config = stub.config.model_copy(update=config)
    file = tmp_path / "f"
    client = serve(stub, feedback=file)
    context = [{"speaker": speaker, "text": "any pets ?"}]
    assert client.post("/respond", json={"context": context}).status_code == 200
    sent = {"outcome": "edited", "sent": "yes", "context": context, "model": model}
    assert client.post("/feedback", json=sent).status_code == 200
    line = json.loads(file.read_text())
    ((conversation, asked),) = stub.calls
    read = (conversation.utterances[0].speaker, asked["respond_as"])
    assert (line["context"][0]["speaker"], line["respond_as"]) == read == stored


@pytest.mark.parametrize("field", ["topic", "model", "request_id"])
def test_what_a_terminal_would_obey_is_refused(serve, stub, tmp_path, field):
    client = serve(stub, feedback=tmp_path / "f")
    answer = client.post("/feedback", json={"outcome": "taken", field: "a\u001b[31m"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", field])


def test_limits_are_those_of_respond(serve, stub, tmp_path):
    client = serve(stub, feedback=tmp_path / "f", max_text_chars=12, max_context=2)
    for changes, place in (({}, ["body", "context"]), ({"sent": "x" * 13, "context": None}, ["body", "sent"])):
        answer = client.post("/feedback", json=EDITED | changes)
        assert [each["loc"] for each in answer.json()["errors"]] == [place]
    assert client.post("/feedback", json={"outcome": "lost"}).status_code == 422
    assert (tmp_path / "f").read_bytes() == b""


def test_scores_are_stored_and_have_the_position(serve, stub, tmp_path):
    file = tmp_path / "f"
    client = serve(stub, feedback=file)
    scored = {"outcome": "taken", "position": 1, "scores": [0.5, 0.25]}
    assert client.post("/feedback", json=scored).status_code == 200
    assert json.loads(file.read_text()).items() >= scored.items()
    for changes, place in (
        ({"position": 2}, ["body", "position"]),
        ({"scores": [0.5, 1.5]}, ["body", "scores", 1]),
        ({"scores": []}, ["body", "scores"]),
    ):
        answer = client.post("/feedback", json=scored | changes)
        assert (answer.status_code, [each["loc"] for each in answer.json()["errors"]]) == (422, [place])


def test_lines_stay_whole_when_many_write(serve, stub, tmp_path):
    file = tmp_path / "feedback.jsonl"
    client = serve(stub, feedback=file)
    with ThreadPoolExecutor(8) as pool:
        bodies = [EDITED | {"request_id": str(i)} for i in range(40)]
        assert {
            answer.status_code for answer in pool.map(lambda body: client.post("/feedback", json=body), bodies)
        } == {200}
    assert {json.loads(line)["request_id"] for line in file.read_text().splitlines()} == {str(i) for i in range(40)}


def test_a_line_after_an_incomplete_one_is_whole(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b'{"outcome": "ta')
    append(file, b'{"outcome": "taken"}\n', 100)
    assert file.read_bytes() == b'{"outcome": "ta\n{"outcome": "taken"}\n'


def test_a_full_file_stays_as_it_is(serve, stub, tmp_path):
    file = tmp_path / "f"
    append(file, b"12345\n", 6)
    with pytest.raises(FullError):
        append(file, b"1\n", 7)
    assert file.read_bytes() == b"12345\n"
    file.write_bytes(b"x" * 999_990 + b"\n")
    answer = serve(stub, feedback=file, feedback_max_mb=1).post("/feedback", json=EDITED)
    assert answer.status_code == 507
    assert answer.json()["type"] == "/problems/feedback-full"
    assert file.stat().st_size == 999_991


def test_a_file_that_cannot_be_written_stops_startup(tmp_path):
    from api.feedback import check_file

    with pytest.raises(ConfigError, match=r"DIALOG_CVAE_FEEDBACK: .*nowhere/f: can't be written"):
        check_file(Settings(checkpoint="none", feedback=tmp_path / "nowhere" / "f"))
