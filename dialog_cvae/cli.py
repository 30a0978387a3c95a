"""The shared parts of all command lines: one-line errors, exit statuses, and arguments with limits.

Open it to change an exit status or the form of error messages, or to add a kind of argument with limits.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from dialog_cvae.errors import DialogCvaeError

_CORPUS_OPTIONS = ("--data", "--corpus.name")
_RENAMED: ContextVar[tuple[str, str]] = ContextVar("renamed", default=("", ""))  # old and new name of a program


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, like all other errors, and exits with status 2.

    Args:
        prog: name of the program in its usage, unless `renamed` replaces it.
        options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        old, new = _RENAMED.get()
        super().__init__(new + prog.removeprefix(old) if prog and old and prog.startswith(old) else prog, **options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse as usual, but refuse a second corpus: the last one would silently replace the others."""
        words = sys.argv[1:] if args is None else list(args)
        given = [word for word in words if word.partition("=")[0] in _CORPUS_OPTIONS]
        if len(given) > 1:
            self.error(f"{' and '.join(given)}: a command takes one corpus; put several files into one")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, without the usage."""
        self.exit(2, f"error: {message} (see --help)\n")


@contextmanager
def renamed(old: str, new: str) -> Iterator[None]:
    """Let parsers that are made within the block show another program name in their usage.

    Args:
        old: how their program name begins, such as "python -m training.fit".
        new: what to show instead.
    """
    token = _RENAMED.set((old, new))
    try:
        yield
    finally:
        _RENAMED.reset(token)


def print_any_text() -> None:
    """Let standard output and error show characters that their encoding lacks as escapes, instead of failing.

    Redirected to a file, they have an old 8-bit encoding on Windows; names and replies may have any character.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def exit_status(run: Callable[[], int], interrupted: str = "interrupted") -> int:
    """The result of `run`; 2 after a one-line message for an error of the user or operating system; 130 after Ctrl-C.

    Args:
        run: the work of a command line.
        interrupted: message after Ctrl-C.
    """
    try:
        return run()
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 128 + signal.SIGINT


def whole(low: int, high: int) -> Callable[[str], int]:
    """A converter for arguments that are whole numbers from `low` to `high`."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, but is {text}")
        return int(text)

    return convert


def real(low: float, high: float, *, or_zero: bool = False) -> Callable[[str], float]:
    """A converter for arguments that are numbers from `low` to `high`, or 0 if `or_zero`."""

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
