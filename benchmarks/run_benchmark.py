"""Runs a benchmark as a command: prints its table, writes its figures to a file, and shows errors as one line.

Open it to change how every benchmark prints and stores its figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dialog_cvae.cli import exit_status
from dialog_cvae.storage.files import write_atomically

Figures = dict[str, Any]


def run_benchmark(measure: Callable[[], Figures], table: Callable[[Figures], str], file: Path | None) -> int:
    """Measure and report; returns the exit status: 0 success, 2 invalid arguments or failure, 130 interrupted.

    Args:
        measure: returns the figures by name.
        table: formats the figures for the terminal.
        file: file for the figures as JSON; None writes none.
    """

    def run() -> int:
        figures = measure()
        print(table(figures))
        if file is not None:
            write_atomically(file, (json.dumps(figures, indent=2) + "\n").encode())
        return 0

    return exit_status(run)
