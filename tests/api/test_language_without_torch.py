"""Adapters are served, talked with and exported where neither PyTorch nor transformers can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dialog_cvae.storage.checkpoint import Checkpoint
from tests.dialog_cvae.generate.naive_language import language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf

ROOT = Path(__file__).parents[2]
BLOCKED = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft"):
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refused())
"""
SERVE = """
import json, sys
from fastapi.testclient import TestClient
from api.app import create_app
from api.settings import read_settings

with TestClient(create_app()) as client:
    about = client.get("/model").json()
    body = {"context": ["hello"], "topic": "anything", "num_responses": 2, "seed": 1}
    answers = [client.post("/respond", json=body).json() for _ in range(2)]
    assert client.get("/").status_code == 200
print(json.dumps([about, answers]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the backbone in `tiny.gguf` and the checkpoint in `best`."""
    path = tmp_path_factory.mktemp("lm")
    language_checkpoint(write_gguf(path / "tiny.gguf", drawn())).save(path / "best")
    return path


def run(folder: Path, code: str, given: str = "") -> str:
    """What a program prints, PyTorch being blocked."""
    environment = os.environ | {
        "DIALOG_CVAE_CHECKPOINT": str(folder / "best"),
        "DIALOG_CVAE_BACKBONE": str(folder / "tiny.gguf"),
        "DIALOG_CVAE_THREADS": "1",
    }
    command = [sys.executable, "-c", BLOCKED + code]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_is_served(folder: Path) -> None:
    about, answers = json.loads(run(folder, SERVE).splitlines()[-1])
    assert about["free_topic"] is True
    assert about["name"] == "tiny on tiny, step 3"
    assert answers[0] == answers[1]
    assert len(answers[0]["responses"]) == 2
    assert answers[0]["topic"] == "anything"


def test_it_is_talked_with(folder: Path) -> None:
    code = f"from api.chat import main; sys.exit(main(['--checkpoint', {str(folder / 'best')!r}, '-n', '2']))"
    lines = run(folder, code, "hello\n1\n").splitlines()
    assert lines[0].startswith("  1  ")
    assert lines[-1] == f"B> {lines[0].removeprefix('  1  ')}"


def test_it_is_exported(folder: Path, tmp_path: Path) -> None:
    arguments = [str(folder / "best"), str(tmp_path / "small"), "--drop-bow"]
    printed = run(folder, f"from training.export import main; sys.exit(main({arguments!r}))")
    assert "to serve it, the language model tiny is needed" in printed
    assert Checkpoint.load(tmp_path / "small").config.provenance.changes[0] == "bag-of-words head left out"
