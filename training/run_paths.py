"""The path of a run's saved state; unlike `training.state`, it does not import PyTorch.

Open it to change where in a run's folder the state is saved.
"""

from __future__ import annotations

from pathlib import Path

STATE_FILE = Path("state") / "training.safetensors"
