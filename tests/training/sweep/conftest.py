"""A cell of the tiny runs, for tests of the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.tiny_runs import CONFIG
from training.sweep.cells import Cell, grid, parse_axis


@pytest.fixture
def cell(corpus_file: Path) -> Cell:
    return grid("paper", [parse_axis("schedule=cyclical")], (0,), {"corpus": {"name": str(corpus_file)}}, CONFIG)[0]
