"""`dialog-cvae serve`: the arguments that uvicorn receives, and refusals."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api import serve
from api.http_protocol import PortionedProtocol
from api.settings import KEYS, PREFIX, Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each call of uvicorn, which starts no server here."""
    calls: list[dict[str, Any]] = []
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", "")  # so that variables which a command sets are removed again
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append({"app": app, **options}))
    return calls


def test_the_named_checkpoint_is_served(started: list[dict[str, Any]], tmp_path: Path) -> None:
    options = ["--host", "0.0.0.0", "--port", "80", "--workers", "3", "--root-path", "/dialog"]
    assert serve.main([str(tmp_path), *options]) == serve.STARTUP_FAILURE, "no signal stopped it"
    expected = {"app": "api.app:app", "host": "0.0.0.0", "port": 80, "workers": 3, "root_path": "/dialog"}
    waits = math.ceil(Settings.model_fields["timeout_s"].default + Settings.model_fields["body_timeout_s"].default)
    (call,) = started
    assert call.pop("log_config")["loggers"]["uvicorn"]["handlers"] == ["stderr"]
    assert call == expected | {"http": PortionedProtocol, "timeout_graceful_shutdown": waits}
    assert os.environ["DIALOG_CVAE_CHECKPOINT"] == str(tmp_path)


def test_workers_that_a_signal_stops_end_well(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(_app: str, **_options: Any) -> None:
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)

    monkeypatch.setattr(uvicorn, "run", run)
    assert serve.main([str(tmp_path), "--workers", "2"]) == 0


@pytest.mark.parametrize("name", KEYS)
def test_an_empty_variable_for_keys_does_not_open_the_service(
    started: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setenv(name, "")
    assert serve.main([str(tmp_path)]) == 2
    assert f"{name} is empty" in capsys.readouterr().err
    assert started == []


@pytest.mark.parametrize(("given", "passed"), [("/", ""), ("dialog", "/dialog"), ("/a/b/", "/a/b")])
def test_a_root_path_has_a_slash_before_it_and_none_after_it(
    started: list[dict[str, Any]], tmp_path: Path, given: str, passed: str
) -> None:
    assert serve.main([str(tmp_path), "--root-path", given]) == 0
    assert [each["root_path"] for each in started] == [passed]


def test_the_number_of_workers_is_checked_where_a_variable_gives_it(
    started: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for given, status in (("abc", 2), ("0", 2), ("", 0), ("1", 0)):
        monkeypatch.setenv("WEB_CONCURRENCY", given)
        assert serve.main([str(tmp_path)]) == status
        assert ("WEB_CONCURRENCY: " in capsys.readouterr().err) == bool(status)
    assert [each["workers"] for each in started] == [1, 1]


def test_several_checkpoints_are_served_under_their_names(started: list[dict[str, Any]], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    assert serve.main([str(folders[0]), f"mine={folders[1]}"]) == 0
    assert os.environ["DIALOG_CVAE_CHECKPOINT"] == f"{folders[0]},mine={folders[1]}"
    assert len(started) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{}", "{}"], "are both called"),
        (["a={}", "b=nowhere"], "nowhere: there is no such folder"),
        (["a b={}"], "'a b' must be a name of"),
    ],
)
def test_several_checkpoints_that_cannot_be_served_are_refused_in_one_line(
    started: list[dict[str, Any]], tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main([each.format(tmp_path) for each in arguments]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1
    assert started == []


def test_without_an_argument_the_variable_names_the_checkpoint(
    started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", str(tmp_path))
    assert serve.main([]) == 0
    (call,) = started
    assert (call["host"], call["port"], call["workers"]) == ("127.0.0.1", 8000, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "error: no checkpoint: give the folder of one"), (["nowhere"], "error: nowhere: there is no such folder\n")],
)
def test_without_a_checkpoint_the_error_says_what_to_give(
    started: list[dict[str, Any]], arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main(arguments) == 2
    assert capsys.readouterr().err.startswith(words)
    assert started == []


def test_an_invalid_setting_is_refused_before_any_worker_starts(
    started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIALOG_CVAE_THREADS", "many")
    assert serve.main([str(tmp_path), "--workers", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: DIALOG_CVAE_THREADS: ")
    assert started == []


@pytest.mark.parametrize("option", ["--port=65536", "--workers=0", "--port=http"])
def test_numbers_have_limits(started: list[dict[str, Any]], option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main([".", option])
    assert ended.value.code == 2
    assert "must be a whole number from" in capsys.readouterr().err
