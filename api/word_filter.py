"""The word filter: replies that contain a listed word or phrase are never returned.

Open it to change how words are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from api.settings import Settings
from dialog_cvae.errors import ConfigError
from dialog_cvae.text.words import seen_words

COMMENT = "#"


def configured_filter(settings: Settings) -> Callable[[str], bool] | None:
    """The filter that the settings name; None: there is none.

    Raises:
        ConfigError: see `read_filter`.
    """
    return None if settings.blocked_words is None else read_filter(settings.blocked_words)


def read_filter(path: Path) -> Callable[[str], bool]:
    """A function that says whether a reply contains none of the words and phrases listed in a file.

    Whole words are compared, as a reader sees them: case, punctuation, spacing, invisible marks and skin tones are
    ignored. The entry `bad word` refuses "Bad, word!", but not "bad wording".

    Args:
        path: UTF-8 text, one word or phrase per line; empty lines and lines that begin with # are ignored.

    Raises:
        ConfigError: the file can't be read, lists nothing, or has a line without a word.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})") from None
    entries = set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(COMMENT):
            continue
        entry = tuple(seen_words(line))
        if not entry:
            raise ConfigError(f"{path}, line {number}: {line.strip()[:40]!r} contains no word")
        entries.add(entry)
    if not entries:
        raise ConfigError(f"{path}: contains no word; to filter nothing, leave DIALOG_CVAE_BLOCKED_WORDS unset")
    lengths = sorted({len(entry) for entry in entries})
    return lambda text: not _contains(text, entries, lengths)


def _contains(text: str, entries: set[tuple[str, ...]], lengths: list[int]) -> bool:
    said = seen_words(text)
    return any(
        tuple(said[start : start + length]) in entries for length in lengths for start in range(len(said) - length + 1)
    )
