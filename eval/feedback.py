"""What became of a service's suggestions: `dialog-cvae feedback FILE`, with the lines that `POST /feedback` stores.

Open it to change what is counted, or which lines become training data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dialog_cvae.cli import Parser, exit_status
from dialog_cvae.data.readers.jsonl_line import LineError, parse_line
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.storage.files import write_atomically
from eval.blind.intervals import wilson
from eval.metrics.thresholds import thresholds

OUTCOMES = ("taken", "edited", "refused")
EXPLANATION = """\
Count what became of suggestions: the shares that were taken, edited and refused, with 95% intervals. If scores were
stored, say what a min_score would have left of those that people used and of those that they refused.
With --conversations, write the conversations whose context and sent text were stored, to train on them:

  python -m eval.feedback feedback.jsonl --conversations learned.jsonl
  python -m training.fit --data learned.jsonl --init runs/mine/best --out runs/more
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the shares; returns the exit status."""
    parser = Parser(
        prog="python -m eval.feedback", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="the file that DIALOG_CVAE_FEEDBACK names")
    parser.add_argument(
        "--conversations", type=Path, metavar="OUT", help="file to write conversations to, as JSON lines"
    )
    asked = parser.parse_args(argv)
    return exit_status(lambda: _run(asked.file, asked.conversations))


def _run(file: Path, out: Path | None) -> int:
    if out is not None and out.exists() and file.exists() and out.samefile(file):
        raise ConfigError(f"--conversations: {out} is the file of feedback; name another file")
    lines, damaged = read_feedback(file)
    for text in (*shares(lines), *([f"{damaged} damaged lines were left out"] if damaged else [])):
        print(text)
    if not lines:
        print("no feedback yet")
    if out is not None:
        found, refused = conversations(lines)
        write_atomically(out, "".join(f"{each}\n" for each in found).encode())
        print(f"{len(found)} conversations in {out}")
        if refused:
            print(f"{refused} conversations that fit would refuse were left out")
    return 0


def read_feedback(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of a file, and how many are damaged.

    Raises:
        DataError: the file can't be read.
    """
    try:
        content = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(file, f"can't be read ({error.strerror})") from None
    found, damaged = [], 0
    for text in content.split("\n"):
        try:
            each = json.loads(text) if text else None
        except (ValueError, RecursionError):
            each = {}
        if isinstance(each, dict) and _is_feedback(each):
            found.append(each)
        elif text:
            damaged += 1
    return found, damaged


def _is_feedback(line: dict[str, Any]) -> bool:
    """Whether a line is as the service stores it."""
    position = line.get("position", 0)
    return line.get("outcome") in OUTCOMES and isinstance(position, int) and not isinstance(position, bool)


def _model(line: dict[str, Any]) -> str:
    """The name of the model, without control characters for a terminal."""
    name = str(line.get("model", "any model"))
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def shares(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines for each model: its outcomes with 95% intervals (Wilson, 1927), and positions of taken suggestions."""
    for model in sorted({_model(each) for each in lines}):
        own = [each for each in lines if _model(each) == model]
        counts = Counter(each["outcome"] for each in own)
        for outcome in OUTCOMES:
            low, high = wilson(counts[outcome], len(own))
            share = counts[outcome] / len(own)
            yield f"{model}: {outcome} {counts[outcome]} of {len(own)}, {share:.1%} ({low:.1%} to {high:.1%})"
        positions = Counter(each["position"] for each in own if each["outcome"] == "taken" and "position" in each)
        if positions:
            taken = ", ".join(f"{place}: {count}" for place, count in sorted(positions.items()))
            yield f"{model}: taken by position: {taken}"
        yield from (f"{model}: {text}" for text in min_scores(own))


def min_scores(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What each threshold would have left of the suggestions that were used, and of those that were all refused.

    A threshold helps if it leaves a larger share of used suggestions than of refusals, and the two 95% intervals do not
    overlap.
    """
    scored = [(each, [float(score) for score in each["scores"]]) for each in lines if _has_scores(each)]
    used = [row[each["position"]] for each, row in scored if each["outcome"] != "refused" and "position" in each]
    refused = [max(row) for each, row in scored if each["outcome"] == "refused"]
    if not used or not refused:
        return
    helpful = []
    for limit in thresholds([*([score] for score in used), *([score] for score in refused)])[1:]:
        left, kept = (sum(score >= limit for score in row) for row in (used, refused))
        (low, high), (least, most) = wilson(left, len(used)), wilson(kept, len(refused))
        yield (
            f"min_score {limit:g} leaves {left} of {len(used)} suggestions that were used, {left / len(used):.1%} "
            f"({low:.1%} to {high:.1%}), and something in {kept} of {len(refused)} refusals, {kept / len(refused):.1%} "
            f"({least:.1%} to {most:.1%})"
        )
        helpful += [f"{limit:g}"] if low > most else []
    which = f"a min_score of {' or '.join(helpful)}" if helpful else "none of these"
    yield f"{which} clearly leaves out more of what is refused than of what is used"


def _has_scores(line: dict[str, Any]) -> bool:
    """Whether a line has the scores of its suggestions, as the service stores them."""
    scores, position = line.get("scores"), line.get("position", 0)
    return (
        isinstance(scores, list)
        and all(isinstance(score, int | float) and 0 <= score <= 1 for score in scores)
        and isinstance(position, int)
        and 0 <= position < len(scores)
    )


def conversations(lines: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
    """The conversations to learn from, a line of JSON each, which end with the text that was sent.

    Returns:
        The lines, and the number of conversations left out because they are invalid.
    """
    found, refused = [], 0
    for number, each in enumerate(lines, 1):
        if "context" not in each or "sent" not in each:
            continue
        turns = each["context"] if isinstance(each["context"], list) else [each["context"]]
        last = {"speaker": each.get("respond_as"), "text": each["sent"]}
        topic = {"topic": each["topic"]} if str(each.get("topic", "")).strip() else {}
        text = json.dumps({"id": f"feedback-{number}", **topic, "utterances": [*turns, last]})
        try:
            parse_line(text.encode(), number)
        except LineError:
            refused += 1
        else:
            found.append(text)
    return found, refused


if __name__ == "__main__":
    sys.exit(main())
