"""Convert chats and data sets to a file to train on: `python -m dialog_cvae.imports FILE... --out mine.jsonl`.

Open it to add an option to the command line.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from dialog_cvae.cli import Parser, exit_status, print_any_text
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.imports.column_names import KINDS
from dialog_cvae.imports.convert import convert
from dialog_cvae.imports.formats import FORMATS
from dialog_cvae.imports.message import DateOrder, Options
from dialog_cvae.imports.personal_data import Redaction
from dialog_cvae.imports.privacy import Privacy
from dialog_cvae.imports.signals import signals_as_ctrl_c
from dialog_cvae.imports.source import open_source
from dialog_cvae.imports.times import has_day

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EPILOG: Final = f"""\
Formats, recognised by content (--format NAME forces one):

{chr(10).join(f"  {name:<17}{each.title}" for name, each in FORMATS.items())}

Of a folder or zip archive, all exports and files in a known format are read; in an archive, no files beside an export
of several files, such as Slack's.
The report says which format was recognised, how it was read, and what was left out.

  dialog-cvae import chat.txt --out mine.jsonl                         a WhatsApp chat
  dialog-cvae import slack.zip --out mine.jsonl --redact --anonymous   without personal data
  dialog-cvae import tickets.csv --out mine.jsonl --column text=body --column conversation=ticket
  dialog-cvae import result.json chat.zip --out mine.jsonl --gap 2h    two exports, one file

Defaults: chats (WhatsApp, Telegram, Slack, SMS and others) merge successive messages of one speaker, and a silence
of 6 hours begins a new conversation; so it does in a table with times but without a column of conversations. Everything
else is kept as it is.
Exit status: 0 the file was written, 2 it was not; then nothing is left of it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    print_any_text()
    with signals_as_ctrl_c():
        return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    for path in args.files if args.out.exists() else ():
        if args.out.resolve() == path.resolve():
            raise ConfigError(f"--out {args.out} is also read; name another file")
        if path.is_dir() and args.out.is_file() and args.out.resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"--out {args.out} is in the folder {path}, which is read: delete it, or name another file"
            )
    if not args.redact and (args.region or args.names):
        raise ConfigError("--region and --names need --redact")
    options = Options(
        format=args.format,
        columns=dict(args.column),
        encoding=args.encoding,
        date_order=args.date_order,
        time_format=args.time_format,
        bots=args.bots,
        merge=args.merge,
        gap=args.gap,
        anonymous=args.anonymous,
    )
    redaction = Redaction(args.region, _names(args.names, args.encoding)) if args.redact else None
    report = convert(args.files, args.out, options, Privacy(redaction, args.anonymous))
    count = sum(part.conversations for part in report.parts)
    _print([*report.lines(), f"{args.out}: {count:,} conversations", f"next: dialog-cvae check {args.out}"])
    return 0


def _print(lines: Sequence[str]) -> None:
    """Print the report; the file is written even if that fails."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        print(f"the file is written, but the report cannot be printed ({error.strerror})", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter must not flush into it


def _names(path: Path | None, encoding: str | None) -> list[str]:
    """The names in a file, one a line.

    Raises:
        DataError: the file cannot be read.
    """
    if path is None:
        return []
    source = open_source(path)
    if source.is_folder:
        raise DataError(path, "is not a text file with a name a line")
    return [line.strip("\ufeff \t\r\n") for line in source.file.lines(encoding)]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m dialog_cvae.imports",
        description="Convert chats and data sets to one file of conversations, to check and to train on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file, folder or zip archive")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .jsonl file to write")
    parser.add_argument("--format", choices=list(FORMATS), metavar="NAME", help="the format, instead of recognising it")
    _add_reading(parser.add_argument_group("reading"))
    _add_privacy(parser.add_argument_group("privacy"))
    return parser


def _add_reading(reading: argparse._ArgumentGroup) -> None:
    reading.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="WHAT=NAME",
        help=f"the column of a table that holds WHAT: {', '.join(KINDS)}; may be repeated",
    )
    reading.add_argument("--encoding", type=_encoding, help="of text that is neither UTF-8 nor UTF-16, such as cp1252")
    reading.add_argument(
        "--date-order",
        choices=get_args(DateOrder),
        help="of WhatsApp's dates in numbers: day, month, year (default: decided from the whole file)",
    )
    reading.add_argument(
        "--time-format",
        type=_time_format,
        metavar="FORM",
        help="of times in a table, such as '%%d.%%m.%%Y %%H:%%M', also if day and clock are in two columns "
        "(default: ISO 8601, digits as in 20240113 or 20240113100000, seconds since 1970, or as in tweets and mails)",
    )
    reading.add_argument("--bots", action="store_true", help="keep messages of bots (default: left out)")
    reading.add_argument(
        "--merge",
        action=argparse.BooleanOptionalAction,
        help="make successive messages of one speaker one (default: for chats)",
    )
    reading.add_argument(
        "--gap",
        type=_gap,
        metavar="TIME",
        help="a longer silence begins a new conversation: 30m, 6h, 2d, or none (default: 6h for chats)",
    )


def _add_privacy(privacy: argparse._ArgumentGroup) -> None:
    privacy.add_argument(
        "--redact",
        action="store_true",
        help="replace e-mail addresses, telephone numbers, links, card and account numbers by <EMAIL>, <PHONE>, "
        "<LINK>, <CARD> and <ACCOUNT>",
    )
    privacy.add_argument(
        "--region", metavar="XX", help="country of telephone numbers without a country's code, such as DE or US"
    )
    privacy.add_argument("--names", type=Path, metavar="FILE", help="names to replace by <NAME>, one a line")
    privacy.add_argument(
        "--anonymous", action="store_true", help="call the speakers of each conversation A, B, ..., and drop its name"
    )


def _column(text: str) -> tuple[str, str]:
    what, sign, name = text.partition("=")
    if not sign or what not in KINDS or not name:
        raise argparse.ArgumentTypeError(f"must be WHAT=NAME with WHAT one of {', '.join(KINDS)}, but is {text}")
    return what, name


def _time_format(text: str) -> str:
    if not has_day(text):
        raise argparse.ArgumentTypeError(
            f"must have a day, as '%d.%m.%Y %H:%M' has, but is {text}; a day in another column comes before the clock, "
            "and --column time=NAME reads a column of days alone"
        )
    return text


def _encoding(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise argparse.ArgumentTypeError(f"must be the name of an encoding, such as cp1252, but is {text}") from None
    return text


def _gap(text: str) -> float:
    if text == "none":
        return 0.0
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"must be a length such as 30m, 6h or 2d, or none, but is {text}")
    return float(match[1]) * _UNITS[match[2]]


if __name__ == "__main__":
    sys.exit(main())
