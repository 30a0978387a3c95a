"""Reloading: no request is dropped, each is answered by one model, and a broken checkpoint changes nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import reload
from api.app import create_app
from api.models import Models
from api.settings import Settings
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import Checkpoint

KEY = "a-key-of-the-operator"
HEADERS = {"X-API-Key": KEY}
ASKED = {"context": ["hi"], "seed": 1, "num_responses": 1}
SEEDS = range(8)


@pytest.fixture
def start() -> Iterator[Callable[..., TestClient]]:
    """Start a service whose models come from a function: `start(load, **settings)`."""
    with ExitStack() as stack:

        def started(load: Callable[[Settings], Any], **settings: Any) -> TestClient:
            given = {"checkpoint": "none", "api_keys": KEY} | settings
            app = create_app(load, lambda: Settings(**given))
            return stack.enter_context(TestClient(app, headers=HEADERS))

        yield started


def another(folder: Path) -> Checkpoint:
    """The checkpoint of a folder with other weights, of a later step."""
    old = Checkpoint.load(folder)
    weights = {**old.weights, "decoder.output.bias": -old.weights["decoder.output.bias"]}
    provenance = old.config.provenance.model_copy(update={"step": 4})
    return replace(old, config=old.config.model_copy(update={"provenance": provenance}), weights=weights)


def test_under_load_each_request_is_answered_by_exactly_one_of_the_two_models(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    shutil.copytree(tiny_folder, folder)
    versions = [Checkpoint.load(folder), another(folder)]
    settings = Settings(checkpoint=folder, api_keys=KEY, temperature=1.0, threads=1)
    with TestClient(create_app(settings=lambda: settings), headers=HEADERS) as client:

        def answer(seed: int) -> tuple[int, Any]:
            found = client.post("/respond", json={"context": ["you like cats"], "seed": seed, "num_responses": 3})
            return found.status_code, found.json()

        def answers() -> list[Any]:
            return [answer(seed)[1] for seed in SEEDS]

        expected = [answers()]
        stop, found = threading.Event(), list[tuple[int, int, Any]]()

        def client_in_a_hurry(first: int) -> None:
            seed = first
            while not stop.is_set():
                found.append((seed, *answer(seed)))
                seed = (seed + 1) % len(SEEDS)

        with ThreadPoolExecutor(3) as pool:
            hurrying = [pool.submit(client_in_a_hurry, first) for first in range(3)]
            try:
                for version in (1, 0, 1):
                    versions[version].save(folder)
                    reloaded = client.post("/admin/reload")
                    assert reloaded.status_code == 200
                    assert reloaded.json()["models"][0]["checkpoint"] == f"tiny, step {3 + version}"
            finally:
                stop.set()
            assert [each.result() for each in hurrying] == [None] * 3
        expected.append(answers())
    assert all(old != new for old, new in zip(*expected, strict=True))
    assert {status for _, status, _ in found} == {200}
    by = [[body == each[seed] for each in expected] for seed, _, body in found]
    assert all(sum(each) == 1 for each in by)
    assert all(any(column) for column in zip(*by, strict=True))  # both models answered some


def test_requests_in_work_finish_on_the_old_model_which_is_then_freed(start, make_stub) -> None:
    models = [make_stub(), make_stub()]
    for number, each in enumerate(models):
        each.name = f"model {number}"
    new, old_is = models[1], weakref.ref(models[0])
    client = start(lambda _: models.pop(0))
    old = old_is()
    old.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(client.post, "/respond", json=ASKED)
        assert old.entered.wait(10)
        reloading = pool.submit(client.post, "/admin/reload")
        try:
            until = time.monotonic() + 10
            while client.get("/model").json()["name"] != "model 1":
                assert time.monotonic() < until
                time.sleep(0.01)
            assert client.post("/respond", json=ASKED).json()["model"] == "model 1"
            assert not reloading.done()
        finally:
            old.gate.set()
        assert working.result().json()["model"] == "model 0"
        assert reloading.result().json() == {
            "status": "reloaded",
            "models": [{"name": "model 1", "checkpoint": "model 1"}],
        }
    assert new.calls
    del old, working, reloading
    gc.collect()
    assert old_is() is None
    # A client that has the name of the old model is still answered.
    answer = client.post("/respond", json=ASKED | {"model": "model 0"})
    assert (answer.status_code, answer.json()["model"]) == (200, "model 1")


def test_a_full_queue_does_not_prevent_a_reload(start, make_stub) -> None:
    models = [make_stub(), make_stub()]
    models[1].name = "new"
    old, client = models[0], start(lambda _: models.pop(0), max_waiting=1)
    old.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(client.post, "/respond", json=ASKED)
        assert old.entered.wait(10)
        reloading = pool.submit(client.post, "/admin/reload")
        try:
            until = time.monotonic() + 10
            while client.get("/model").json()["name"] != "new":
                assert time.monotonic() < until
                time.sleep(0.01)
            assert client.post("/respond", json=ASKED).status_code == 503  # the old request has the only place
        finally:
            old.gate.set()
        assert working.result().status_code == reloading.result().status_code == 200
    assert client.post("/respond", json=ASKED).json()["model"] == "new"


def test_a_checkpoint_that_cannot_be_used_leaves_the_old_model(start, make_stub, capfd) -> None:
    broken = {"y": None}

    def load(asked: Settings) -> Any:
        error = broken.get(str(asked.checkpoint))
        if error is not None:
            raise error
        return make_stub()

    client = start(load, checkpoint="x,y")
    expected = client.post("/respond", json=ASKED | {"model": "y"}).json()
    broken["y"] = CheckpointError("y: model.safetensors is truncated")
    answer = client.post("/admin/reload")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/reload-failed")
    assert answer.json()["detail"] == "y: y: model.safetensors is truncated. 1 of 2 models were reloaded"
    assert client.post("/respond", json=ASKED | {"model": "y"}).json() == expected
    logged = capfd.readouterr().err
    assert "not reloaded" in logged
    assert "model.safetensors is truncated" in logged
    assert "Traceback" not in logged
    broken["y"] = MemoryError("private")
    assert client.post("/admin/reload").json()["detail"].startswith("y: MemoryError; the log has the traceback")
    assert "api/models.py" in capfd.readouterr().err
    broken["y"] = None
    assert client.post("/admin/reload").status_code == 200


def test_a_new_model_that_gives_no_reply_is_not_used(start, make_stub) -> None:
    old, silent = make_stub(), make_stub()
    old.name, silent.name = "old", "silent"
    silent.respond = lambda *_args, **_asked: []
    models = [old, silent]
    client = start(lambda _: models.pop(0))

    def threads_of_models() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name == "model"}

    before = threads_of_models()
    assert "gave no reply" in client.post("/admin/reload").json()["detail"]
    assert threads_of_models() <= before
    assert not models
    answer = client.post("/respond", json=ASKED)
    assert (answer.status_code, answer.json()["model"]) == (200, "old")


def test_reloads_run_one_at_a_time_and_those_that_wait_share_one(start, make_stub, monkeypatch) -> None:
    loading, entered, may = threading.Semaphore(1), threading.Event(), threading.Event()
    may.set()
    loads = []
    asked, all_asked, begin = [], threading.Event(), Models.reload

    def counted(self: Models) -> Any:
        asked.append(None)
        if len(asked) == 4:
            all_asked.set()
        return begin(self)

    monkeypatch.setattr(Models, "reload", counted)

    def load(_: Settings) -> Any:
        assert loading.acquire(blocking=False), "two at a time"
        loads.append(None)
        if len(loads) > 1:
            entered.set()
        assert may.wait(10)
        loading.release()
        return make_stub()

    client = start(load)
    may.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.post, "/admin/reload")
        assert entered.wait(10)
        others = [pool.submit(client.post, "/admin/reload") for _ in range(3)]
        assert client.post("/respond", json=ASKED).status_code == 200
        assert all_asked.wait(10)
        may.set()
        assert [each.result().status_code for each in (first, *others)] == [200] * 4
    assert len(loads) == 3  # the start, the first reload, and one for those that waited


def test_a_server_without_keys_refuses_and_one_with_keys_asks_for_one(start, make_stub) -> None:
    answer = start(lambda _: make_stub(), api_keys=None).post("/admin/reload")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/no-keys")
    client = start(lambda _: make_stub())
    assert client.post("/admin/reload", headers={"X-API-Key": "a-wrong-key-of-somebody"}).status_code == 401
    assert client.get("/admin/reload").status_code == 405


def test_one_of_several_workers_refuses_because_the_request_reaches_only_one(start, make_stub, monkeypatch) -> None:
    client = start(lambda _: make_stub())
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    answer = client.post("/admin/reload")
    assert answer.status_code == 409
    assert f"-P {os.getppid()} " in answer.json()["detail"]


class Counting:
    """Stands in for `Models`: counts reloads."""

    def __init__(self) -> None:
        self.reloads = 0

    async def reload(self) -> list[Any]:
        self.reloads += 1
        return []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_sighup_reloads_and_a_closed_terminal_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    before = signal.getsignal(signal.SIGHUP)
    handler = signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    async def scenario() -> int:
        models = Counting()
        with reload.at_hangup(models):  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.05)
            assert (models.reloads, ended) == (1, [])
            monkeypatch.setattr(reload, "_has_terminal", lambda: False)
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.05)
        return models.reloads

    try:
        monkeypatch.setattr(reload, "_has_terminal", lambda: True)
        assert asyncio.run(scenario()) == 1
        assert ended == [signal.SIGTERM]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        ended.clear()
        monkeypatch.setattr(reload, "_has_terminal", lambda: True)
        assert asyncio.run(scenario()) == 2
        assert ended == []
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.signal(signal.SIGHUP, before)
