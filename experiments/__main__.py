"""The paper's experiments: `python -m experiments --help`.

Open it to add an experiment to the command line (`COMMANDS`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dialog_cvae.cli import Parser
from experiments import cycles, decoder, lesson, ptb, remedies, toy, yelp
from experiments.table3 import command as table3

DESCRIPTION = """\
The paper's experiments. Each fits what is missing, measures it, prints the paper's figures below ours, and writes a
page OUT/NAME.md with plots and all figures in OUT/NAME.json.

{commands}

  python -m experiments toy --size smoke       seconds, to see that everything runs
  python -m experiments toy                    section 4 of the paper in 25 minutes of one core
  python -m experiments ptb --help             the options of one experiment

The same command again continues where it stopped; Ctrl-C stops it. --no-fit reports what is finished. The options of
training.fit hold for all cells, for example --max-steps 500 or --threads 2.
"""


class Command(NamedTuple):
    """An experiment's command line.

    Attributes:
        main: runs it; returns its exit status.
        about: one line for the help.
    """

    main: Callable[[Sequence[str] | None], int]
    about: str


COMMANDS: Mapping[str, Command] = {
    "table3": Command(table3.main, "section 6.2: Table 3, dialogs on Switchboard, with effects and intervals"),
    "toy": Command(toy.EXPERIMENT.main, "section 4: ten sequences in a latent plane"),
    "ptb": Command(ptb.EXPERIMENT.main, "section 6.1: Table 1, Figure 5; Table 4, on the Penn Treebank"),
    "yelp": Command(yelp.EXPERIMENT.main, "section 6.3: Figure 6, sentiment in latent codes; a map of the codes"),
    "cycles": Command(cycles.EXPERIMENT.main, "the supplement: number of cycles M, ratio R and shape of the rise"),
    "remedies": Command(remedies.EXPERIMENT.main, "free bits and other remedies against collapse, at one budget"),
    "decoder": Command(decoder.EXPERIMENT.main, "schedules for a pre-trained language model as decoder; no paper"),
    "lesson": Command(lesson.main, "five exercises on KL vanishing; no data needed"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment that the first argument names; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]].main(words[1:])
    parser = _parser()
    parser.parse_args(words)
    return 0


def _parser() -> Parser:
    """A parser for command lines that do not begin with an experiment: it prints the help, or an error."""
    commands = "\n".join(f"  {name:<10} {command.about}" for name, command in COMMANDS.items())
    parser = Parser(
        prog="python -m experiments",
        description=DESCRIPTION.format(commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("experiment", choices=COMMANDS, metavar="EXPERIMENT", help=", ".join(COMMANDS))
    parser.add_argument("options", nargs="*", metavar="OPTIONS", help="of the experiment; see its own --help")
    return parser


if __name__ == "__main__":
    sys.exit(main())
