"""Where the state of a run is. Needs no PyTorch, unlike what writes it."""

from __future__ import annotations

from pathlib import Path

STATE_FILE = Path("state") / "training.safetensors"
