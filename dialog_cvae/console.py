"""The command `dialog-cvae`: finds a command by its name and runs it, as `python -m MODULE` does.

Open this to add a command or to change what `dialog-cvae --help` says. A command's module is loaded only when it is
run, so that each command works with the packages that it needs itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import dialog_cvae
from dialog_cvae import cli, extras


class Command(NamedTuple):
    """A command.

    Attributes:
        module: that has its `main(argv)`; `python -m` of it does the same.
        does: one line for the list.
        extra: what must be installed for it; None where the command needs nothing more, or says itself what it needs.
    """

    module: str
    does: str
    extra: str | None = None


COMMANDS: Final = {
    "import": Command("dialog_cvae.imports", "convert chats and data sets to a file of conversations"),
    "check": Command("training.check", "check a file of your own conversations, before training on it"),
    "fit": Command("training.fit", "train a model and write its best checkpoint", "train"),
    "backbone": Command(
        "dialog_cvae.storage.fetch_backbone",
        "get or check the language model that fit --recipe smollm2 starts from",
        "lm",
    ),
    "eval": Command("eval.dialog", "measure a checkpoint on a test split", "train"),
    "blind": Command("eval.blind", "have people judge replies without their sources, and count", "train"),
    "feedback": Command("eval.feedback", "count which suggestions were taken, and learn from them", "train"),
    "chat": Command("api.chat", "talk with a model in the terminal"),
    "serve": Command("api.serve", "answer over HTTP, with a page to try the model on", "serve"),
    "export": Command("training.export", "make a smaller checkpoint, to serve or to pass on"),
    "references": Command(
        "eval.references", "build or describe a file with several references for each context", "train"
    ),
    "sweep": Command("training.sweep", "train a grid of variants and seeds side by side", "train"),
    "schedules": Command("training.schedule_plots", "draw the schedules of beta and of the learning rate"),
    "experiments": Command("experiments", "repeat the paper's experiments: table3, toy, ptb, yelp, ...", "train"),
    "cluster": Command("api.cluster", "serve on a Ray cluster", "serve"),
}

INTRODUCTION: Final = """\
usage: dialog-cvae COMMAND ...

Several good replies to a conversation, from a model that you train on your own conversations.

  dialog-cvae import chat.txt --out mine.jsonl                                from a chat, a table, a data set
  dialog-cvae check mine.jsonl                                                your conversations, one a line
  dialog-cvae fit --data mine.jsonl --recipe small --out runs/mine            train on them
  dialog-cvae eval runs/mine/best --data mine.jsonl --out runs/mine/test      measure what was learnt
  dialog-cvae serve runs/mine/best                                            http://127.0.0.1:8000/

commands:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names.

    Returns:
        The exit status: the command's own; 2 where there is no such command or its packages are missing.
    """
    cli.print_any_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_help(), end="")
        return 0
    if name == "--version":
        print(f"dialog-cvae {_version()}")
        return 0
    if name not in COMMANDS:
        return _refused(f"there is no command {name!r}: choose from {', '.join(COMMANDS)} (see --help)")
    command = COMMANDS[name]
    if lacks := _lacks(command):
        return _refused(lacks)
    try:
        run = _main_of(command.module)
    except ModuleNotFoundError as error:
        if error.name is None or _is_ours(error.name):
            raise
        return _refused(extras.explanation(command.extra or "train", [error.name]))
    except ForeignModuleError as error:
        return _refused(str(error))
    with cli.renamed(f"python -m {command.module}", f"dialog-cvae {name}"):
        return run(arguments[1:]) or 0


def end_if_packages_are_missing() -> None:
    """Called by packages that hold commands: `python -m` of one ends in one line if its extra is not installed.

    Does nothing when the package is imported in any other way.

    Raises:
        SystemExit: under `python -m`, after that line.
    """
    if sys.argv[:1] != ["-m"] or "-m" not in sys.orig_argv[:-1]:  # argv is this while Python looks for the module only
        return
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    command = next((command for command in COMMANDS.values() if command.module == module), None)
    if command is not None and (lacks := _lacks(command)):
        raise SystemExit(_refused(lacks))


def _lacks(command: Command) -> str:
    """What is not installed of that which a command needs, in one line; empty where nothing is missing."""
    names = extras.missing(command.extra) if command.extra else []
    return extras.explanation(command.extra, names) if command.extra and names else ""


class ForeignModuleError(Exception):
    """Another project's package was found under a name of ours."""


def _main_of(module: str) -> Callable[[Sequence[str]], int | None]:
    """A module's `main`.

    Raises:
        ModuleNotFoundError: a package is missing.
        ForeignModuleError: Python found the module in another place than this package.
    """
    top = importlib.import_module(module.partition(".")[0])
    found, expected = _root(top), _root(dialog_cvae)
    if found != expected:
        raise ForeignModuleError(f"{top.__name__}: found in {found}, but dialog-cvae is installed in {expected}")
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__path__"):  # a package, which `python -m` runs by its __main__
        loaded = importlib.import_module(f"{module}.__main__")
    run: Callable[[Sequence[str]], int | None] = loaded.main
    return run


def _root(package: ModuleType) -> Path | None:
    """The folder that a package is in."""
    return Path(package.__file__).resolve().parents[1] if package.__file__ else None


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {command.module.partition(".")[0] for command in COMMANDS.values()} | {
        "dialog_cvae"
    }


def _help() -> str:
    lines = [f"  {name:<13}{command.does}" for name, command in COMMANDS.items()]
    closing = "dialog-cvae COMMAND --help describes one; each is also run by python -m, such as python -m training.fit."
    return "\n".join([INTRODUCTION + lines[0], *lines[1:], "", closing, ""])


def _version() -> str:
    try:
        return version(extras.DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


def _refused(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
