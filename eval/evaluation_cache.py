"""What an evaluation keeps, and digests of everything that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dialog_cvae.data.cache import Arrays, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.storage.checkpoint import Checkpoint
from eval.latent.model_scores import ModelScores
from eval.reply_scores import ReplyScores

Texts = list[tuple[str, ...]]
"""The replies to each context."""


def digest(parts: Iterable[object]) -> str:
    """Of values whose `repr` tells all that they are."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def checkpoint_digest(checkpoint: Checkpoint) -> str:
    """Of what decides results: configuration, weights and tokenizer, and neither metrics nor card."""
    hashed = hashlib.sha256(checkpoint.config.model_dump_json().encode())
    for name, weight in sorted(checkpoint.weights.items()):
        hashed.update(f"{name} {weight.dtype} {weight.shape}\n".encode())
        hashed.update(np.ascontiguousarray(weight).tobytes())
    hashed.update(checkpoint.tokenizer.to_bytes())
    return hashed.hexdigest()


def source_digest(source: Path | str) -> str:
    """Of the content of a file, or of a name that is no file's."""
    if not Path(source).is_file():
        return str(source)
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code(*modules: str) -> str:
    """Changes with the source of these modules, with what they import, and with PyTorch."""
    return f"{code_digest(*modules)} {torch.__version__}"


def _json(content: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(content, allow_nan=False).encode(), dtype=np.uint8)


def _content(array: NDArray[Any]) -> Any:
    return json.loads(array.tobytes())


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """In memory: what lies in a file of an entry cannot be sent to another process once the entry has its place."""
    return np.array(array)


def _packed(figures: Mapping[str, Any], columns: Mapping[str, NDArray[np.float64]]) -> Arrays:
    return {"figures": _json(figures), "names": _json(list(columns)), "columns": np.array(list(columns.values()))}


def _columns(arrays: Arrays) -> dict[str, NDArray[np.float64]]:
    return dict(zip(_content(arrays["names"]), _own(arrays["columns"]), strict=True))


MODEL = Kind(
    "model",
    lambda scores: {**_packed(scores.figures, scores.columns), "posterior_mean": scores.posterior_mean},
    lambda arrays: ModelScores(_content(arrays["figures"]), _columns(arrays), _own(arrays["posterior_mean"])),
)
REPLIES: Kind[Texts] = Kind(
    "replies",
    lambda texts: {"texts": _json(texts)},
    lambda arrays: [tuple(replies) for replies in _content(arrays["texts"])],
)
SCORES = Kind(
    "scores",
    lambda scores: _packed(scores.figures, scores.columns),
    lambda arrays: ReplyScores(_content(arrays["figures"]), _columns(arrays)),
)
