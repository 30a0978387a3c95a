"""The clock in chats: the halves of a 12-hour day, as each language writes them.

Open this to add a language.
"""

from __future__ import annotations

import re
from typing import Final

_MORNING: Final = (
    *("am", "a.m.", "a. m.", "a.\u00a0m.", "öö", "πμ", "π.μ.", "पूर्वाह्न", "de.", "sa", "pg", "ص"),
    *("午夜", "凌晨", "清晨", "早上", "上午", "午前", "오전"),
    *("முற்பகல்", "ಪೂರ್ವಾಹ್ನ", "ਪੂ.ਦੁ.", "පෙ.ව.", "နံနက်", "ព្រឹក", "ጥዋት", "e paradites"),
)
_EVENING: Final = (
    *("pm", "p.m.", "p. m.", "p.\u00a0m.", "ös", "μμ", "μ.μ.", "अपराह्न", "du.", "ch", "ptg", "م"),
    *("中午", "下午", "傍晚", "晚上", "午後", "오후"),
    *("பிற்பகல்", "ಅಪರಾಹ್ನ", "ਬਾ.ਦੁ.", "ප.ව.", "ညနေ", "ល្ងាច", "ከሰዓት", "e pasdites"),
)
# One of them, in any case.
HALF: Final = "|".join(re.escape(each) for each in sorted((*_MORNING, *_EVENING), key=len, reverse=True))


def hour_of_day(hour: int, half: str | None) -> int:
    """The hour from 0 to 23 of a clock; `half` is None for one of 24 hours."""
    if half is None:
        return hour
    return hour % 12 + (12 if half.lower() in _EVENING else 0)
