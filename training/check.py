"""Describe a file of your own conversations and list all its problems: `python -m training.check PATH`."""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import get_args

import numpy as np

from dialog_cvae.cli import Parser
from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.readers import jsonl
from dialog_cvae.data.readers.jsonl_line import SPLITS, show
from dialog_cvae.data.readers.jsonl_splits import TRAIN
from dialog_cvae.errors import DataError, DialogCvaeError
from dialog_cvae.text.tokenizer import SPECIALS, UNK, words
from dialog_cvae.types import Conversation, Corpus
from training.arguments import layered, recipe
from training.config import FitConfig
from training.coverage import length_warnings
from training.recipes import RECIPES
from training.text_reading import TextReading

FINE, PROBLEMS, UNREADABLE = 0, 1, 2
NAMES_SHOWN = 12  # of topics and dialog acts
PROFILE_PARTS = ("sex", "age", "education")
QUANTILES = {0: "least", 25: "25%", 50: "median", 75: "75%", 95: "95%", 100: "most"}  # percent, label

FORMAT = """\
The file is UTF-8 text with one conversation a line, each a JSON object:

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
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # file names and topics may have characters that the terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        lines, status = _check(args.path, _configured(args), args.max_problems)
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNREADABLE
    try:
        print(*lines, sep="\n", flush=True)
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
    defaults = DataConfig()
    parser.add_argument("path", type=Path, metavar="PATH", help="a .jsonl file")
    chosen = [name for name in RECIPES if not recipe(name).corpus.of_sentences]
    modes = TokenizerConfig.model_fields["mode"].annotation
    parser.add_argument(
        "--recipe", choices=chosen, default="paper", help="the recipe you are going to train with (default: paper)"
    )
    parser.add_argument(
        "--tokenizer.mode", dest="mode", choices=get_args(modes), help="its tokenizer (default: the recipe's)"
    )
    parser.add_argument(
        "--tokenizer.vocab-size", dest="vocab_size", type=int, metavar="N", help="its size (default: the recipe's)"
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
    return parser


def _configured(args: argparse.Namespace) -> FitConfig:
    """The configuration of the run that the options describe."""
    tokenizer = {"mode": args.mode, "vocab_size": args.vocab_size}
    given = {name: value for name, value in tokenizer.items() if value is not None}
    shares = {"valid_share": args.valid_share, "test_share": args.test_share}
    return layered(recipe(args.recipe), {"corpus": {"name": str(args.path), **shares}, "tokenizer": given})


def _check(path: Path, config: FitConfig, max_problems: int) -> tuple[list[str], int]:
    """The report's lines and the exit status."""
    if path.suffix.lower() != jsonl.SUFFIX:
        raise DataError(path, "only .jsonl files need a check; --help shows their format")
    # Every line, and the splits.
    found = jsonl.scan(path)
    problems = [f"line {line}: {reason}" for line, reason in found.problems]
    corpus = None
    shares = {"valid_share": config.corpus.valid_share, "test_share": config.corpus.test_share}
    try:
        corpus = jsonl.assemble(path, found, **shares)
    except DataError as error:
        problems.append(error.reason)
    # How the model will read the text.
    reading = None
    if corpus is not None:
        if any(words(u.text) != [UNK] * len(words(u.text)) for c in corpus.train for u in c.utterances):
            reading = TextReading.of(corpus, config)
        else:
            problems.append("the training conversations contain no word")
    tally = _Tally(reading or TextReading.of(None, config))
    for conversation in found.conversations:
        tally.add(conversation)
    lines = [f"{path}", *_describe(tally), *_describe_copies(found, corpus), *_describe_splits(corpus, reading)]
    if skipped := len(found.one_utterance):
        numbers = ", ".join(map(str, found.one_utterance[:NAMES_SHOWN])) + ("…" if skipped > NAMES_SHOWN else "")
        lines.append(_row("left out", f"{skipped:,} with a single utterance (lines {numbers})"))
    if warnings := [*(reading.warnings if reading else ()), *tally.warnings, *_leaks(found)]:
        lines += ["", f"{len(warnings):,} warning{'s' if len(warnings) > 1 else ''}:", *warnings, ""]
    if not problems:
        return [*lines, f"no problems found{', but see the warnings' if warnings else ''}"], FINE
    hidden = len(problems) - max(0, max_problems)
    lines += ["", f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}:", *problems[: max(0, max_problems)]]
    if hidden > 0:
        lines.append(f"... and {hidden:,} more; --max-problems {len(problems)} lists all")
    return lines, PROBLEMS


@dataclass
class _Tally:
    """Counts over conversations, read one at a time: a corpus need not fit into memory."""

    reading: TextReading
    turns: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    words: int = 0
    speakers: Counter[str | None] = field(default_factory=Counter)
    topics: Counter[str | None] = field(default_factory=Counter)
    acts: Counter[str | None] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    silent: int = 0
    marks: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation) -> None:
        self.turns[len(conversation.utterances)] += 1
        self.topics[conversation.topic] += 1
        for utterance in conversation.utterances:
            cut = words(utterance.text)
            self.tokens[self.reading.length(utterance.text)] += 1
            self.marks.update(name for name in SPECIALS if name != UNK and name in utterance.text)
            self.words += len(cut) - cut.count(UNK)
            self.acts[utterance.dialog_act] += 1
        names = dict.fromkeys(utterance.speaker for utterance in conversation.utterances)
        self.speakers.update(list(names))
        for name in names:
            profile = conversation.profile(name)
            self.known.update(part for part in PROFILE_PARTS if getattr(profile, part) is not None)
        self.silent += len(conversation.speakers.keys() - names)

    @property
    def warnings(self) -> list[str]:
        """What is unusual about the messages."""
        found = length_warnings(self.reading.lengths(self.tokens), self.reading.option)
        if self.marks:
            names = ", ".join(f"{name} in {count:,}" for name, count in self.marks.most_common())
            found.append(
                f"names of special tokens are in the text ({names} messages); they are read as ordinary words, so remove "
                "them if they mark beginnings and ends"
            )
        return found


def _describe(tally: _Tally) -> list[str]:
    """Counts over conversations without problems and with at least one response."""
    if not tally.turns:
        return [_row("conversations", "0 usable")]
    lengths = tally.reading.lengths(tally.tokens)
    utterances, speakers = tally.tokens.total(), tally.speakers.total()
    known = ", ".join(f"{part} known of {tally.known[part] / speakers:.0%}" for part in PROFILE_PARTS)
    silent = tally.silent
    return [
        _row("conversations", f"{tally.turns.total():,}"),
        _row("utterances", f"{utterances:,}; in a conversation: {_quantiles(tally.turns)}"),
        _row("words", f"{tally.words:,}"),
        _row("tokens", f"{tally.reading.unit}: {_quantiles(tally.tokens)}"),
        _row(
            "",
            f"{lengths.long:,} ({lengths.long / utterances:.1%}) exceed the model's {lengths.limit}: as context they",
        ),
        _row("", "lose their middle, as replies their end; " + f"{lengths.unread:.1%} of all tokens are never read"),
        _row("speakers", _names(tally.speakers)),
        _row("topics", _names(tally.topics)),
        _row("dialog acts", _names(tally.acts)),
        _row("profiles", known),
        *([_row("", f"{silent:,} belong to speakers without utterances: check their names")] if silent else []),
    ]


def _describe_copies(found: jsonl.Scan, corpus: Corpus | None) -> list[str]:
    """How many conversations say the same as an earlier one."""
    _, same, alike = (len(found.conversations) - len(np.unique(keys)) for keys in found.keys.T)
    if not alike:
        return []
    return [
        _row(
            "copies", f"{same:,} conversations have the same texts as an earlier one, and {alike - same:,} more differ"
        ),
        _row("", "in numbers alone; copies share a split, unless the file says otherwise"),
    ]


def _leaks(found: jsonl.Scan) -> list[str]:
    """Whether the splits that the file itself requests have copies of training conversations."""
    _, copies, _ = found.keys.T
    train = np.isin(copies, copies[found.requested == TRAIN])
    return [
        f"{count:,} of the {name} conversations are copies of training conversations: figures on them say little"
        for index, name in enumerate(SPLITS)
        if index != TRAIN and (count := int(np.count_nonzero(train & (found.requested == index))))
    ]


def _describe_splits(corpus: Corpus | None, reading: TextReading | None) -> list[str]:
    """The sizes of the splits, and what the vocabulary knows."""
    if corpus is None or reading is None:
        return []
    splits = [corpus.train, corpus.valid, corpus.test]
    total = sum(map(len, splits))
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in zip(SPLITS, splits, strict=True))
    shares = ", ".join(f"{len(split) / total:.1%}" for split in splits)
    return [_row("splits", f"{sizes}: {shares}"), *(_row(*row) for row in reading.rows)]


def _quantiles(counts: Counter[int]) -> str:
    """Nearest-rank quantiles of at least one value, from the count of each value."""
    values = sorted(counts)
    ranks = list(accumulate(counts[value] for value in values))
    wanted = ((percent * ranks[-1] + 99) // 100 for percent in QUANTILES)
    chosen = (values[bisect_left(ranks, max(1, rank))] for rank in wanted)
    return ", ".join(f"{label} {value}" for label, value in zip(QUANTILES.values(), chosen, strict=True))


def _names(counts: Counter[str | None]) -> str:
    """The most frequent names with their counts, and the count of missing ones."""
    named = Counter({name: count for name, count in counts.items() if name is not None})
    shown = [f"{show(name)[1:-1]} {count:,}" for name, count in named.most_common(NAMES_SHOWN)]
    if len(named) > NAMES_SHOWN:
        shown.append(f"{len(named) - NAMES_SHOWN:,} more")
    if absent := counts[None]:
        shown.append(f"(none given) {absent:,}")
    return f"{len(named):,}: {', '.join(shown)}" if named else "none given"


def _row(label: str, value: str) -> str:
    return f"  {label:<14}{value}"


if __name__ == "__main__":
    sys.exit(main())
