"""Several reference replies for each context: `python -m eval.references --help`.

Open it to add an option.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from tqdm import tqdm

from dialog_cvae.cli import Parser, exit_status, real, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus, load_split
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.files import write_atomically
from dialog_cvae.types import Conversation
from eval.contexts import count_contexts
from eval.references.builder import CANDIDATES, KEEP_SHARE, Built, build
from eval.references.context_index import ContextIndex
from eval.references.multi_reference import load, save
from eval.references.reference_statistics import as_json, as_text, statistics
from eval.references.reply_filter import ReplyFilter

EXPLANATION = """\
A context has many good replies, but a corpus has only one of them. This builds a file with more, and reports on such
files.

  python -m eval.references build --data swda --out references.json
  python -m eval.references build --data mine.jsonl --no-filter --out references.json
  python -m eval.references build --data zhao2017 --split valid --train swda --out references.json
  python -m eval.references report test_multi_ref.json --data zhao2017

`build` takes the replies to the ten training contexts that are most similar to a context (TF-IDF of its last nine
utterances, equal topic, equal change of speaker), and keeps those that a filter accepts. The filter is a logistic
regression, trained to distinguish the real reply to a training context from the reply to another one. It replaces the
human judgements of Zhao et al. (2017), and keeps the same share of candidates as theirs where the speaker changes.
The file has the format of their `test_multi_ref.json`, with the ids of conversations and the positions of replies.

`report` prints statistics of such a file, of the published file, or of COTK's JSON lines of it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return exit_status(lambda: _build(arguments) if arguments.command == "build" else _report(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m eval.references", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="build|report")
    builder = commands.add_parser("build", help="build a file of references for the contexts of a split")
    _add_corpus(builder)
    builder.add_argument(
        "--train", metavar="DATA", help="corpus whose training split has the candidates; default: that of --data"
    )
    builder.add_argument(
        "--candidates",
        type=whole(1, 1000),
        default=CANDIDATES,
        help=f"similar contexts whose replies are considered (default {CANDIDATES})",
    )
    builder.add_argument(
        "--filter",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the replies that a model of the training split accepts (default); otherwise keep all",
    )
    builder.add_argument(
        "--keep-share",
        type=real(0.01, 1),
        help=f"share of the candidates that the filter keeps where the speaker changes (default {KEEP_SHARE})",
    )
    builder.add_argument(
        "--distinct", action="store_true", help="drop references with the same words as an earlier one of their context"
    )
    builder.add_argument("--seed", type=whole(0, 2**63 - 1), help="seed of the filter (default 0)")
    builder.add_argument(
        "--out", type=Path, required=True, help="file to write; its report is NAME.report.json in the same folder"
    )
    reporter = commands.add_parser("report", help="print statistics of a file of references")
    reporter.add_argument("file", type=Path, help="file that `build` wrote, or test_multi_ref.json, or COTK's .jsonl")
    _add_corpus(reporter)
    reporter.add_argument("--out", type=Path, help="JSON file to write the report to")
    return parser


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    defaults = DataConfig()
    parser.add_argument(
        "--data", default="swda", help="swda (default; downloaded if not found), zhao2017, sample or PATH.jsonl"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora, searched before $DIALOG_CVAE_DATA and the cache"
    )
    parser.add_argument(
        "--style", choices=("zhao", "fluent", "verbatim"), default=defaults.style, help="of swda (default zhao)"
    )
    for name, share in (("valid", defaults.valid_share), ("test", defaults.test_share)):
        parser.add_argument(
            f"--{name}-share",
            type=real(0, 1),
            default=share,
            help=f"of a .jsonl file's conversations, as in training (default {share})",
        )
    parser.add_argument("--split", choices=("valid", "test"), default="test", help="default: test")


def _build(arguments: argparse.Namespace) -> int:
    """Build a file of references and its report."""
    # check before the long part
    if arguments.out.suffix != ".json":
        raise ConfigError(f"--out: must be a file whose name ends with .json, but is {arguments.out}")
    given = {"--keep-share": arguments.keep_share, "--seed": arguments.seed}
    if unused := [name for name, value in given.items() if value is not None and not arguments.filter]:
        raise ConfigError(f"{unused[0]}: has no effect with --no-filter")
    keep_share = KEEP_SHARE if arguments.keep_share is None else arguments.keep_share
    seed = arguments.seed or 0
    report = arguments.out.with_suffix(".report.json")
    _require_writable(arguments.out)
    _require_writable(report)
    train_name, train, name, conversations = _corpora(arguments)
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {arguments.split} of {name} has no context with a reply")
    # find candidates and filter them
    index = ContextIndex(train)
    reply_filter = ReplyFilter(index, seed) if arguments.filter else None
    with tqdm(total=count_contexts(conversations), desc="searching", unit="context", disable=None) as bar:
        built = build(
            index,
            conversations,
            candidates=arguments.candidates,
            reply_filter=reply_filter,
            keep_share=keep_share,
            distinct=arguments.distinct,
            advance=bar.update,
        )
    # write and report
    settings: dict[str, Any] = {
        "data": name,
        "split": arguments.split,
        "train": train_name,
        "training_contexts": len(index.windows),
        "candidates": arguments.candidates,
        "distinct": arguments.distinct,
    }
    if reply_filter is not None:
        settings |= {"keep_share": keep_share, "seed": seed, **_filter_settings(reply_filter, built)}
        print(
            f"filter: trained on {reply_filter.pairs:,} pairs of a context and a reply, half of them real; classifies "
            f"{reply_filter.accuracy:.1%} of held-out pairs correctly"
        )
    strata = statistics(built.references)
    save(arguments.out, built.references)
    _write(report, {**settings, **as_json(strata)})
    print(as_text(strata))
    print(f"wrote {arguments.out} and {report}")
    return 0


def _filter_settings(reply_filter: ReplyFilter, built: Built) -> dict[str, Any]:
    return {
        "filter_pairs": reply_filter.pairs,
        "filter_accuracy": reply_filter.accuracy,
        "filter_threshold": built.threshold,
    }


def _corpora(arguments: argparse.Namespace) -> tuple[str, Sequence[Conversation], str, Sequence[Conversation]]:
    """Name and conversations of the training split and of the split that gets references."""
    config = _config(arguments)
    if arguments.train is None:
        corpus = load_corpus(config)
        return corpus.name, corpus.train, corpus.name, list(getattr(corpus, arguments.split))
    return *load_split(config.model_copy(update={"name": arguments.train}), "train"), *load_split(
        config, arguments.split
    )


def _config(arguments: argparse.Namespace) -> DataConfig:
    return DataConfig(
        name=arguments.data,
        dir=arguments.data_dir,
        style=arguments.style,
        valid_share=arguments.valid_share,
        test_share=arguments.test_share,
    )


def _report(arguments: argparse.Namespace) -> int:
    if arguments.out is not None:
        _require_other(arguments.out, arguments.file, Path(arguments.data))
        _require_writable(arguments.out)
    name, conversations = load_split(_config(arguments), arguments.split)
    strata = statistics(load(arguments.file, conversations))
    if arguments.out is not None:
        _write(arguments.out, {"data": name, "split": arguments.split, **as_json(strata)})
    print(as_text(strata))
    return 0


def _require_other(out: Path, *inputs: Path) -> None:
    """Refuse to overwrite an input with the report."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise ConfigError(f"--out: {out} is {path}, which is read and would be lost")


def _require_writable(out: Path) -> None:
    """Refuse an output that cannot be written, before the long work."""
    try:
        if out.is_dir():
            raise ConfigError(f"--out: {out} is a folder")
        folder = next(folder for folder in out.absolute().parents if folder.exists())
        with NamedTemporaryFile(prefix=f".{out.name}.", dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written ({error.strerror})") from None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
