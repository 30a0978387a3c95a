"""Read the lines of a text file, with their numbers.

Open it to change which text files are refused.
"""

from __future__ import annotations

from pathlib import Path

from dialog_cvae.errors import DataError


def numbered(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, each with its 1-based number.

    Raises:
        DataError: the file cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(path, "not UTF-8", content[: error.start].count(b"\n") + 1) from None
    return [(number, text) for number, line in enumerate(lines, start=1) if (text := line.strip())]
