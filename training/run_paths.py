"""Where the two parts of a run's folder are that other programs open. Needs no PyTorch, unlike what writes them."""

from __future__ import annotations

from pathlib import Path

BEST_FOLDER = "best"
STATE_FILE = Path("state") / "training.safetensors"
