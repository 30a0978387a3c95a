"""The path of a run's saved state; unlike `training.state`, it does not import PyTorch."""

from __future__ import annotations

from pathlib import Path

STATE_FILE = Path("state") / "training.safetensors"
