"""The service on Ray Serve: the options that Ray receives, and a real cluster on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fastapi import FastAPI

from api import cluster
from api.app import create_app
from api.settings import Settings, read_settings
from dialog_cvae.errors import ConfigError

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "swda"
MARK = "DIALOG_TEST_CLUSTER"  # a variable that marks the processes of a test
ASKED = {"context": ["Do you have any pets?"], "topic": "PETS", "num_responses": 2, "seed": 7}


def test_ray_receives_scale_and_settings():
    settings = Settings(checkpoint="somewhere/best", timeout_s=12, max_waiting=30)
    scale = cluster.Scale(min_replicas=2, max_replicas=6, target_requests=3.5, cpus=2, gpus=0.5)
    environment = {"PATH": "/bin", "DIALOG_CVAE_CHECKPOINT": "somewhere/best", "DIALOG_CVAE_MAX_TOKENS": "20"}
    found = cluster.options(scale, settings, environment)
    assert found["autoscaling_config"] == {"min_replicas": 2, "max_replicas": 6, "target_ongoing_requests": 3.5}
    assert found["graceful_shutdown_timeout_s"] > 12
    assert found["max_ongoing_requests"] > 30
    actor = found["ray_actor_options"]
    assert (actor["num_cpus"], actor["num_gpus"]) == (2, 0.5)
    assert actor["runtime_env"]["env_vars"] == {
        "DIALOG_CVAE_CHECKPOINT": str(Path("somewhere/best").absolute()),
        "DIALOG_CVAE_MAX_TOKENS": "20",
        "DIALOG_CVAE_THREADS": "2",
    }


def test_replicas_get_absolute_paths(monkeypatch):
    given = {"BACKBONE": "lm", "BLOCKED_WORDS": "a/words", "API_KEYS_FILE": "/etc/keys", "FEEDBACK": "feedback.jsonl"}
    environment = {"DIALOG_CVAE_CHECKPOINT": "best"} | {f"DIALOG_CVAE_{name}": value for name, value in given.items()}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = cluster.options(cluster.Scale(), read_settings(), environment)["ray_actor_options"]["runtime_env"][
        "env_vars"
    ]
    assert {name: found[name] for name in environment} == {
        name: str(Path(value).absolute()) for name, value in environment.items()
    }


def test_a_chosen_number_of_threads_is_kept():
    found = cluster.options(cluster.Scale(cpus=0.5), Settings(checkpoint="x"), {"DIALOG_CVAE_THREADS": "3"})
    assert found["ray_actor_options"]["runtime_env"]["env_vars"]["DIALOG_CVAE_THREADS"] == "3"
    found = cluster.options(cluster.Scale(cpus=0.5), Settings(checkpoint="x"), {})
    assert found["ray_actor_options"]["runtime_env"]["env_vars"]["DIALOG_CVAE_THREADS"] == "1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--min-replicas", "3", "--max-replicas", "2"], ["max_replicas", "at least min_replicas, 3", "got 2"]),
        (["--max-replicas", "many"], ["max_replicas", "integer", "'many'"]),
        (["--cpus", "0"], ["cpus", "greater than 0", "'0'"]),
        (["--gpus", "nan"], ["gpus", "'nan'"]),
        (["--target-requests", "-1"], ["target_requests", "greater than 0", "'-1'"]),
        (["--port", "0"], ["port", "1 to 65535", "0"]),
        (["--port", "70000"], ["port", "1 to 65535", "70000"]),
        (["--port", "http"], ["port", "'http'"]),
        (["--detach"], ["detach", "--address"]),
        (["--replicas", "3"], ["--replicas"]),
    ],
)
def test_an_invalid_option_is_one_line(monkeypatch, capsys, arguments, words):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    try:
        status = cluster.main(arguments)
    except SystemExit as error:  # from argparse
        status = error.code
    assert status == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert [word for word in words if word not in line] == []


def test_a_port_that_is_taken_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cluster.main([f"--port={port}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: port: 127.0.0.1:{port} can't be listened on: ")


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        cluster.main(["--help"])
    text = capsys.readouterr().out
    for name in cluster.Scale.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    assert "DIALOG_CVAE_CHECKPOINT=models/swda python -m api.cluster" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Ray is not installed: pip install 'dialog-cvae\[cluster\]'$"):
        cluster.app(cluster.Scale())


def test_a_request_gets_the_state_of_the_lifespan(make_stub):
    """Ray Serve runs the lifespan with a state, and requests without it."""
    application = create_app(lambda _: make_stub(), lambda: Settings(checkpoint="none"))
    application.add_middleware(cluster.LifespanState)

    async def scenario() -> None:
        events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        lifespan = asyncio.ensure_future(application(scope, events.get, sent.put))
        await events.put({"type": "lifespan.startup"})
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        replica = cluster.Replica()
        replica.app = application
        await replica.check_health()
        await events.put({"type": "lifespan.shutdown"})
        await lifespan

    asyncio.run(scenario())


def test_a_replica_that_is_not_ready_fails_its_health_check():
    replica = cluster.Replica()
    replica.app = create_app(lambda _: pytest.fail("not started"), lambda: Settings(checkpoint="none"))
    with pytest.raises(RuntimeError, match="/health/ready answers 503"):
        asyncio.run(replica.check_health())
    replica.app = FastAPI()
    with pytest.raises(RuntimeError, match="/health/ready answers 404"):
        asyncio.run(replica.check_health())


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def get(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer; None for Ray's own answers, which are plain text."""
    headers = {"Content-Type": "application/json"}
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        answer = urlopen(request, timeout=60)
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status, json.load(answer) if "json" in answer.headers.get_content_type() else None


@pytest.fixture
def started() -> Callable[..., Any]:
    """Run the command in a process of its own: `started(*options, **environment)`."""
    pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'dialog-cvae[cluster]'")

    @contextmanager
    def start(*options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cluster", *options],
            env=clean | environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=120)

    return start


@pytest.mark.slow
def test_ray_gives_the_same_answers_as_one_process(started, monkeypatch):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started(f"--port={port}", "--max-replicas=2", DIALOG_CVAE_CHECKPOINT=str(MODEL)) as process:
        assert process.stdout.readline() == f"{url} answers\n"
        assert get(f"{url}/health/ready")[0] == 200
        status, answer = get(f"{url}/respond", ASKED)
        assert status == 200
        assert get(f"{url}/respond", ASKED | {"num_responses": 0})[0] == 422
        assert get(f"{url}/nothing")[0] == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
        assert process.stderr.read() == ""

    from fastapi.testclient import TestClient

    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", str(MODEL))
    with TestClient(create_app()) as alone:
        expected = alone.post("/respond", json=ASKED).json()
    assert [each["text"] for each in answer["responses"]] == [each["text"] for each in expected["responses"]]


@pytest.mark.slow
def test_a_missing_checkpoint_is_reported(started, tmp_path):
    with started(f"--port={free_port()}", DIALOG_CVAE_CHECKPOINT=str(tmp_path)) as process:
        assert process.wait(timeout=180) == 2
        line = process.stderr.read()
    assert line.startswith("error: the service could not be started: ")
    assert str(tmp_path) in line
    assert "Traceback" not in line


@pytest.mark.slow
def test_a_serve_file_starts_the_service_and_a_killed_replica_is_replaced(tmp_path):
    pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'dialog-cvae[cluster]'")
    port = free_port()
    application = {"name": "dialog-cvae", "import_path": "api.cluster:app", "route_prefix": "/"}
    application |= {"args": {"max_replicas": 1}, "runtime_env": {"env_vars": {"DIALOG_CVAE_CHECKPOINT": str(MODEL)}}}
    file = tmp_path / "serve.json"  # JSON is YAML
    file.write_text(json.dumps({"http_options": {"port": port}, "applications": [application]}))
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(file)]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", MARK: str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        assert answered(port, process), (tmp_path / "log").read_text()
        (before,) = replicas(tmp_path)
        os.kill(before, signal.SIGKILL)
        assert answered(port, process), (tmp_path / "log").read_text()
        assert before not in replicas(tmp_path)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def replicas(mark: Path) -> list[int]:
    """The replicas' processes that have this mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            ours = f"{MARK}={mark}".encode() in path.with_name("environ").read_bytes().split(b"\0")
            if ours and path.read_bytes().startswith(b"ray::ServeReplica:dialog-cvae"):
                found.append(int(path.parent.name))
    return found


def answered(port: int, process: subprocess.Popen[bytes], seconds: float = 180.0) -> bool:
    """Whether the service at the port answers in time; False if the process ends first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            if get(f"http://127.0.0.1:{port}/respond", ASKED)[0] == 200:
                return True
        time.sleep(0.5)
    return False
