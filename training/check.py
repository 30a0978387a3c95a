"""Describe a file of your own conversations and list all its problems: `python -m training.check PATH`."""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path

from dialog_cvae.cli import Parser
from dialog_cvae.config import DataConfig, ModelConfig, TokenizerConfig
from dialog_cvae.data.readers import jsonl
from dialog_cvae.data.readers.jsonl_line import show
from dialog_cvae.errors import DataError, DialogCvaeError
from dialog_cvae.text.tokenizer import UNK, words
from dialog_cvae.types import Conversation, Corpus

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
              --valid-share and --test-share
  speakers    optional profiles, {"A": {"sex": "female", "age": 34, "education": 2}}, each field optional too;
              education is 0 less than high school, 1 less than college, 2 college, 3 more than college

Blank lines are skipped. A conversation of one utterance is counted and left out, because it has no response.
Control characters other than tabs and line ends are a problem.
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
        lines, status = _check(args.path, args.valid_share, args.test_share, args.max_problems)
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


def _check(path: Path, valid_share: float, test_share: float, max_problems: int) -> tuple[list[str], int]:
    """The report's lines and the exit status."""
    if path.suffix.lower() != jsonl.SUFFIX:
        raise DataError(path, "only .jsonl files need a check; --help shows their format")
    found = jsonl.scan(path)
    problems = [f"line {line}: {reason}" for line, reason in found.problems]
    corpus = None
    try:
        corpus = jsonl.assemble(path, found, valid_share=valid_share, test_share=test_share)
    except DataError as error:
        problems.append(error.reason)
    train = _word_counts(corpus.train) if corpus is not None else None
    if train is not None and not train:
        problems.append("the training conversations contain no word")
    lines = [f"{path}", *_describe(found.conversations), *_describe_splits(corpus, train)]
    if skipped := len(found.one_utterance):
        numbers = ", ".join(map(str, found.one_utterance[:NAMES_SHOWN])) + ("…" if skipped > NAMES_SHOWN else "")
        lines.append(_row("left out", f"{skipped:,} with a single utterance (lines {numbers})"))
    if not problems:
        return [*lines, "no problems found"], FINE
    hidden = len(problems) - max(0, max_problems)
    lines += ["", f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}:", *problems[: max(0, max_problems)]]
    if hidden > 0:
        lines.append(f"... and {hidden:,} more; --max-problems {len(problems)} lists all")
    return lines, PROBLEMS


@dataclass
class _Tally:
    """Counts over conversations, read one at a time: a corpus need not fit into memory."""

    turns: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    words: int = 0
    speakers: Counter[str | None] = field(default_factory=Counter)
    topics: Counter[str | None] = field(default_factory=Counter)
    acts: Counter[str | None] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    silent: int = 0

    def add(self, conversation: Conversation) -> None:
        self.turns[len(conversation.utterances)] += 1
        self.topics[conversation.topic] += 1
        for utterance in conversation.utterances:
            cut = words(utterance.text)
            self.tokens[len(cut) + 2] += 1  # <s> and </s> count
            self.words += len(cut) - cut.count(UNK)
            self.acts[utterance.dialog_act] += 1
        names = dict.fromkeys(utterance.speaker for utterance in conversation.utterances)
        self.speakers.update(list(names))
        for name in names:
            profile = conversation.profile(name)
            self.known.update(part for part in PROFILE_PARTS if getattr(profile, part) is not None)
        self.silent += len(conversation.speakers.keys() - names)


def _describe(conversations: Iterable[Conversation]) -> list[str]:
    """Counts over conversations without problems and with at least one response."""
    tally = _Tally()
    for conversation in conversations:
        tally.add(conversation)
    if not tally.turns:
        return [_row("conversations", "0 usable")]
    limit = ModelConfig().max_utterance_tokens
    utterances, speakers = tally.tokens.total(), tally.speakers.total()
    too_long = sum(count for length, count in tally.tokens.items() if length > limit)
    known = ", ".join(f"{part} known of {tally.known[part] / speakers:.0%}" for part in PROFILE_PARTS)
    silent = tally.silent
    return [
        _row("conversations", f"{tally.turns.total():,}"),
        _row("utterances", f"{utterances:,}; in a conversation: {_quantiles(tally.turns)}"),
        _row("words", f"{tally.words:,}"),
        _row("tokens", f"in an utterance, with <s> and </s>: {_quantiles(tally.tokens)}"),
        _row("", f"{too_long:,} ({too_long / utterances:.1%}) exceed the model's {limit} and lose their middle"),
        _row("speakers", _names(tally.speakers)),
        _row("topics", _names(tally.topics)),
        _row("dialog acts", _names(tally.acts)),
        _row("profiles", known),
        *([_row("", f"{silent:,} belong to speakers without utterances: check their names")] if silent else []),
    ]


def _describe_splits(corpus: Corpus | None, train: Counter[str] | None) -> list[str]:
    if corpus is None or train is None:
        return []
    size = TokenizerConfig().vocab_size
    held_out = _word_counts(chain(corpus.valid, corpus.test))
    vocabulary = {word for word, _ in train.most_common(size)}
    share = sum(count for word, count in held_out.items() if word in vocabulary) / max(1, held_out.total())
    covered = sum(train[word] for word in vocabulary) / max(1, train.total())
    return [
        _row("splits", f"train {len(corpus.train):,}, valid {len(corpus.valid):,}, test {len(corpus.test):,}"),
        _row("vocabulary", f"{len(train):,} different words in train; the {size:,} most frequent of them cover"),
        _row("", f"{covered:.1%} of the words of train and {share:.1%} of those of valid and test"),
    ]


def _word_counts(conversations: Iterable[Conversation]) -> Counter[str]:
    counts = Counter(word for c in conversations for utterance in c.utterances for word in words(utterance.text))
    del counts[UNK]  # it marks an omitted word
    return counts


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
