"""The notebooks run from their first cell to their last, without Jupyter and with fewer steps of training."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 100_000  # limit for a notebook with its outputs
FEWER = ("STEPS = 240\n", "STEPS = 4\n")


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of axes of each figure shown."""
    shown: list[int] = []

    def show() -> None:
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
            shown.append(len(plt.figure(number).axes))
        plt.close("all")

    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", show)
    return shown


def test_the_latent_code(figures: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(FOLDER)
    names: dict[str, Any] = {"__name__": "__main__"}
    shorter = 0
    for number, cell in enumerate(cells(FOLDER / "latent-code.ipynb")):
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            shorter += text.count(FEWER[0])
            exec(compile(text.replace(*FEWER), f"cell {number}", "exec"), names)
    assert shorter == 1
    assert figures == [2, 1, 1, 2]
    # what the text between the cells says
    cost = names["cost"].nll
    assert cost[1].mean() > cost[10].mean() > cost[100].mean()
    assert (cost[1] >= cost[100]).all()
    assert names["nats"].sum(1).argmax() == 3  # the reply from nowhere
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("z at the mean of the prior, five times:")
    assert len(set(lines[at - 6 : at - 1])) == 5
    assert len(ast.literal_eval(lines[at + 1])) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_small_and_names_no_machine(path: Path) -> None:
    assert path.stat().st_size <= MOST_BYTES
    for cell in cells(path):
        assert all("/root" not in line and "/home" not in line for line in cell["source"])
        assert cell["cell_type"] == "markdown" or cell["execution_count"] is None
