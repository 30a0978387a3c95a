"""The word filter: replies that contain a listed word or phrase are never returned.

Open it to change how words are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import regex

from api.settings import Settings
from dialog_cvae.errors import ConfigError
from dialog_cvae.text.words import between_words, seen_words

COMMENT = "#"
# Not punctuation as in a sentence. People write such characters in place of letters, or as a part of a name: s**t, C++.
_SYMBOL = regex.compile(r"[^\p{P}`]|[*#%&@\\]", regex.V1)
_LOOSE_UNDERSCORE = regex.compile(r"(?<![\w--_])_|_(?![\w--_])", regex.V1)


def configured_filter(settings: Settings) -> Callable[[str], bool] | None:
    """The filter that the settings name; None: there is none.

    Raises:
        ConfigError: see `read_filter`.
    """
    return None if settings.blocked_words is None else read_filter(settings.blocked_words)


def read_filter(path: Path) -> Callable[[str], bool]:
    """A function that says whether a reply contains none of the words and phrases listed in a file.

    Whole words are compared, as a reader sees them: case, punctuation, spacing, invisible marks and skin tones are
    ignored. The entry `bad word` refuses "Bad, word!", but not "bad wording". An entry with other symbols, such as
    `s**t`, is refused: without them, it would refuse other replies than the operator expects.

    Args:
        path: UTF-8 text, one word or phrase per line; empty lines and lines whose first character is # are ignored.

    Raises:
        ConfigError: the file can't be read, lists nothing, or has a line without a word or with a symbol.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})") from None
    entries = set()
    for number, line in enumerate(lines, 1):
        written = line.strip()
        if written and not written.startswith(COMMENT):
            entries.add(_entry(written, f"{path}, line {number}"))
    if not entries:
        raise ConfigError(f"{path}: contains no word; to filter nothing, leave DIALOG_CVAE_BLOCKED_WORDS unset")
    lengths = sorted({len(entry) for entry in entries})
    return lambda text: not _contains(text, entries, lengths)


def _entry(written: str, where: str) -> tuple[str, ...]:
    """The words of an entry.

    Raises:
        ConfigError: there are none, or there are symbols beside them.
    """
    entry, shown = tuple(seen_words(written)), written[:40]
    if not entry:
        raise ConfigError(f"{where}: {shown!r} contains no word")
    if found := _SYMBOL.search(between_words(written)) or _LOOSE_UNDERSCORE.search(written):
        means = " ".join(entry)[:40]
        raise ConfigError(
            f"{where}: {shown!r} contains {found[0]!r}, which the filter ignores, so every {means!r} would be refused; "
            "write words without symbols"
        )
    return entry


def _contains(text: str, entries: set[tuple[str, ...]], lengths: list[int]) -> bool:
    said = seen_words(text)
    return any(
        tuple(said[start : start + length]) in entries for length in lengths for start in range(len(said) - length + 1)
    )
