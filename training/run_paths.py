"""Where the two parts of a run's folder are that other programs open. Needs no PyTorch, unlike what writes them."""

from __future__ import annotations

from pathlib import Path

from dialog_cvae.storage.checkpoint import BEST

BEST_FOLDER = BEST
STATE_FILE = Path("state") / "training.safetensors"
