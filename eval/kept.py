"""What an evaluation keeps, and digests of everything that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import dialog_cvae
from dialog_cvae.checkpoint import Checkpoint
from dialog_cvae.data.cache import Arrays, Kind
from eval.model_scores import ModelScores
from eval.reply_scores import ReplyScores

Texts = list[tuple[str, ...]]
"""The replies to each context."""

# Modules beside this one that decide a part.
MODEL_CODE = ("model_scores", "likelihood", "latent", "generation", "contexts")
REPLIES_CODE = ("generation", "contexts")
BASELINES_CODE = ("baselines", "similarity", "contexts", "generation", "tokens")
REFERENCES_CODE = (
    *("built_references", "reference_builder", "reply_filter", "similarity"),
    *("multi_reference", "reference_file", "contexts", "tokens"),
)
SCORES_CODE = (
    *("reply_scores", "single_reference", "multi_reference", "baselines", "contexts", "acts", "human"),
    *("reference_file", "similarity", "generation"),
    *("bleu", "embedding", "matching", "diversity", "tokens"),
)


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


@cache
def model_code(*modules: str) -> str:
    """Changes with the code that computes with a model: the whole core, PyTorch, and these modules beside this one."""
    package = Path(dialog_cvae.__file__).parent
    return " ".join((_sources(sorted(package.rglob("*.py"))), code(*modules), torch.__version__))


@cache
def code(*modules: str) -> str:
    """Changes with the source of these modules beside this one."""
    return _sources([Path(__file__).with_name(f"{name}.py") for name in modules])


def _sources(files: Iterable[Path]) -> str:
    return digest((path.name, path.read_bytes()) for path in files)


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
