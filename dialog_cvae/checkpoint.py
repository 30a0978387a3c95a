"""The one checkpoint format: a folder that holds everything a reply needs.

    config.json        sizes, topics, what it was fitted on, and the SHA-256 of the files beside it
    model.safetensors  the weights
    tokenizer.model    the SentencePiece model
    metrics.json       what was measured
    README.md          the model card

`config.json` carries a checksum of its own, so that no single changed byte goes unnoticed. The folder is written beside
its place and then renamed into it; readers never see half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_weights
from safetensors.numpy import save as serialise_weights

from dialog_cvae.config import Config, ModelConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.tokenizer import Tokenizer

FORMAT = 1
WEIGHTS, TOKENIZER, CONFIG, METRICS, CARD = (
    "model.safetensors",
    "tokenizer.model",
    "config.json",
    "metrics.json",
    "README.md",
)


class Provenance(Config):
    """What a model was fitted on and how."""

    data: str = Field(description="name of the corpus; says so if it is synthetic")
    style: str | None = Field(None, description="text style, where the corpus has several")
    licence: str | None = Field(None, description="licence that the text puts on the weights")
    step: int = Field(0, ge=0, description="optimiser updates")
    fit: dict[str, Any] = Field(default_factory=dict, description="the full training configuration")


class CheckpointConfig(Config):
    """The content of `config.json`, less the hashes."""

    format: int = Field(FORMAT, description="version of this format")
    model: ModelConfig
    vocab_size: int = Field(ge=1, description="rows of the embedding, special tokens included")
    topics: tuple[str, ...] = Field(description="known topics, in the order of their embedding after `<unknown>`")
    provenance: Provenance


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory; `weights` maps parameter names to arrays."""

    config: CheckpointConfig
    weights: Mapping[str, NDArray[Any]]
    tokenizer: Tokenizer
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""

    def save(self, path: Path) -> None:
        """Write the folder `path`, replacing what is there only once the new one is complete."""
        parts: dict[str, bytes] = {
            WEIGHTS: serialise_weights({name: np.ascontiguousarray(w) for name, w in self.weights.items()}),
            TOKENIZER: self.tokenizer.to_bytes(),
        }
        content = self.config.model_dump(mode="json") | {"files": {name: _sha256(data) for name, data in parts.items()}}
        content["checksum"] = _checksum(content)
        parts[CONFIG] = _json_bytes(content)
        parts[METRICS] = _json_bytes(dict(self.metrics))
        parts[CARD] = self.card.encode()
        replace_folder(path, parts)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read and verify a checkpoint folder.

        Raises:
            CheckpointError: naming the part that is missing, truncated, changed or of another format.
        """
        folder = Path(path)
        if not folder.is_dir():
            folder = _previous(folder)
        if not folder.is_dir():
            raise CheckpointError(f"{path}: no checkpoint folder there")
        content = _read_config(folder / CONFIG)
        hashes = content.pop("files")
        try:
            config = CheckpointConfig.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise CheckpointError(f"{folder / CONFIG}: field {place}: {first['msg']}") from None
        parts = {name: _read_verified(folder / name, hashes.get(name)) for name in (WEIGHTS, TOKENIZER)}
        try:
            weights: dict[str, NDArray[Any]] = load_weights(parts[WEIGHTS])
        except (SafetensorError, KeyError) as error:
            raise CheckpointError(f"{folder / WEIGHTS}: not a readable safetensors file ({error})") from None
        try:
            tokenizer = Tokenizer.from_bytes(parts[TOKENIZER])
        except CheckpointError as error:
            raise CheckpointError(f"{folder / TOKENIZER}: {error}") from None
        if len(tokenizer) != config.vocab_size:
            raise CheckpointError(
                f"{folder / TOKENIZER}: has {len(tokenizer)} pieces, but {CONFIG} says vocab_size {config.vocab_size}"
            )
        return cls(config, weights, tokenizer, _read_metrics(folder / METRICS), _read_text(folder / CARD))


def replace_folder(path: Path, parts: Mapping[str, bytes]) -> None:
    """Write files into a new folder and put it in the place of `path`.

    The old folder steps aside for the moment between two renames; if the process dies there, `Checkpoint.load` finds it
    under its side name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, previous = path.with_name(f".{path.name}.new"), _previous(path)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, data in parts.items():
        with (fresh / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        path.rename(previous)
    fresh.rename(path)
    shutil.rmtree(previous, ignore_errors=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers see either the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content in a canonical spelling, itself left out."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return _sha256(json.dumps(rest, sort_keys=True, ensure_ascii=True).encode())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _read_verified(path: Path, expected: object) -> bytes:
    data = _read_bytes(path)
    if (found := _sha256(data)) != expected:
        raise CheckpointError(
            f"{path}: truncated or changed: its SHA-256 is {found[:12]}..., {CONFIG} says {str(expected)[:12]}..."
        )
    return data


def _read_config(path: Path) -> dict[str, Any]:
    """The verified content of `config.json`, without its checksum."""
    try:
        content = json.loads(_read_bytes(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise CheckpointError(f"{path}: not a checkpoint's configuration (no field `files`)")
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {content.get('format')!r}; this version reads format {FORMAT}")
    if content.pop("checksum", None) != _checksum(content):
        raise CheckpointError(f"{path}: changed since it was written (its checksum does not fit)")
    return content


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not UTF-8 text") from None


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(_read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(metrics, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not {type(metrics).__name__}")
    return metrics
