"""Placeholders that stand in a text where personal data was, such as `<EMAIL>`; tokenizers keep them whole.

Open this to add a kind of placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

EMAIL, PHONE, LINK, CARD, ACCOUNT, NAME = PLACEHOLDERS = (
    "<EMAIL>",
    "<PHONE>",
    "<LINK>",
    "<CARD>",
    "<ACCOUNT>",
    "<NAME>",
)
_PLACEHOLDER: Final = re.compile(f"({'|'.join(PLACEHOLDERS)})")


def without_placeholders(text: str) -> str:
    """The text with a space for each placeholder."""
    return _PLACEHOLDER.sub(" ", text) if "<" in text else text


def split_at_placeholders(text: str) -> Iterator[str]:
    """The parts of a text between placeholders, and the placeholders, in their order; joined they are the text."""
    return iter(_PLACEHOLDER.split(text) if "<" in text else (text,))
