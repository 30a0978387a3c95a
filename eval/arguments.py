"""What the command lines of this package share: arguments with limits."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable


def whole(low: int, high: int) -> Callable[[str], int]:
    """What turns an argument into a whole number from `low` to `high`."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, but is {text}")
        return int(text)

    return convert


def real(low: float, high: float, *, or_zero: bool = False) -> Callable[[str], float]:
    """What turns an argument into a number from `low` to `high`, or 0 where that is meant."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise argparse.ArgumentTypeError(f"must be {zero}from {low:g} to {high:g}, but is {text}")
        return value

    return convert
