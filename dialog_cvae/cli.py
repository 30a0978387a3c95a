"""What every command line shares: refusals of one line, and exit statuses."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from dialog_cvae.errors import DialogCvaeError


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as every other error is told; exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, without the usage."""
        self.exit(2, f"error: {message} (see --help)\n")


def exit_status(run: Callable[[], int], interrupted: str = "interrupted") -> int:
    """What `run` returns; 2 after one line about what a user or the operating system did wrong, 130 after Ctrl-C.

    Args:
        run: the work of a command line.
        interrupted: what to say after Ctrl-C.
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
