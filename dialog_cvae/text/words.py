"""What counts as a word, and when two replies are the same."""

from __future__ import annotations

import re


def normalised(text: str) -> str:
    """What makes two replies the same: their words, without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()
