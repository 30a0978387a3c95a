"""Shared by the tests of training: a tiny corpus and configuration, and functions to read and compare runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from training.state import STATE_FILE

SIZES = ("embedding", "utterance", "context", "decoder", "topic", "prior", "bow")
CONFIG: dict[str, Any] = {
    "model": {f"{name}_size": 8 for name in SIZES} | {"latent_size": 4},
    "train": {
        "max_steps": 12,
        "batch_size": 7,
        "log_every": 1,
        "save_every": 4,
        "validate_every": 3,
        "early_stopping": False,
        "threads": 1,
    },
}


class Outcome(NamedTuple):
    """The exit status and output of a command."""

    status: int
    out: str
    error: str

    @property
    def complaint(self) -> str:
        """The error line of an invalid command."""
        assert self.status == 2, self
        assert self.error.startswith("error: ")
        assert self.error.count("\n") == 1
        return self.error.removeprefix("error: ").rstrip("\n")


Fit = Callable[..., Outcome]


def of_corpus(path: Path, options: Sequence[object]) -> list[object]:
    """The options, with this corpus unless they name one."""
    return [*options] if "--data" in options else ["--data", path, *options]


def without_report(options: Sequence[object]) -> list[str]:
    """The words of a command line, whose run measures its model at the end only if they say so."""
    words = [str(option) for option in options]
    return words if "--report" in words else [*words, "--no-report"]


class Killed(BaseException):
    """Simulates kill -9: no code in training catches it, so nothing is saved."""


def conversation(index: int, topics: tuple[str | None, ...] = ("PETS", "WEATHER", None)) -> dict[str, Any]:
    """One line of a user's corpus; some have no topic, some have profiles."""
    rng = random.Random(index)
    words = ["you", "me", "cats", "dogs", "rain", "sun", "now", "here"]
    utterances = [
        {"speaker": "AB"[turn % 2], "text": " ".join(rng.choice(words) for _ in range(rng.randint(1, 5)))}
        for turn in range(rng.randint(2, 6))
    ]
    profiles = {"A": {"sex": "female", "age": 30 + index}} if index % 2 else {}
    return {"topic": topics[index % len(topics)], "utterances": utterances, "speakers": profiles}


def write_corpus(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def metrics(out: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind, read as strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records: list[dict[str, Any]] = [json.loads(line, parse_constant=refuse) for line in lines]
    return [record for record in records if record["kind"] == kind]


def state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / STATE_FILE)


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, moments, best checkpoint and metrics are equal bit for bit."""
    ours, theirs = state(one), state(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    for part in ("best/model.safetensors", "best/metrics.json", "metrics.jsonl", "topics.json", "tokenizer.model"):
        assert (one / part).read_bytes() == (other / part).read_bytes(), part
