"""Describe a file of your own conversations and list all its problems: `python -m training.check PATH`.

Open this to add an option, or to change the order of the report.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from dialog_cvae.cli import Parser, exit_status, print_any_text
from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.imported import readable
from dialog_cvae.data.readers import jsonl
from dialog_cvae.errors import DataError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.language import language_of
from dialog_cvae.types import Corpus
from training.arguments import layered, parse, recipe
from training.check.advice import Choice, advised_options
from training.check.facts import facts_of, lengths_of, sample_of, with_fitting_block
from training.check.report_lines import (
    NAMES_SHOWN,
    Tally,
    describe,
    describe_copies,
    describe_splits,
    row,
    split_warnings,
)
from training.check.timing import replies_per_second
from training.check.tokenization import Tokenization, texts
from training.check.verdict import verdict
from training.config import FitConfig
from training.plan import like_checkpoint, recipe_name
from training.recipes import RECIPES

FINE, PROBLEMS = 0, 1

FORMAT = """\
A chat, table or data set that `dialog-cvae import` reads is converted first, into the cache.
Our own format is UTF-8 text with one conversation a line, each a JSON object:

  {"topic": "pets", "utterances": [{"speaker": "A", "text": "got a dog?"}, {"speaker": "B", "text": "yes, two"}]}

  utterances  required, in order: objects with
                speaker     required; any name, and any number of speakers
                text        required
                dialog_act  optional, such as "yes-no-question"
  topic       optional
  prompt      optional: the topic that the speakers were given
  id          optional: a unique name
  split       optional, then on every line: "train", "valid" or "test"; without it the conversations are divided by
              --valid-share and --test-share; copies, which differ in names or numbers alone, share a split
  speakers    optional profiles, {"A": {"sex": "female", "age": 34, "education": 2}}, each field optional too;
              education is 0 less than high school, 1 less than college, 2 college, 3 more than college

Blank lines are skipped. A conversation of one utterance is counted and left out, because it has no response.
Control characters other than tabs and line ends are a problem, and so is text without a visible character.
Counts of tokens are those of the recipe and of the tokenizer that you are going to train with: give these options.
A warning does not change the exit status.
Exit status: 0 the file is fine, 1 it has problems, 2 it cannot be read at all.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    print_any_text()
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    config, checkpoint = _configured(args)
    lines, status, seen = _check(args, config)
    try:
        print(*lines, sep="\n", flush=True)
        print("", *_advice(args, config, checkpoint, seen), sep="\n", flush=True)
    except BrokenPipeError:  # `| head` has closed the pipe; the interpreter must not flush into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m training.check",
        description="Check a file of your own conversations before training on it.",
        epilog=FORMAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="a .jsonl file, or anything that dialog-cvae import reads"
    )
    _add_plan(parser)
    _add_check(parser)
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to train on the file."""
    chosen = [name for name in RECIPES if not recipe(name).corpus.of_sentences]
    modes = TokenizerConfig.model_fields["mode"].annotation
    parser.add_argument(
        "--recipe",
        choices=chosen,
        help="the recipe you are going to train with (default: paper for the counts; the advice chooses)",
    )
    parser.add_argument(
        "--init", type=Path, metavar="CHECKPOINT", help="the checkpoint you are going to start from (default: none)"
    )
    parser.add_argument(
        "--respond-as",
        action="append",
        default=[],
        metavar="SPEAKER",
        help="the speaker whose replies you are going to learn; may be repeated (default: see roles)",
    )
    parser.add_argument(
        "--tokenizer.mode", dest="mode", choices=get_args(modes), help="its tokenizer (default: the recipe's)"
    )
    parser.add_argument(
        "--tokenizer.vocab-size", dest="vocab_size", type=int, metavar="N", help="its size (default: the recipe's)"
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is checked, and how the file is divided."""
    defaults = DataConfig()
    parser.add_argument(
        "--no-timing",
        dest="timing",
        action="store_false",
        help="do not measure the speed of training on this machine, which takes up to 20 seconds",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="where a chat or table is kept in our own format (default: $DIALOG_CVAE_CACHE, else the user's cache "
        "folder); off: no copy of it stays on disk",
    )
    parser.add_argument("--max-problems", type=int, default=50, metavar="N", help="problems to list (default: 50)")
    parser.add_argument(
        "--valid-share",
        type=float,
        default=defaults.valid_share,
        metavar="SHARE",
        help=f"share of conversations for validation (default: {defaults.valid_share})",
    )
    parser.add_argument(
        "--test-share",
        type=float,
        default=defaults.test_share,
        metavar="SHARE",
        help=f"share of conversations for testing (default: {defaults.test_share})",
    )


def _configured(args: argparse.Namespace) -> tuple[FitConfig, Checkpoint | None]:
    """The configuration of the run that the options describe, and the checkpoint that it starts from."""
    checkpoint = None if args.init is None else Checkpoint.load(args.init)
    return _layered(args, recipe_name(args.recipe, checkpoint), checkpoint), checkpoint


def _layered(
    args: argparse.Namespace, name: str, checkpoint: Checkpoint | None = None, below: Mapping[str, Any] | None = None
) -> FitConfig:
    """The recipe of this name, overridden by the fields `below`, then by those of the command line."""
    tokenizer = {"mode": args.mode, "vocab_size": args.vocab_size}
    given = {name: value for name, value in tokenizer.items() if value is not None}
    shares = {"valid_share": args.valid_share, "test_share": args.test_share}
    layer = {"corpus": {"name": str(args.path), **shares}, "tokenizer": given}
    config = layered(recipe(name), below or {}, layer)
    return config if checkpoint is None else like_checkpoint(config, checkpoint, [layer])


class _Seen(NamedTuple):
    """The results of reading the file: counts, splits if the file can be trained on, and tokenization."""

    tally: Tally
    corpus: Corpus | None
    problems: int


def _check(args: argparse.Namespace, config: FitConfig) -> tuple[list[str], int, _Seen]:
    """The report's lines, the exit status, and what the advice needs."""
    # Read every line, and divide the file.
    path, max_problems = args.path, args.max_problems
    imported = readable(path, args.cache)
    found = jsonl.scan(imported.path)
    problems = [f"line {line}: {reason}" for line, reason in found.problems]
    corpus = None
    try:
        corpus = jsonl.assemble(path, found, valid_share=config.corpus.valid_share, test_share=config.corpus.test_share)
    except DataError as error:
        problems.append(error.reason)
    # Find how the model will read the text.
    tokenization = None
    if corpus is not None:
        if Tokenization.has_words(corpus.train):
            tokenization = Tokenization.of(corpus, config)
        else:
            problems.append("the training conversations contain no word")
    tally = Tally(tokenization or Tokenization.of(None, config))
    for conversation in found.conversations:
        tally.add(conversation)
    # Write the report.
    lines = [f"{path}", *(row("read as" if i == 0 else "", note) for i, note in enumerate(imported.notes))]
    lines += [*describe(tally), *describe_copies(found), *describe_splits(corpus, tokenization)]
    if skipped := len(found.one_utterance):
        numbers = ", ".join(map(str, found.one_utterance[:NAMES_SHOWN])) + ("…" if skipped > NAMES_SHOWN else "")
        lines.append(row("left out", f"{skipped:,} with a single utterance (lines {numbers})"))
    known = () if tokenization is None else tokenization.warnings
    if warnings := [*known, *tally.warnings, *split_warnings(found, corpus, config.corpus)]:
        lines += ["", f"{len(warnings):,} warning{'s' if len(warnings) > 1 else ''}:", *warnings, ""]
    seen = _Seen(tally, corpus if tokenization else None, len(problems))
    if not problems:
        return [*lines, "no errors, but see the warnings" if warnings else "no problems found"], FINE, seen
    hidden = len(problems) - max(0, max_problems)
    lines += ["", f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}:", *problems[: max(0, max_problems)]]
    if hidden > 0:
        lines.append(f"... and {hidden:,} more; --max-problems {len(problems)} lists all")
    return lines, PROBLEMS, seen


def _advice(args: argparse.Namespace, config: FitConfig, checkpoint: Checkpoint | None, seen: _Seen) -> list[str]:
    """What to do next."""
    if seen.problems or seen.corpus is None:
        which = "the problem" if seen.problems == 1 else f"the {seen.problems:,} problems"
        return ["what to do next:", row("", f"correct {which} above (fit refuses the file), then check it again")]
    conversations = sample_of(seen.corpus.train)
    language = language_of(texts(conversations))
    # Take what the user chose, else what suits the language.
    options = _given(args)
    asked = any(value is not None for value in (args.recipe, args.init, args.mode, args.vocab_size))
    if not asked:
        advised = advised_options(language)
        options = (*advised, *options)
        fields = parse(advised)
        config = _layered(args, fields.pop("recipe"), below=fields)
    choice = Choice(config, options, asked, args.init)
    lengths = seen.tally.tokenization.lengths(seen.tally.tokens) if asked else lengths_of(conversations, choice)
    facts = facts_of(str(args.path), seen.tally, seen.corpus, language, args.respond_as, lengths)
    facts = with_fitting_block(facts, choice, seen.corpus.train)
    # Measure how fast it is here.
    speed = None
    if args.timing and choice.language_model_is_here:
        replies_of = [replace(each, respond_as=facts.respond_as) for each in conversations]
        speed = replies_per_second(config, replies_of)
    return verdict(facts, choice, speed)


def _given(args: argparse.Namespace) -> tuple[str, ...]:
    """The options of `fit` on the command line, except for roles."""
    defaults = DataConfig()
    named = {
        "--recipe": (args.recipe, None),
        "--init": (args.init, None),
        "--tokenizer.mode": (args.mode, None),
        "--tokenizer.vocab-size": (args.vocab_size, None),
        "--corpus.valid-share": (args.valid_share, defaults.valid_share),
        "--corpus.test-share": (args.test_share, defaults.test_share),
        "--cache": (args.cache, None),
    }
    return tuple(str(word) for name, (value, usual) in named.items() if value != usual for word in (name, value))


if __name__ == "__main__":
    sys.exit(main())
