"""What the command lines of this package share: arguments with limits, and refusals of one line."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as every other error is told; exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, without the usage."""
        self.exit(2, f"error: {message} (see --help)\n")


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
