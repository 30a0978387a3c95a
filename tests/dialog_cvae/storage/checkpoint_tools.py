"""Checkpoints for tests: compared, and changed as another version might change them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import CARD, CONFIG, METRICS, TOKENIZER, WEIGHTS

PARTS = (CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD)


def resealed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change `config.json` and give it the checksum that fits, as a newer version of this package might."""
    content = json.loads((path / CONFIG).read_bytes())
    del content["checksum"]
    change(content)
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (path / CONFIG).write_text(json.dumps(content), encoding="utf-8")


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.config == expected.config
    assert found.tokenizer.to_bytes() == expected.tokenizer.to_bytes()
    assert (found.metrics, found.card) == (expected.metrics, expected.card)
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
