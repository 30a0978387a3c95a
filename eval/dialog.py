"""Evaluate a dialog checkpoint on held-out conversations: `python -m eval.dialog --help`.

Open it to follow an evaluation from its options to its files.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dialog_cvae.cli import exit_status
from dialog_cvae.config import Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.roles import own_names
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.responder import NO_INDEX
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.files import write_atomically
from eval import vector_coverage
from eval.baselines.baseline_rows import OTHERS, baseline_replies
from eval.contexts import AnsweredContext
from eval.dialog_arguments import dialog_parser
from eval.dialog_data import NONE, load_held_out
from eval.evaluation import combined, evaluate_checkpoint
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut, ScoringData
from eval.in_words import sentences
from eval.margins import NEIGHBOURS, margins
from eval.min_score_words import min_score_lines
from eval.reply_scores import GOLD
from eval.report import CONTEXTS_FILE, METRICS_FILE, RESPONSES_FILE, SAMPLES_FILE, compared, summary, write
from eval.report_page import PAGE_FILE, page
from eval.scoring import cached_reply_scores
from eval.vocabulary_filter import IDS, TEXTS, VocabularyFilter

CACHE = "cache"  # name of a folder below --out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = dialog_parser().parse_args(argv)
    return exit_status(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    # check everything that can be refused before the long work
    checkpoint = Checkpoint.load(arguments.checkpoint)
    if arguments.candidates_from not in (None, "model") and checkpoint.replies is None:
        raise ConfigError(f"--candidates-from {arguments.candidates_from}: {arguments.checkpoint}: {NO_INDEX}")
    _check_replies(arguments)
    settings = _settings(arguments, checkpoint)
    text_filter = VocabularyFilter.of(checkpoint) if arguments.references_as == IDS else None
    held_out = replace(load_held_out(arguments, checkpoint), text_filter=text_filter)
    if not arguments.samples:
        print("no replies (--samples 0): likelihoods only")
    elif held_out.vectors is None:
        print(vector_coverage.WITHOUT)
    else:
        load_vectors(held_out.vectors, ())  # reports a broken file now, not after the sampling
    _make_folder(arguments.out, arguments.checkpoint)
    cache = Cache(arguments.out / CACHE, lambda line: print(line, file=sys.stderr))
    # the replies of the model and of the baselines
    model, replies = evaluate_checkpoint(
        checkpoint, arguments.checkpoint, arguments.device, held_out, settings, cache, progress_bar
    )
    baselines = baseline_replies(held_out, settings, cache) if arguments.baselines else {}
    # their scores
    rows = [*([] if replies is None else [replies]), *baselines.values()]
    every = [one for row in rows for part in row if part is not None for one in part]
    data = functools.cache(lambda: _scoring_data(held_out, every, quiet=arguments.brief))
    scores = None if replies is None else cached_reply_scores(replies, held_out, settings, data, cache, progress_bar)
    evaluation = combined(held_out, model, replies, scores)
    metrics = _described(arguments, checkpoint, held_out, settings) | evaluation.figures
    for name, row in baselines.items():
        people = name == OTHERS
        found = cached_reply_scores(row, held_out, settings, data, cache, progress_bar, people=people)
        prefix = f"{GOLD}." if name in NEIGHBOURS and held_out.references is not None else ""
        ahead = margins(evaluation.columns, found.columns, evaluation.places, prefix)
        metrics.setdefault("baselines", {})[name] = found.figures | ahead
    # the files, and a summary
    write(arguments.out, evaluation, metrics)
    greedy = (replies and replies.greedy) or ()
    html = page(metrics, evaluation.answered, arguments.checkpoint, greedy)
    write_atomically(arguments.out / PAGE_FILE, html.encode())
    _print_findings(arguments, metrics, evaluation.figures)
    return 0


def _print_findings(arguments: argparse.Namespace, metrics: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Print only the sentences if brief, else also all tables and the names of the files.

    Args:
        arguments: arguments of the command line.
        metrics: the content of metrics.json.
        figures: the model's figures.
    """
    in_words = [f"- {sentence}" for sentence in sentences(metrics)]
    if arguments.brief:
        print("\n".join((*in_words, f"samples, plots and all figures: {arguments.out / PAGE_FILE}")))
        return
    print(summary(metrics))
    if "baselines" in metrics:
        print("\n".join(("", *compared({"the model": figures, **metrics["baselines"]}))))
    if "min_score" in metrics:
        print("\n".join(("", *min_score_lines(metrics["min_score"]))))
    print("\n".join(("", "In words:", *in_words, "")))
    of_replies = f"{RESPONSES_FILE}, {SAMPLES_FILE}, " if arguments.samples else ""
    print(f"wrote {of_replies}{METRICS_FILE}, {CONTEXTS_FILE} and {PAGE_FILE} to {arguments.out}")


def _check_replies(arguments: argparse.Namespace) -> None:
    """Refuse options about replies if no replies are drawn.

    Raises:
        ConfigError: there is such an option.
    """
    if arguments.samples:
        return
    given = {
        "--baselines": arguments.baselines,
        "--single-reference": arguments.single_reference,
        "--own-decoding": arguments.own_decoding,
        "--references": arguments.references not in (None, NONE),
        "--only-referenced": arguments.only_referenced,
        "--references-as": arguments.references_as != TEXTS,
        "--vectors": arguments.vectors is not None,
        **{f"--{each.name.replace('_', '-')}": getattr(arguments, each.name) is not None for each in fields(Decoding)},
    }
    if unused := [name for name, value in given.items() if value]:
        raise ConfigError(f"{unused[0]}: has no effect with --samples 0, which draws no replies")


def _described(
    arguments: argparse.Namespace, checkpoint: Checkpoint, held_out: HeldOut, settings: Settings
) -> dict[str, Any]:
    """A description for metrics.json of what was evaluated and how."""
    return {
        "checkpoint": str(arguments.checkpoint),
        "step": checkpoint.config.provenance.step,
        "data": held_out.name,
        "split": held_out.split,
        "conversations": len(held_out.conversations),
        **({"left_out": held_out.left_out} if held_out.left_out else {}),
        **({"respond_as": ", ".join(roles)} if (roles := own_names(held_out.conversations[0].respond_as)) else {}),
        **({} if checkpoint.config.base is None else _language_model(checkpoint, settings)),
        "samples": settings.samples,
        "seed": settings.seed,
        "protocol": settings.protocol,
        **asdict(settings.decoding),
        "vectors": None if held_out.vectors is None else Path(held_out.vectors).name,
        "references": None if held_out.references is None else Path(arguments.references).name,
        "references_as": arguments.references_as,
    }


def _language_model(checkpoint: Checkpoint, settings: Settings) -> dict[str, str]:
    """The language model under the adapters, and its precision for likelihoods."""
    assert checkpoint.config.base is not None
    return {"base": checkpoint.config.base.name, "precision": settings.precision}


def _settings(arguments: argparse.Namespace, checkpoint: Checkpoint) -> Settings:
    """How to evaluate.

    Raises:
        ConfigError: the requested top-p has no effect.
    """
    asked = {field.name: getattr(arguments, field.name) for field in fields(Decoding)}
    decoding = replace(
        checkpoint.config.decoding if arguments.own_decoding else Decoding(),
        **{name: value for name, value in asked.items() if value is not None},
    )
    if arguments.top_p is not None and decoding.temperature == 0:
        raise ConfigError(f"--top-p {arguments.top_p:g}: has no effect at temperature 0; give --temperature too")
    return Settings(
        protocol="service"
        if arguments.own_decoding or decoding.candidates or decoding.candidates_from != "model"
        else "paper",
        samples=arguments.samples,
        seed=arguments.seed,
        decoding=decoding,
        importance_samples=arguments.importance_samples,
        single_reference=arguments.single_reference,
        precision=arguments.precision,
    )


def _make_folder(out: Path, checkpoint: Path) -> None:
    """Make the output folder before the long work begins."""
    if out.resolve() == checkpoint.resolve():
        raise ConfigError(f"--out: {out} is the checkpoint itself, whose {METRICS_FILE} would be overwritten")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be created ({error.strerror})") from None
    if not os.access(out, os.W_OK):
        raise ConfigError(f"--out: {out} is not writable")


def _scoring_data(held_out: HeldOut, answered: Sequence[AnsweredContext], *, quiet: bool) -> ScoringData:
    """Load the data that the replies are scored with; prints how many of the tokens have vectors, unless `quiet`."""
    data = held_out.scoring_data(answered)
    if not quiet and held_out.vectors is not None and data.vectors is not None and data.coverage is not None:
        print("\n".join(vector_coverage.described(held_out.vectors, data.vectors.dimension, data.coverage)))
    return data


def progress_bar(total: int, what: str) -> tqdm[Any]:
    """A progress bar on stderr, if that is a terminal."""
    return tqdm(total=total, desc=what, unit="reply", disable=None, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
