"""When two replies count as the same."""

from __future__ import annotations

import re


def normalised(text: str) -> str:
    """The words of a reply without case, punctuation and spacing: equal for replies that count as the same."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()
