"""Blind reading of replies: `python -m eval.blind --help`.

Open it to add an option.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus, load_split
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.files import replace_folder, write_atomically
from dialog_cvae.types import Conversation
from eval.blind.places import ContextPlace, Task, draw_places
from eval.blind.ratings import read_ratings
from eval.blind.sheet import CSV_FILE, KEY_FILE, PAGE_FILE, RULES_FILE, Key, build_sheet
from eval.blind.sheet_files import csv_bytes, page_bytes, rules_bytes
from eval.blind.sources import SourceName, open_source, parse_sources
from eval.blind.tally import tally
from eval.blind.tally_report import as_text
from eval.dialog_arguments import add_respond_as
from eval.dialog_data import asked_roles, data_config
from eval.left_out import trained_on

TALLY_FILE = "tally.json"
STYLE = "fluent"  # style of swda without a checkpoint: text as people write it
API_KEY = "DIALOG_CVAE_API_KEY"

EXPLANATION = """\
People judge replies without knowing where they come from. No score of words replaces this.

  python -m eval.blind sheet --data swda --out reading mine=runs/mine/best people neighbours random
  python -m eval.blind tally reading ann.csv bo.csv

`sheet` draws held-out contexts, each of another conversation while there are enough, and writes a folder with
sheet.html (a page that works offline), sheet.csv (the same for a spreadsheet) with rules.md, and key.json (who said
what; readers must not see it). Give each reader the page, or the table with its rules. They say of each reply whether
it is fluent, fits the conversation, and is specific.

`tally` reads the files that readers return. It prints shares of each source with 95% intervals, the agreement of the
readers, and differences of the sources, and writes all figures to tally.json in the same folder.

`contexts` writes the contexts that `sheet` will draw with the same options and sources, so that another program can
answer them.
"""

SOURCES_HELP = """\
sources of replies, which all answer the same contexts:
  NAME=FOLDER      a checkpoint, with its own decoding, as the service replies
  NAME=URL         a running service (its key, if it needs one, in $DIALOG_CVAE_API_KEY)
  NAME=FILE.jsonl  replies made elsewhere: a line for each context with its fields "conversation" (id), "position"
                   (index of the reply in the conversation, from 0) and "responses" (a list of texts), as in
                   responses.jsonl of an evaluation; other fields and other contexts are ignored
  people           what was really said, one reply
  neighbours       replies to the most similar training contexts
  random           random training utterances, as a control
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    commands = {"sheet": _sheet, "tally": _tally, "contexts": _contexts}
    return exit_status(lambda: commands[arguments.command](arguments))


def _parser() -> argparse.ArgumentParser:
    raw: Any = argparse.RawDescriptionHelpFormatter
    parser = Parser("python -m eval.blind", description=EXPLANATION, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="sheet|tally|contexts")
    sheet = commands.add_parser("sheet", help="write a sheet for readers", epilog=SOURCES_HELP, formatter_class=raw)
    sheet.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="NAME=PLACE, people, neighbours or random; see below"
    )
    _add_contexts(sheet)
    sheet.add_argument("--replies", type=whole(1, 50), default=5, help="of each source to each context (default 5)")
    sheet.add_argument("--device", default="cpu", help="of checkpoints: cpu (default) or cuda")
    sheet.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write; must not exist yet")
    counter = commands.add_parser("tally", help="count what readers found")
    counter.add_argument("folder", type=Path, metavar="FOLDER", help="that `sheet` wrote")
    counter.add_argument("readers", nargs="+", type=Path, metavar="READER.csv", help="a file for each reader")
    lister = commands.add_parser("contexts", help="write the contexts of a sheet, for replies made elsewhere")
    lister.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="those of the sheet: the first checkpoint decides the defaults of --data, --style and --respond-as, and "
        "how the corpus is divided and read; contexts that a checkpoint was trained on are left out; other sources "
        "have no effect, and a file of replies need not exist yet",
    )
    _add_contexts(lister)
    lister.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="file to write")
    return parser


def _add_contexts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", help="swda, zhao2017, sample or PATH.jsonl; default: what the first checkpoint was fitted on"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora, searched before $DIALOG_CVAE_DATA and the cache"
    )
    parser.add_argument(
        "--style",
        choices=("zhao", "fluent", "verbatim"),
        help=f"of swda; default: the first checkpoint's, or {STYLE} without a checkpoint",
    )
    add_respond_as(parser)
    parser.add_argument("--split", choices=("valid", "test"), default="test", help="default: test")
    parser.add_argument("--contexts", type=whole(1, 10_000), default=40, help="number of contexts (default 40)")
    parser.add_argument(
        "--shown", type=whole(2, 100), default=6, help="the most utterances of a context that readers see (default 6)"
    )
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="of everything drawn (default 0)")


def _sheet(arguments: argparse.Namespace) -> int:
    """Write a sheet and its key."""
    # refuse what cannot work before the long part
    out: Path = arguments.out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"--out: {out} exists already; remove it or give another folder")
    names = parse_sources(arguments.sources)
    sources = {source.name: open_source(source, arguments.device, os.environ.get(API_KEY) or None) for source in names}
    # the contexts, and the replies of each source
    data, train, places = _drawn(arguments, names)
    task = Task(places, train, arguments.replies, arguments.seed)
    answers = {}
    for name, source in sources.items():
        print(f"{name}: replies to {len(places)} contexts", file=sys.stderr)
        answers[name] = source(task)
    # the files
    asked = ("split", "contexts", "replies", "shown", "seed")
    made = {"data": data, **{name: getattr(arguments, name) for name in asked}}
    made["sources"] = {source.name: source.value for source in names}
    sheet, key = build_sheet(places, answers, arguments.shown, arguments.seed, made)
    parts = {
        CSV_FILE: csv_bytes(sheet),
        RULES_FILE: rules_bytes(),
        PAGE_FILE: page_bytes(sheet),
        KEY_FILE: key.to_bytes(),
    }
    replace_folder(out, parts)
    print(
        f"wrote {out}: {len(places)} contexts, {len(key.texts)} replies to read; give {PAGE_FILE}, or {CSV_FILE} "
        f"with {RULES_FILE}, to each reader, and keep {KEY_FILE} from them"
    )
    return 0


def _contexts(arguments: argparse.Namespace) -> int:
    """Write the contexts of a sheet as JSON lines."""
    _, _, places = _drawn(arguments, parse_sources(arguments.sources))
    lines = []
    for place in places:
        (conversation, position), before = place.window.place, place.before
        line = {
            "conversation": conversation,
            "position": position,
            "topic": before.topic,
            "context": [{"speaker": turn.speaker, "text": turn.text} for turn in before.utterances],
            "speaker": place.window.reply.speaker,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_atomically(arguments.out, "".join(lines).encode())
    print(f"wrote {arguments.out}: {len(places)} contexts")
    return 0


def _drawn(
    arguments: argparse.Namespace, sources: Sequence[SourceName]
) -> tuple[str, Sequence[Conversation], list[ContextPlace]]:
    """The corpus's name, the training conversations if a source needs them, and the contexts."""
    checkpoints = [(source.value, Checkpoint.load(source.value)) for source in sources if source.is_checkpoint]
    config = _data(arguments, checkpoints)
    train: Sequence[Conversation] = ()
    if any(source.needs_train for source in sources):
        corpus = load_corpus(config)
        name, train, split = corpus.name, list(corpus.train), list(getattr(corpus, arguments.split))
    else:
        name, conversations = load_split(config, arguments.split)
        split = list(conversations)
    places = draw_places(split, arguments.contexts, arguments.seed, arguments.shown)
    trained = trained_on([checkpoint for _, checkpoint in checkpoints], split)
    untrained = [place for place in places if not trained[place.conversation_number]]
    if not untrained:
        raise ConfigError(
            f"--contexts: all {len(places)} that were drawn are of conversations that a model was trained on"
        )
    if left_out := len(places) - len(untrained):
        print(
            f"note: {left_out} of {len(places)} contexts are left out: a model was trained on their conversations",
            file=sys.stderr,
        )
    places = untrained
    conversations_drawn = len({place.conversation_number for place in places})
    if conversations_drawn < len(places):
        print(
            f"note: the split has {conversations_drawn} conversations for {len(places)} contexts, so some are of the "
            f"same one, more than {arguments.shown} utterances apart: none shows what was said at another",
            file=sys.stderr,
        )
    return name, train, places


def _data(arguments: argparse.Namespace, checkpoints: Sequence[tuple[str, Checkpoint]]) -> DataConfig:
    """The corpus to read, with the text style of the first checkpoint, which is given with its folder."""
    if not checkpoints:
        if arguments.data is None:
            raise ConfigError("--data: name a corpus; without a checkpoint there is no default")
        style, roles = arguments.style or STYLE, asked_roles(arguments) or ()
        return DataConfig(name=arguments.data, dir=arguments.data_dir, style=style, respond_as=roles)
    folder, checkpoint = checkpoints[0]
    return data_config(argparse.Namespace(**vars(arguments) | {"checkpoint": Path(folder)}), checkpoint)


def _tally(arguments: argparse.Namespace) -> int:
    """Print a tally and write it to the sheet's folder."""
    key = Key.load(arguments.folder / KEY_FILE)
    found = tally(key, read_ratings(arguments.readers, key))
    out = arguments.folder / TALLY_FILE
    write_atomically(out, (json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    print(as_text(found))
    print(f"\nwrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
