"""Digests for the caches of evaluations, and how their entries are stored.

Open it to learn when a cached result is valid. An entry is stored with digests of everything that it depends on. For
code, that is the module that computes the entry, with everything that this module imports. So a module that calls
`code` should import nothing that its entry does not depend on.
"""

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

Texts = list[tuple[str, ...]]
"""The replies to each context."""

ScoredTexts = list[tuple[tuple[str, ...], tuple[float, ...]]]
"""The replies to each context with their scores; see `AnsweredContext.scores`."""

Columns = dict[str, NDArray[np.float64]]
"""Scores by name; arrays of one length."""


def digest(parts: Iterable[object]) -> str:
    """Digest of values whose `repr` describes them completely."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def checkpoint_digest(checkpoint: Checkpoint) -> str:
    """Digest of what a checkpoint's results depend on: configuration, weights, tokenizer, replies and common words."""
    hashed = hashlib.sha256(checkpoint.config.model_dump_json().encode())
    for name, weight in sorted(checkpoint.weights.items()):
        hashed.update(f"{name} {weight.dtype} {weight.shape}\n".encode())
        hashed.update(np.ascontiguousarray(weight).tobytes())
    hashed.update(checkpoint.tokenizer.to_bytes())
    for part in (checkpoint.replies, checkpoint.common):
        if part is not None:
            hashed.update(part.to_bytes())
    return hashed.hexdigest()


def source_digest(source: Path | str) -> str:
    """Digest of a file's content; a name that is not a file is returned as it is."""
    if not Path(source).is_file():
        return str(source)
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code(*modules: str) -> str:
    """Digest of these modules, of all that they import, and of PyTorch's version."""
    return f"{code_digest(*modules)} {torch.__version__}"


def pack_json(content: object) -> NDArray[np.uint8]:
    """JSON as an array, for an entry of a cache."""
    return np.frombuffer(json.dumps(content, allow_nan=False).encode(), dtype=np.uint8)


def unpack_json(array: NDArray[Any]) -> Any:
    """The reverse of `pack_json`."""
    return json.loads(array.tobytes())


def in_memory(array: NDArray[Any]) -> NDArray[Any]:
    """A copy in memory: an array that is mapped from a cache's file cannot be sent to another process."""
    return np.array(array)


def pack_scores(figures: Mapping[str, Any], columns: Columns) -> Arrays:
    """Figures, and the scores behind them, as arrays."""
    return {
        "figures": pack_json(figures),
        "names": pack_json(list(columns)),
        "columns": np.array(list(columns.values())),
    }


def unpack_scores(arrays: Arrays) -> tuple[dict[str, Any], Columns]:
    """The reverse of `pack_scores`."""
    columns = dict(zip(unpack_json(arrays["names"]), in_memory(arrays["columns"]), strict=True))
    return unpack_json(arrays["figures"]), columns


def texts_kind(name: str) -> Kind[Texts]:
    """How replies are stored."""
    return Kind(
        name,
        lambda texts: {"texts": pack_json(texts)},
        lambda arrays: [tuple(replies) for replies in unpack_json(arrays["texts"])],
    )


REPLIES, GREEDY = texts_kind("replies"), texts_kind("greedy")

SCORED_REPLIES: Kind[ScoredTexts] = Kind(
    "scored_replies",
    lambda found: {"replies": pack_json(found)},
    lambda arrays: [(tuple(texts), tuple(scores)) for texts, scores in unpack_json(arrays["replies"])],
)
