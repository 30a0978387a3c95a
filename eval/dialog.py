"""Evaluate a dialog checkpoint on held-out conversations: `python -m eval.dialog --help`.

Open it to follow an evaluation from its options to its files.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from dialog_cvae.cli import exit_status
from dialog_cvae.config import DataConfig, Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.corpora import Split, find_vectors, is_path, load_corpus, load_split
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint import CONFIG, Checkpoint
from dialog_cvae.types import Conversation
from eval.baselines.baseline_rows import PEOPLE, baseline_replies
from eval.contexts import AnsweredContext, count_contexts
from eval.dialog_arguments import dialog_parser
from eval.evaluation import combined, evaluate_checkpoint
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut, ScoringData
from eval.metrics.tokens import metric_tokens
from eval.references import multi_reference
from eval.report import CONTEXTS_FILE, METRICS_FILE, RESPONSES_FILE, SAMPLES_FILE, compared, summary, write
from eval.scoring import cached_reply_scores

CACHE = "cache"  # folder below --out
NONE = "none"  # the value of --references for none


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = dialog_parser().parse_args(argv)
    return exit_status(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
    # everything that can be refused is checked before the long work
    checkpoint = Checkpoint.load(arguments.checkpoint)
    _check_replies(arguments)
    held_out = _held_out(arguments, data_config(arguments, checkpoint))
    if not arguments.samples:
        print("no replies (--samples 0): likelihoods only")
    elif held_out.vectors is None:
        print("no word vectors (--vectors): A-bow, E-bow and G-bow are left out")
    else:
        load_vectors(held_out.vectors, ())  # reports a broken file now, not after the sampling
    _make_folder(arguments.out, arguments.checkpoint)
    settings = _settings(arguments, checkpoint)
    cache = Cache(arguments.out / CACHE, lambda line: print(line, file=sys.stderr))
    # the replies of the model and of the baselines
    model, replies = evaluate_checkpoint(
        checkpoint, arguments.checkpoint, arguments.device, held_out, settings, cache, progress_bar
    )
    baselines = baseline_replies(held_out, settings, cache) if arguments.baselines else {}
    # their scores
    rows = [*([] if replies is None else [replies]), *baselines.values()]
    every = [one for row in rows for part in row if part is not None for one in part]
    data = functools.cache(lambda: _scoring_data(held_out, every))
    scores = None if replies is None else cached_reply_scores(replies, held_out, settings, data, cache, progress_bar)
    evaluation = combined(held_out, model, replies, scores)
    metrics = _described(arguments, checkpoint, held_out, settings) | evaluation.figures
    for name, row in baselines.items():
        people = name == PEOPLE
        found = cached_reply_scores(row, held_out, settings, data, cache, progress_bar, people=people)
        metrics.setdefault("baselines", {})[name] = found.figures
    # the files, and a summary
    write(arguments.out, evaluation, metrics)
    print(summary(metrics))
    if baselines:
        print("\n".join(("", *compared({"the model": evaluation.figures, **metrics["baselines"]}))))
    of_replies = "" if replies is None else f"{RESPONSES_FILE}, {SAMPLES_FILE}, "
    print(f"wrote {of_replies}{METRICS_FILE} and {CONTEXTS_FILE} to {arguments.out}")
    return 0


def _check_replies(arguments: argparse.Namespace) -> None:
    """Refuse options on replies where none are drawn.

    Raises:
        ConfigError: there is one.
    """
    if arguments.samples:
        return
    given = {
        "--baselines": arguments.baselines,
        "--single-reference": arguments.single_reference,
        "--own-decoding": arguments.own_decoding,
        "--references": arguments.references not in (None, NONE),
        "--vectors": arguments.vectors is not None,
    }
    if unused := [name for name, value in given.items() if value]:
        raise ConfigError(f"{unused[0]}: has no effect with --samples 0, which draws no replies")


def _described(
    arguments: argparse.Namespace, checkpoint: Checkpoint, held_out: HeldOut, settings: Settings
) -> dict[str, Any]:
    """What was evaluated, and how, for metrics.json."""
    return {
        "checkpoint": str(arguments.checkpoint),
        "step": checkpoint.config.provenance.step,
        "data": held_out.name,
        "split": held_out.split,
        "conversations": len(held_out.conversations),
        **({} if checkpoint.config.base is None else _language_model(checkpoint, settings)),
        "samples": settings.samples,
        "seed": settings.seed,
        "protocol": settings.protocol,
        **asdict(settings.decoding),
        "vectors": None if held_out.vectors is None else Path(held_out.vectors).name,
        "references": None if held_out.references is None else Path(arguments.references).name,
    }


def _language_model(checkpoint: Checkpoint, settings: Settings) -> dict[str, str]:
    """The base of adapters, and how it is multiplied for likelihoods."""
    assert checkpoint.config.base is not None
    return {"base": checkpoint.config.base.name, "precision": settings.precision}


def _held_out(arguments: argparse.Namespace, data: DataConfig) -> HeldOut:
    """The held-out data.

    Raises:
        ConfigError: it has no context.
        DataError: the corpus or the references are missing or malformed.
    """
    split: Split = arguments.split
    train: Sequence[Conversation] | None = None
    if arguments.baselines:
        corpus = load_corpus(data)
        name, train = corpus.name, list(corpus.train)
        conversations: Sequence[Conversation] = list(getattr(corpus, split))
    else:
        name, conversations = load_split(data, split)
    references = None
    if arguments.references not in (None, NONE):
        references = multi_reference.load(Path(arguments.references), conversations)
    conversations = conversations[: arguments.limit]
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {split} of {name} has no context with a reply to score")
    return HeldOut(name, split, conversations, references, vectors_source(arguments.vectors, arguments.data_dir), train)


def _settings(arguments: argparse.Namespace, checkpoint: Checkpoint) -> Settings:
    asked = {field.name: getattr(arguments, field.name) for field in fields(Decoding)}
    decoding = replace(
        checkpoint.config.decoding if arguments.own_decoding else Decoding(),
        **{name: value for name, value in asked.items() if value is not None},
    )
    return Settings(
        protocol="service" if arguments.own_decoding or decoding.candidates else "paper",
        samples=arguments.samples,
        seed=arguments.seed,
        decoding=decoding,
        importance_samples=arguments.importance_samples,
        single_reference=arguments.single_reference,
        precision=arguments.precision,
    )


def data_config(arguments: argparse.Namespace, checkpoint: Checkpoint) -> DataConfig:
    """The requested corpus, with the checkpoint's own split shares and text style."""
    stored = checkpoint.config.provenance.fit.get("corpus", {})
    try:
        fitted = DataConfig.model_validate(stored)
    except ValidationError:
        raise CheckpointError(f"{arguments.checkpoint}/{CONFIG}: field provenance.fit.corpus is broken") from None
    if arguments.data is None and not stored:
        raise ConfigError(f"--data: {arguments.checkpoint} does not say what it was fitted on; name a corpus")
    if arguments.data is None and is_path(fitted.name) and not Path(fitted.name).exists():
        raise ConfigError(
            f"--data: {arguments.checkpoint} was fitted on a file {fitted.name}, which is not in this folder; "
            "give its path"
        )
    asked = {"name": arguments.data, "dir": arguments.data_dir, "style": arguments.style}
    return fitted.model_copy(update={key: value for key, value in asked.items() if value is not None})


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


def vectors_source(asked: str | None, data_dir: Path | None) -> Path | str | None:
    """File or name of the word vectors: the requested ones, or those beside the corpora."""
    if asked is None:
        return find_vectors("glove", data_dir)
    plain_name = re.fullmatch(r"[\w.-]+", asked) and not Path(asked).exists()
    return (find_vectors(asked, data_dir) if plain_name else None) or asked


def _scoring_data(held_out: HeldOut, answered: Sequence[AnsweredContext]) -> ScoringData:
    """Load the data that the replies are scored with; prints how many of their words have vectors."""
    data = held_out.scoring_data(answered)
    if data.vectors is not None:
        words = {t for one in answered for text in (*one.replies, one.reference.text) for t in metric_tokens(text)}
        dimension, share = data.vectors.dimension, data.vectors.coverage(words)
        print(f"word vectors {held_out.vectors}: {dimension} dimensions, {share:.1%} of the words")
    return data


def progress_bar(total: int, what: str) -> tqdm[Any]:
    """A progress bar on stderr, if that is a terminal."""
    return tqdm(total=total, desc=what, unit="reply", disable=None, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
