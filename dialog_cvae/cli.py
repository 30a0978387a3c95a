"""What every command line shares: refusals of one line."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as every other error is told; exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, without the usage."""
        self.exit(2, f"error: {message} (see --help)\n")
