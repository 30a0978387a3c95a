"""`python -m training.check PATH`: what a file of one's own conversations holds, and everything wrong with it."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dialog_cvae.cli import Parser
from dialog_cvae.config import DataConfig, ModelConfig, TokenizerConfig
from dialog_cvae.data import jsonl
from dialog_cvae.data.jsonl_line import show
from dialog_cvae.errors import DataError, DialogCvaeError
from dialog_cvae.tokenizer import UNK, words
from dialog_cvae.types import Conversation, Corpus

FINE, PROBLEMS, UNREADABLE = 0, 1, 2
NAMES_SHOWN = 12  # of topics and dialog acts
QUANTILES = {0: "least", 25: "25%", 50: "median", 75: "75%", 95: "95%", 100: "most"}  # percent, label

FORMAT = """\
The file is UTF-8 text with one conversation a line, each a JSON object:

  {"topic": "pets", "utterances": [{"speaker": "A", "text": "got a dog?"}, {"speaker": "B", "text": "yes, two"}]}

  utterances  required, in the order in which they were said: objects with
                speaker     required; any name, and any number of speakers
                text        required
                dialog_act  optional, such as "yes-no-question"
  topic       optional
  prompt      optional: what the speakers were asked to talk about
  id          optional: a name that no other line has
  split       optional, then on every line: "train", "valid" or "test"; without it the conversations are divided by
              --valid-share and --test-share
  speakers    optional profiles, {"A": {"sex": "female", "age": 34, "education": 2}}, each field optional too;
              education is 0 less than high school, 1 less than college, 2 college, 3 more than college

Blank lines are skipped. A conversation of one utterance is counted and left out, since nothing responds in it.
Control characters other than tabs and line ends are a problem.
Exit status: 0 the file is fine, 1 it has problems, 2 it cannot be read at all.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):  # file names and topics may hold what the terminal's encoding does not
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        lines, status = _check(args.path, args.valid_share, args.test_share, args.max_problems)
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNREADABLE
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:  # `| head` has seen enough; keep the interpreter from flushing into the closed pipe
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
    if path.suffix != ".jsonl":
        raise DataError(path, "only .jsonl files need a check; --help shows their format")
    found = jsonl.scan(path)
    problems = [f"line {line}: {reason}" for line, reason in found.problems]
    corpus = None
    try:
        corpus = jsonl.assemble(path, found, valid_share=valid_share, test_share=test_share)
    except DataError as error:
        problems.append(error.reason)
    if corpus is not None and not _word_counts(corpus.train):
        problems.append("the training conversations contain no word")
    lines = [f"{path}", *_describe([record.conversation for record in found.records]), *_describe_splits(corpus)]
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


def _describe(conversations: Sequence[Conversation]) -> list[str]:
    """Counts over conversations without problems and with something to respond to."""
    if not conversations:
        return [_row("conversations", "0 usable")]
    utterances = [utterance for conversation in conversations for utterance in conversation.utterances]
    cut = [words(utterance.text) for utterance in utterances]
    lengths = [len(tokens) + 2 for tokens in cut]  # <s> and </s> count
    limit = ModelConfig().max_utterance_tokens
    too_long = sum(length > limit for length in lengths)
    pairs = {(c.id, u.speaker): c.profile(u.speaker) for c in conversations for u in c.utterances}
    known = {
        field: sum(getattr(profile, field) is not None for profile in pairs.values())
        for field in ("sex", "age", "education")
    }
    silent = sum(name not in {u.speaker for u in c.utterances} for c in conversations for name in c.speakers)
    turns = _quantiles([len(conversation.utterances) for conversation in conversations])
    return [
        _row("conversations", f"{len(conversations):,}"),
        _row("utterances", f"{len(utterances):,}; in a conversation: {turns}"),
        _row("words", f"{sum(len(tokens) - tokens.count(UNK) for tokens in cut):,}"),
        _row("tokens", f"in an utterance, with <s> and </s>: {_quantiles(lengths)}"),
        _row("", f"{too_long:,} ({too_long / len(lengths):.1%}) exceed the model's {limit} and lose their middle"),
        _row("speakers", _names(speaker for _, speaker in pairs)),
        _row("topics", _names(conversation.topic for conversation in conversations)),
        _row("dialog acts", _names(utterance.dialog_act for utterance in utterances)),
        _row("profiles", ", ".join(f"{field} known of {n / len(pairs):.0%}" for field, n in known.items())),
        *([_row("", f"{silent:,} are of speakers who say nothing: check their names")] if silent else []),
    ]


def _describe_splits(corpus: Corpus | None) -> list[str]:
    if corpus is None:
        return []
    size = TokenizerConfig().vocab_size
    train = _word_counts(corpus.train)
    held_out = _word_counts([*corpus.valid, *corpus.test])
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
    del counts[UNK]  # the place of a word that somebody left out
    return counts


def _quantiles(values: Sequence[int]) -> str:
    """Nearest-rank quantiles of at least one value."""
    ordered = sorted(values)
    ranks = ((percent * len(ordered) + 99) // 100 for percent in QUANTILES)
    chosen = (ordered[max(1, rank) - 1] for rank in ranks)
    return ", ".join(f"{label} {value}" for label, value in zip(QUANTILES.values(), chosen, strict=True))


def _names(values: Iterable[str | None]) -> str:
    """The commonest names with their counts, and how often there is none."""
    counts = Counter(values)
    absent = counts.pop(None, 0)
    shown = [f"{show(name)[1:-1]} {count:,}" for name, count in counts.most_common(NAMES_SHOWN)]
    if len(counts) > NAMES_SHOWN:
        shown.append(f"{len(counts) - NAMES_SHOWN:,} more")
    if absent:
        shown.append(f"(none given) {absent:,}")
    return f"{len(counts):,}: {', '.join(shown)}" if counts else "none given"


def _row(label: str, value: str) -> str:
    return f"  {label:<14}{value}"


if __name__ == "__main__":
    sys.exit(main())
