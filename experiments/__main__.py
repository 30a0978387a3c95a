"""The paper's experiments: `python -m experiments --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments import lesson, run
from experiments.table3 import command as table3

COMMANDS = {"table3": table3.main, "lesson": lesson.main}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment that the first argument names; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    return COMMANDS[name](arguments[1:]) if name in COMMANDS else run.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
