"""The serving benchmark: its counts of operations, its load, and its figures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import load, serving, serving_workload
from benchmarks.load import Load, run_load
from benchmarks.naive_replies import NaiveReplies, naive_replies
from benchmarks.server_process import run_server
from benchmarks.serving_workload import context_operations, naive_seconds, row_operations, talk_requests
from dialog_cvae.config import Decoding
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance

TINY = ModelConfig(
    embedding_size=2, utterance_size=3, context_size=5, latent_size=7, decoder_size=11, topic_size=1, prior_size=13
)


def test_operations_worked_by_hand():
    # 11 x 3 gates of 2 + 11 inputs, and 11 times 17 words
    assert row_operations(TINY, 17) == 2 * (33 * 13 + 11 * 17)
    # 13 tokens of two directions; 15 context gates of 6 + 2 + 5 inputs; condition 1 + 8 + 5 = 14
    utterance, context = 13 * 2 * 9 * (2 + 3), 15 * (6 + 2 + 5)
    assert context_operations(TINY, 4) == 2 * (4 * (utterance + context) + 13 * (14 + 14) + 11 * (14 + 7))


def test_requests_are_a_function_of_the_seed_and_hardly_repeat():
    bodies = talk_requests(9, 5, 30, seed=1)
    assert bodies == talk_requests(9, 5, 30, seed=1)
    asked = [json.loads(body) for body in bodies]
    assert {(len(body["context"]), body["num_responses"]) for body in asked} == {(9, 5)}
    assert [body["seed"] for body in asked] == list(range(30))
    long = [text for body in asked for text in body["context"] if len(text.split()) > 6]
    assert len(set(long)) > 0.95 * len(long)


def test_forced_replies_have_the_maximum_length(tiny_checkpoint: Checkpoint, tmp_path: Path):
    serving.never_ending(tiny_checkpoint).save(tmp_path / "forced")
    responder = Responder.load(tmp_path / "forced")
    conversation = Conversation("talk", (Utterance("A", "we like cats"),))
    replies = responder.respond(conversation, respond_as="B", decoding=Decoding(max_tokens=20))
    assert {(reply.tokens, reply.finished) for reply in replies} == {(20, False)}


def test_a_language_model_is_measured_at_natural_lengths_alone():
    assert [way.forced for way in serving.ways(16, forced=False)] == [False] * 3
    assert serving.ways(16, forced=False) == [way for way in serving.ways(16, forced=True) if not way.forced]
    row = {"name": "5 replies", "clients": 1, "requests": 3, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0}
    report = {"checkpoint": "c", "engine": "onnx", "vocabulary": 9, "cores": 2, "seconds_to_ready": 1.0}
    report |= {"resident_mib": 9, "matrix_gflops": 1.0, "rows": [row | {"per_second": 5.0, "forced": False}]}
    assert "eager PyTorch" not in serving.summary(report)


def test_naive_seconds_are_the_mean_after_one_request_to_warm_up(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    now, seconds, replies = 0.0, [100.0, 1.0, 3.0], list[tuple[int, ...]]()

    def decoded(*given: Any) -> NaiveReplies:
        nonlocal now
        now += seconds.pop(0)
        found = naive_replies(*given)
        replies.append((*found.tokens.shape,))
        return found

    monkeypatch.setattr(serving_workload, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(serving_workload, "naive_replies", decoded)
    assert naive_seconds(tiny_checkpoint, 3, 2, 4, 2) == 2.0
    assert [rows for rows, _ in replies] == [2] * 3
    assert all(tokens <= 4 for _, tokens in replies)


class Answers(BaseHTTPRequestHandler):
    """Answers 200, or another status for some bodies."""

    protocol_version = "HTTP/1.1"
    asked: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(body)
        status = {b"busy": 503, b"broken": 500, b"wrong": 422}.get(body, 200)
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
            self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Answers.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_each_request_is_sent_once_and_refusals_are_counted(port: int):
    bodies = [b"%d" % index for index in range(40)] + [b"busy"] * 3 + [b"wrong"] * 2
    done = run_load(port, Load(4, bodies, 30, expected=(422,)))
    assert sorted(Answers.asked) == sorted(bodies)
    assert (len(done.seconds), len(done.refused), done.others) == (40, 3, {422: 2})
    assert 0 < max(done.seconds) <= done.wall
    assert 0 < max(done.refused) <= done.wall


def test_a_client_pauses_after_a_refusal(port: int, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(load, "sleep", pauses.append)
    done = run_load(port, Load(1, [b"1", b"busy", b"busy"], 30, pause_s=8.0))
    assert len(pauses) == len(done.refused) == 2
    assert all(4 <= pause <= 12 for pause in pauses)


def test_an_unexpected_status_raises_an_error(port: int):
    with pytest.raises(DialogCvaeError, match="the service answered 500"):
        run_load(port, Load(1, [b"1", b"broken"], 30))
    with pytest.raises(DialogCvaeError, match="the service answered 422"):
        run_load(port, Load(1, [b"1", b"wrong"], 30))
    with pytest.raises(DialogCvaeError, match=r"no request was answered \(2 refused\)"):
        run_load(port, Load(1, [b"busy"] * 2, 30))


def test_a_service_that_does_not_start_raises_an_error(tmp_path: Path):
    with (
        pytest.raises(DialogCvaeError, match=r"the service did not start: .*nothing"),
        run_server(tmp_path / "nothing", {}),
    ):
        pass


@pytest.mark.slow
def test_prints_and_writes_consistent_figures(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys):
    tiny_checkpoint.save(tmp_path / "best")
    options = ["--requests", "8", "--clients", "3", "--naive-requests", "2", "--json", str(tmp_path / "figures.json")]
    assert serving.main([str(tmp_path / "best"), *options]) == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    printed = capsys.readouterr().out
    assert len(report["rows"]) == 10
    for row in report["rows"]:
        assert row["requests"] == 8
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert ("share_of_matrix_rate" in row) == row["forced"]
    assert report["ratio_latency"] == pytest.approx(report["naive_ms"] / report["rows"][0]["p50_ms"])
    assert f"ratio: {report['ratio_latency']:.1f} in latency" in printed
    assert 20 < report["resident_mib"] < 2000


def test_a_missing_checkpoint_is_refused(tmp_path: Path, capsys):
    assert serving.main([str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
