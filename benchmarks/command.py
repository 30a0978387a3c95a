"""How every benchmark ends: a table for people, a file for programs, errors of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dialog_cvae.cli import exit_status
from dialog_cvae.storage.files import write_atomically


def tell(measured: Callable[[], dict[str, Any]], table: Callable[[dict[str, Any]], str], file: Path | None) -> int:
    """Measure and tell; returns the exit status: 0 done, 2 refused or failed, 130 interrupted.

    Args:
        measured: gives the figures by name.
        table: of the figures, for people.
        file: where the figures are written as JSON, if anywhere.
    """

    def run() -> int:
        figures = measured()
        print(table(figures))
        if file is not None:
            write_atomically(file, (json.dumps(figures, indent=2) + "\n").encode())
        return 0

    return exit_status(run)
