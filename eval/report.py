"""The files that an evaluation writes, and its tables.

Open it to change metrics.json, responses.jsonl, contexts.npz or samples.md, or how a table of replies looks.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from dialog_cvae.storage.files import write_atomically
from eval.contexts import AnsweredContext
from eval.evaluation import Evaluation
from eval.measures import DIVERSITY, MAIN, flat

CONTEXTS_FILE, RESPONSES_FILE = "contexts.npz", "responses.jsonl"
METRICS_FILE, SAMPLES_FILE = "metrics.json", "samples.md"
SHOWN_CONTEXT = 3  # utterances before the reference that a table shows; the model saw more

RULE = (
    "The rule by which they were chosen: of the conversations that have a context, {count} evenly spaced ones in the "
    "corpus's order, and of each the context in its middle. Replies are unedited, in the order in which they came."
)
RULE_OF_FEW = (
    "The rule by which they were chosen: {count} contexts of all conversations that have one, evenly spaced in each. "
    "Replies are unedited, in the order in which they came."
)


def write(out: Path, evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
    """Write an evaluation into a folder; without replies, RESPONSES_FILE and SAMPLES_FILE are removed.

    Args:
        out: the folder.
        evaluation: its results.
        metrics: the whole content of metrics.json.

    Raises:
        DialogCvaeError: a file cannot be written.
    """
    if evaluation.answered:
        lines = (json.dumps(_line(one), ensure_ascii=False, allow_nan=False) + "\n" for one in evaluation.answered)
        write_atomically(out / RESPONSES_FILE, "".join(lines).encode())
        write_atomically(out / SAMPLES_FILE, sample_table(evaluation.answered).encode())
    else:  # those of an earlier evaluation would look like this one's
        for name in (RESPONSES_FILE, SAMPLES_FILE):
            (out / name).unlink(missing_ok=True)
    conversations, positions = zip(*evaluation.places, strict=True)
    places = {"conversation": np.array(conversations), "position": np.array(positions)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **places, **evaluation.columns)
    write_atomically(out / CONTEXTS_FILE, buffer.getvalue())
    write_atomically(out / METRICS_FILE, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())


def _line(one: AnsweredContext) -> dict[str, Any]:
    return {
        "conversation": one.conversation,
        "position": one.position,
        "topic": one.topic,
        "context": [{"speaker": u.speaker, "text": u.text} for u in one.context],
        "reference": one.reference.text,
        "speaker": one.reference.speaker,
        "responses": list(one.replies),
        **({"scores": list(one.scores)} if one.scores else {}),
    }


HIDDEN = ("floor_change", "continuation", "baselines", "iw_few", "min_score")
"""Parts of metrics.json that the summary leaves out."""


COMPARABLE = (
    "Nats a reply (iw_nll, elbo, without_z) can be compared between models whose vocabularies differ; perplexities, "
    "which are for each token, can't."
)


def summary(metrics: Mapping[str, Any]) -> str:
    """A table of figures as plain text, and which of them can be compared between models."""
    rows = [("measure", "precision", "recall"), *_rows(metrics)]
    lines = [f"{name:<46} {first:>10} {second:>10}".rstrip() for name, first, second in rows]
    return "\n".join([*lines, "", COMPARABLE] if "elbo" in metrics else lines)


def _rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping) and "precision" in value:
            yield prefix + name, f"{value['precision']:.3f}", f"{value['recall']:.3f}"
        elif isinstance(value, Mapping) and name not in HIDDEN:
            yield from _rows(value, f"{prefix}{name}: ")
        elif isinstance(value, float):
            yield prefix + name, f"{value:.3f}", ""
        elif isinstance(value, str | int):
            yield prefix + name, str(value), ""


def compared(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of a table that compares a model with rows without one."""
    found = {name: flat(figures) for name, figures in rows.items()}
    measures = [one for one in (*MAIN, *DIVERSITY) if any(one.name in figures for figures in found.values())]
    lines = [
        [name, *(f"{figures[one.name]:.{one.digits}f}" if one.name in figures else "" for one in measures)]
        for name, figures in found.items()
    ]
    return markdown_table(["", *(one.label for one in measures)], lines)


def chosen_contexts(sampled: Sequence[AnsweredContext], count: int) -> list[AnsweredContext]:
    """Contexts to show: the middle one of each of `count` evenly spaced conversations.

    If there are fewer conversations, evenly spaced contexts of each, `count` in all if there are enough.
    """
    by_conversation: defaultdict[str, list[AnsweredContext]] = defaultdict(list)
    for one in sampled:
        by_conversation[one.conversation].append(one)
    conversations = list(by_conversation.values())
    if len(conversations) >= count:
        picked = (conversations[index * len(conversations) // count] for index in range(count))
        return [contexts[len(contexts) // 2] for contexts in picked]
    # the shortest first, so that longer ones make up for them
    shares, left = {}, count
    for waiting, index in enumerate(sorted(range(len(conversations)), key=lambda index: len(conversations[index]))):
        shares[index] = min(len(conversations[index]), -(-left // (len(conversations) - waiting)))
        left -= shares[index]
    return [
        contexts[(2 * place + 1) * len(contexts) // (2 * shares[index])]
        for index, contexts in enumerate(conversations)
        for place in range(shares[index])
    ]


def rule(chosen: Sequence[AnsweredContext]) -> str:
    """How contexts were chosen."""
    few = len({one.conversation for one in chosen}) < len(chosen)
    return (RULE_OF_FEW if few else RULE).format(count=len(chosen))


def sample_table(sampled: Sequence[AnsweredContext], count: int = 10) -> str:
    """Contexts with their reference and sampled replies, chosen by a rule that the text states."""
    chosen = chosen_contexts(sampled, count)
    parts = ["# Sampled replies\n", rule(chosen) + "\n"]
    for number, one in enumerate(chosen, start=1):
        lines = _opening(number, one, "##")
        lines += [f"{index}. {reply}" for index, reply in enumerate(one.replies, start=1)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def comparison_table(models: Mapping[str, Sequence[AnsweredContext]], count: int = 10) -> str:
    """The same contexts with the replies of several models side by side, chosen by the same rule.

    Args:
        models: replies to the same contexts in the same order, by the models' names.
        count: contexts to show.
    """
    replies = {
        (one.conversation, one.position, name): one.replies for name, sampled in models.items() for one in sampled
    }
    chosen = chosen_contexts(next(iter(models.values())), count)
    parts = [rule(chosen) + "\n"]
    for number, one in enumerate(chosen, start=1):
        columns = [replies[one.conversation, one.position, name] for name in models]
        lines = [*_opening(number, one, "###"), *markdown_table(("", *models), _numbered(columns))]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown; a `|` in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(part.replace('|', chr(92) + '|') for part in line)} |" for line in lines]


def _numbered(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[f"{index}", *row] for index, row in enumerate(zip_longest(*columns, fillvalue=""), start=1)]


def _opening(number: int, one: AnsweredContext, level: str) -> list[str]:
    """A context and its real reply."""
    heading = f"{level} {number}. {one.conversation}, utterance {one.position}, topic {one.topic or 'unknown'}\n"
    turns = [f"> **{turn.speaker}:** {turn.text}  " for turn in one.context[-SHOWN_CONTEXT:]]
    return [heading, *turns, "", f"What {one.reference.speaker} said: {one.reference.text}\n"]
