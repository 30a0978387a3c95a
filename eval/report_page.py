"""report.html: one file that shows an evaluation with its findings in words, samples and plots.

Open it to change the page; `report_page.html` beside it has its style.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from eval.contexts import AnsweredContext
from eval.in_words import sentences
from eval.measures import flat
from eval.min_score_words import NOTE, min_score_table
from eval.report import SHOWN_CONTEXT, chosen_contexts, rule

PAGE_FILE = "report.html"
CURVES_FILE = "learning_curves.png"  # name under which `training.fit` writes it to a run's folder
SAMPLES = 10  # contexts with their replies
BY_CODE = 5  # contexts with replies that differ only in z

_TEMPLATE = Template(Path(__file__).with_name("report_page.html").read_text(encoding="utf-8"))


def page(
    metrics: Mapping[str, Any],
    answered: Sequence[AnsweredContext],
    checkpoint: Path,
    greedy: Sequence[AnsweredContext] = (),
) -> str:
    """The page.

    Args:
        metrics: the content of metrics.json.
        answered: contexts with replies; may be empty.
        checkpoint: its folder; if this is in a run's folder, the learning curves there are shown.
        greedy: contexts with replies that differ only in z; may be empty.
    """
    about = (
        f"Step {metrics['step']}, {metrics['conversations']} conversations of split {metrics['split']} of "
        f"{metrics['data']}"
    )
    sections = (_samples(answered), _code(metrics, greedy), _min_score(metrics), _curves(checkpoint), _figures(metrics))
    return _TEMPLATE.substitute(
        title=escape(f"Evaluation of {metrics['checkpoint']}"),
        about=escape(about),
        words="\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(metrics)),
        parts="\n".join(line for section in sections for line in section),
    )


def _samples(answered: Sequence[AnsweredContext]) -> Iterator[str]:
    if not answered:
        return
    chosen = chosen_contexts(answered, SAMPLES)
    yield "<h2>Samples</h2>"
    yield f'<p class="quiet">{escape(rule(chosen))}</p>'
    for one in chosen:
        yield from _context(one)
        yield "<ol>"
        yield from (f"<li>{escape(reply)}</li>" for reply in one.replies)
        yield f'</ol><p class="quiet">What {escape(one.reference.speaker)} said: {escape(one.reference.text)}</p>'


def _context(one: AnsweredContext) -> Iterator[str]:
    yield f"<h3>{escape(one.conversation)}, utterance {one.position}, topic {escape(one.topic or 'unknown')}</h3>"
    yield '<div class="turns">'
    for turn in one.context[-SHOWN_CONTEXT:]:
        yield _turn(turn.speaker, turn.text)
    yield "</div>"


def _turn(speaker: str, text: str) -> str:
    return f'<p><span class="speaker">{escape(speaker)}</span>{escape(text)}</p>'


def _code(metrics: Mapping[str, Any], greedy: Sequence[AnsweredContext]) -> Iterator[str]:
    """What z does: the KL of each dimension as bars, the largest first, and replies that differ only in z."""
    nats = sorted(metrics.get("kl_per_dimension", ()), reverse=True)
    if not nats or nats[0] <= 0:
        return
    yield "<h2>What z carries</h2>"
    yield f'<p class="quiet">KL of each dimension, the largest first: up to {nats[0]:.2f} nats.</p>'
    heights = [100 * value / nats[0] for value in nats]
    bars = "".join(
        f'<rect x="{index + 0.1:g}" y="{100 - height:.2f}" width=".8" height="{height:.2f}"/>'
        for index, height in enumerate(heights)
    )
    yield f'<svg viewBox="0 0 {len(nats)} 100" preserveAspectRatio="none" fill="currentColor" role="img">{bars}</svg>'
    chosen = chosen_contexts(greedy, BY_CODE)
    if not chosen:
        return
    yield (
        f'<p class="quiet">{len(chosen[0].replies)} draws of z from the prior for each of these contexts, and for each '
        "draw the likeliest words. Where all are the same reply, z does not decide what is said.</p>"
    )
    for one in chosen:
        yield from _context(one)
        counts = Counter(one.replies)
        yield f"<ul>{''.join(f'<li>{escape(reply)} ({count})</li>' for reply, count in counts.most_common())}</ul>"


def _curves(checkpoint: Path) -> Iterator[str]:
    for folder in (checkpoint, checkpoint.resolve().parent):
        if (folder / CURVES_FILE).is_file():
            picture = base64.b64encode((folder / CURVES_FILE).read_bytes()).decode()
            yield f'<h2>Training</h2><img alt="learning curves" src="data:image/png;base64,{picture}">'
            return


def _min_score(metrics: Mapping[str, Any]) -> Iterator[str]:
    if "min_score" not in metrics:
        return
    head, rows = min_score_table(metrics["min_score"])
    yield f'<h2>Choosing min_score</h2><p class="quiet">{escape(NOTE)}</p><div class="scroll"><table>'
    yield f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"
    yield from (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    yield "</table></div>"


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield '<h2>All figures</h2><div class="scroll"><table>'
    yield from (f"<tr><td>{escape(name)}</td><td>{value:.4g}</td></tr>" for name, value in flat(metrics).items())
    yield "</table></div>"
