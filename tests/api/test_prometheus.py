"""Metrics for Prometheus, of one process and of several."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import prometheus
from api.prometheus import Metrics
from dialog_cvae.errors import ConfigError

INFO = {"model": "m", "licence": "", "engine": "onnx", "version": "1"}
OF_A = (("name", "a"),)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_status(client):
    client.post("/respond", json={"context": ["hi"]})
    client.post("/respond", json={})
    client.get("/topics")
    client.head("/topics")
    client.request("BREW", "/topics")
    client.get("/a/path/of/a/user")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    counts = {labels: value for (name, labels), value in found.items() if name == "dialog_cvae_requests_total"}
    assert counts == {
        (("method", method), ("route", route), ("status", status)): 1
        for method, route, status in (
            ("POST", "/respond", "200"),
            ("POST", "/respond", "422"),
            ("GET", "/topics", "200"),
            ("HEAD", "/topics", "200"),
            ("other", "/topics", "405"),
            ("GET", "unmatched", "404"),
        )
    }
    assert found["dialog_cvae_request_seconds_count", (("route", "/respond"),)] == 2
    assert found["dialog_cvae_rejections_total", (("reason", "invalid"),)] == 1
    (info,) = [labels for name, labels in found if name == "dialog_cvae_model_info"]
    assert dict(info).keys() == {"name", "model", "licence", "engine", "version"}
    assert (dict(info)["name"], dict(info)["model"]) == (
        "none",
        "stub",
    )  # the folder, and what the model says of itself
    assert dict(info)["licence"] == "CC BY 4.0"


def test_measurements_of_the_model():
    metrics = Metrics()
    metrics.describe("a", INFO)
    model = metrics.of_model("a")
    for depth in (3, 1):
        model.queued(depth)
    model.stepped(16, 0.003)
    model.stepped(5, 0.5)
    model.finished(7)
    model.finished(4)
    found = samples(metrics.exposition().decode())
    assert found["dialog_cvae_queue_depth", OF_A] == 1
    assert found["dialog_cvae_tokens_total", OF_A] == 11
    assert found["dialog_cvae_batch_rows_sum", OF_A] == 21
    assert found["dialog_cvae_batch_rows_bucket", (("le", "8.0"), *OF_A)] == 1
    assert found["dialog_cvae_step_seconds_count", OF_A] == 2
    assert found["dialog_cvae_step_seconds_sum", OF_A] == pytest.approx(0.503)
    assert found["dialog_cvae_model_info", tuple(sorted({"name": "a", **INFO}.items()))] == 1


def test_models_are_counted_by_name_and_a_reloaded_one_goes_on_counting():
    metrics = Metrics()
    metrics.describe("a", INFO)
    metrics.describe("b", INFO)
    first, other = metrics.of_model("a"), metrics.of_model("b")
    first.finished(3)
    other.finished(5)
    first.queued(2)
    metrics.describe("a", INFO | {"model": "new"})
    second = metrics.of_model("a")
    second.queued(4)
    second.finished(1)
    found = samples(metrics.exposition().decode())
    assert found["dialog_cvae_tokens_total", OF_A] == 4
    assert found["dialog_cvae_tokens_total", (("name", "b"),)] == 5
    assert found["dialog_cvae_queue_depth", OF_A] == 6
    first.queued(0)
    assert samples(metrics.exposition().decode())["dialog_cvae_queue_depth", OF_A] == 4
    states = {
        dict(labels)["model"]: value for (name, labels), value in found.items() if "info" in name and OF_A[0] in labels
    }
    assert states == {"m": 0, "new": 1}


def test_two_services_in_one_process_count_separately():
    first, second = Metrics(), Metrics()
    first.of_model("a").finished(3)
    second.of_model("a")
    assert samples(second.exposition().decode())["dialog_cvae_tokens_total", OF_A] == 0


PROCESS = """
import sys
from api.prometheus import Metrics
metrics = Metrics()
metrics.describe("a", {"model": "m", "licence": "", "engine": "onnx", "version": "1"})
model = metrics.of_model("a")
model.queued(int(sys.argv[1]))
model.stepped(8, 0.001)
metrics.answered("/respond", "POST", 200, 0.1, None)
if sys.argv[2] == "close":
    metrics.close()
print(metrics.exposition().decode())
"""


def test_each_of_several_processes_reports_the_sum(tmp_path):
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "new")}
    reported = [
        subprocess.run(
            [sys.executable, "-c", PROCESS, depth, end],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for depth, end in (("2", "stay"), ("40", "close"), ("5", "stay"))
    ]
    found = samples(reported[-1])
    assert found["dialog_cvae_queue_depth", OF_A] == 5  # processes that have ended count no more
    assert found["dialog_cvae_batch_rows_sum", OF_A] == 24
    labels = (("method", "POST"), ("route", "/respond"), ("status", "200"))
    assert found["dialog_cvae_requests_total", labels] == 3


def test_an_unusable_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="PROMETHEUS_MULTIPROC_DIR"):
        Metrics()


def test_an_empty_folder_name_is_refused_and_nothing_is_written(tmp_path):
    root = str(Path(__file__).parents[2])
    code = "import sys, api.prometheus as p\ntry: p.Metrics()\nexcept p.ConfigError as error: print(error)"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": "", "PYTHONPATH": root}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "PROMETHEUS_MULTIPROC_DIR is empty; name a folder, or unset it\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_has_just_created_is_waited_for(tmp_path, monkeypatch):
    metrics, empty = Metrics(), tmp_path / "counter_1.db"
    empty.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            empty.write_bytes(bytes(64))

    monkeypatch.setattr(prometheus.time, "sleep", wait)
    assert metrics.exposition() == b""
    assert len(waits) == 3
    empty.write_bytes(b"")
    with pytest.raises(struct.error):
        metrics.exposition()


def test_the_queue_of_a_process_that_was_killed_is_not_counted(tmp_path):
    code = PROCESS + "sys.stdout.flush(); sys.stdin.read(); print(metrics.exposition().decode())"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def start(depth: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, depth, "stay"],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start("7") as killed, start("4") as living:
        for process in (killed, living):
            while "model_info{" not in (line := process.stdout.readline()):
                assert line, "it ended"
        both = len(list(tmp_path.glob("gauge_livesum_*.db")))
        killed.kill()
        killed.wait()
        found = samples(living.communicate("")[0])
    assert both == 2
    assert found["dialog_cvae_queue_depth", OF_A] == 4
    assert found["dialog_cvae_batch_rows_sum", OF_A] == 16  # counters of a killed process stay
