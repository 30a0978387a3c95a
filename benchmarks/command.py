"""How every benchmark ends: a table for people, a file for programs, errors of one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dialog_cvae.checkpoint import write_atomically
from dialog_cvae.errors import DialogCvaeError


def tell(measured: Callable[[], dict[str, Any]], table: Callable[[dict[str, Any]], str], file: Path | None) -> int:
    """Measure and tell; returns the exit status: 0 done, 2 refused or failed, 130 interrupted.

    Args:
        measured: gives the figures by name.
        table: of the figures, for people.
        file: where the figures are written as JSON, if anywhere.
    """
    try:
        figures = measured()
        print(table(figures))
        if file is not None:
            write_atomically(file, (json.dumps(figures, indent=2) + "\n").encode())
    except (DialogCvaeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
