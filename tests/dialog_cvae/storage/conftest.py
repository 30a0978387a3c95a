"""A checkpoint on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.storage.checkpoint import Checkpoint


@pytest.fixture
def saved(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "best"
    tiny_checkpoint.save(path)
    return path
