"""Evaluate a dialog checkpoint on held-out conversations: `python -m eval.dialog --help`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from dialog_cvae.cli import Parser, exit_status, real, whole
from dialog_cvae.config import MAX_CANDIDATES, MAX_TEMPERATURE, MIN_TEMPERATURE, DataConfig, Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.corpora import Split, find_vectors, load_corpus, load_split
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint import CONFIG, Checkpoint
from dialog_cvae.types import Conversation
from eval.baselines.baseline_rows import PEOPLE, honest_replies
from eval.evaluation import Settings, combined, modelled, scored
from eval.generation import Sampled, count_contexts
from eval.held_out import HeldOut, Yardstick
from eval.latent.likelihood import MAX_DRAWS
from eval.latent.model_scores import FEW, ON_ALL
from eval.metrics.tokens import metric_tokens
from eval.references import multi_reference
from eval.report import CONTEXTS_FILE, METRICS_FILE, RESPONSES_FILE, SAMPLES_FILE, compared, summary, write

CACHE = "cache"  # folder below --out
NONE = "none"  # no references

EXPLANATION = """\
Samples replies to every context of a split, scores them, and writes DIR/responses.jsonl (one object a context:
conversation, position, topic, context, reference and its speaker, responses), DIR/metrics.json, DIR/contexts.npz (every
score of every context, for tests of a difference) and, to read, DIR/samples.md with ten contexts chosen by a rule.

  python -m eval.dialog runs/mine/best --data swda --split test --samples 5 --out runs/mine/test
  python -m eval.dialog runs/mine/best --data mine.jsonl --temperature 0.8 --top-p 0.9 --out runs/mine/test
  python -m eval.dialog runs/mine/best --references refs.json --single-reference --baselines --out runs/mine/test

ELBO, KL and reconstruction perplexity are over all responses of the split, with one latent sample from the posterior;
the figures that begin with paper_ are over the windows that the official loader keeps, perplexity a mean over its
batches. The importance-weighted likelihood (iw_nll, nats a response) is a tighter bound than the ELBO.
BLEU-1..4, A-bow, E-bow and G-bow precision and recall are those of Zhao et al. (2017) over all contexts of at least one
utterance, against the one reference that the corpus has, or against those of --references: precision is the mean over
samples of their best match, recall the mean over references of their best sample. BLEU stands twice: by the smoothing
of NLTK up to 3.4.5, behind the published tables, and by that of NLTK from 3.6 on. The embedding scores need word
vectors that are not the model's.

What was found is kept in DIR/cache under everything that decides it: the same command again takes it from there.

Departures from the official code: every response counts, where its loader leaves out the last one of each conversation
and, for perplexity and KL, most of the rest; texts are compared and not token ids, so that a reference keeps its rare
words and its full length; a context without a known word vector is left out and counted, where that code fails.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return exit_status(lambda: _evaluate(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m eval.dialog", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/mine/best")
    parser.add_argument(
        "--data", help="swda, zhao2017, sample or PATH.jsonl; default: what the checkpoint was fitted on"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora, looked into before $DIALOG_CVAE_DATA and the cache"
    )
    parser.add_argument("--style", choices=("zhao", "fluent", "verbatim"), help="of swda; default: the checkpoint's")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: test")
    parser.add_argument("--samples", type=whole(1, 1000), default=5, help="replies for each context (default 5)")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="of everything drawn (default 0)")
    drawing = parser.add_argument_group("drawing of replies")
    drawing.add_argument(
        "--own-decoding",
        action="store_true",
        help="draw replies as the checkpoint says, where the options below say nothing, and not as the paper does",
    )
    drawing.add_argument(
        "--temperature",
        type=real(MIN_TEMPERATURE, MAX_TEMPERATURE, or_zero=True),
        help="0 is greedy decoding (default), as in the paper; 1 samples from the model's distribution",
    )
    drawing.add_argument("--top-p", type=real(0.001, 1), help="nucleus sampling (default 1: off)")
    drawing.add_argument("--max-tokens", type=whole(1, 1000), help="of a reply, </s> included (default 40)")
    drawing.add_argument("--allow-unknown", action="store_true", default=None, help="let the unknown word be generated")
    drawing.add_argument(
        "--prior-temperature",
        type=real(0, MAX_TEMPERATURE),
        help="what the standard deviations of z are multiplied by (default 1; 0 takes the prior's mean)",
    )
    drawing.add_argument(
        "--candidates",
        type=whole(0, MAX_CANDIDATES),
        help="draws from which the replies are selected (default 0: replies are the draws themselves)",
    )
    parser.add_argument(
        "--vectors",
        help="word vectors: a GloVe or word2vec text file (.gz too), a name such as glove.6B.100d of a file in the "
        "folder glove beside the corpora, or a gensim downloader name; default: the first file glove* in that folder; "
        "without any, embedding scores are left out",
    )
    parser.add_argument(
        "--references",
        metavar="FILE",
        help="several references for each context, as `python -m eval.references build` writes or Zhao et al. "
        "published; none (default): the one that the corpus has",
    )
    parser.add_argument(
        "--importance-samples",
        type=whole(0, MAX_DRAWS),
        default=5,
        metavar="K",
        help=f"draws of z for the importance-weighted likelihood: at most {ON_ALL} for every response and, where K is "
        f"more, all K for {FEW} of them (default 5; 0: none)",
    )
    parser.add_argument(
        "--single-reference",
        action="store_true",
        help="score ten replies to each context by DialogWAE's protocol too, against what was said",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="score replies without a model beside it: random utterances, one reply, fixed replies, nearest "
        "neighbours, people where there are several references; and of all the entropy of dialog acts, where the "
        "corpus has them, and the share of replies that are training utterances word by word",
    )
    parser.add_argument("--limit", type=whole(1, 10**9), help="only the first N conversations of the split")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    checkpoint = Checkpoint.load(arguments.checkpoint)
    held_out = _held_out(arguments, data_config(arguments, checkpoint))
    if held_out.vectors is None:
        print("no word vectors (--vectors): A-bow, E-bow and G-bow are left out")
    else:
        load_vectors(held_out.vectors, ())  # a broken file is told of now, not after the sampling
    _make_folder(arguments.out, arguments.checkpoint)
    settings = _settings(arguments, checkpoint)
    kept = Cache(arguments.out / CACHE, lambda line: print(line, file=sys.stderr))
    model, replies = modelled(
        checkpoint, arguments.checkpoint, arguments.device, held_out, settings, kept, progress_bar
    )
    honest = honest_replies(held_out, settings, kept) if arguments.baselines else {}
    texts = [one for row in (replies, *honest.values()) for part in row if part is not None for one in part]
    yardstick = cache(lambda: _told(held_out, texts))
    scores = scored(replies, held_out, settings, yardstick, kept, progress_bar)
    evaluation = combined(held_out, model, replies, scores)
    metrics: dict[str, Any] = {
        "checkpoint": str(arguments.checkpoint),
        "step": checkpoint.config.provenance.step,
        "data": held_out.name,
        "split": held_out.split,
        "conversations": len(held_out.conversations),
        "samples": settings.samples,
        "seed": settings.seed,
        **asdict(settings.decoding),
        "vectors": None if held_out.vectors is None else Path(held_out.vectors).name,
        "references": None if held_out.references is None else Path(arguments.references).name,
        **evaluation.figures,
    }
    for name, row in honest.items():
        found = scored(row, held_out, settings, yardstick, kept, progress_bar, people=name == PEOPLE)
        metrics.setdefault("baselines", {})[name] = found.figures
    write(arguments.out, evaluation, metrics)
    print(summary(metrics))
    if honest:
        print("\n".join(("", *compared({"the model": evaluation.figures, **metrics["baselines"]}))))
    print(f"wrote {RESPONSES_FILE}, {METRICS_FILE}, {CONTEXTS_FILE} and {SAMPLES_FILE} to {arguments.out}")
    return 0


def _held_out(arguments: argparse.Namespace, data: DataConfig) -> HeldOut:
    """What is evaluated on.

    Raises:
        ConfigError: there is no context in it.
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
        samples=arguments.samples,
        seed=arguments.seed,
        decoding=decoding,
        importance_samples=arguments.importance_samples,
        single_reference=arguments.single_reference,
    )


def data_config(arguments: argparse.Namespace, checkpoint: Checkpoint) -> DataConfig:
    """The corpus asked for, in the checkpoint's own split shares and text style."""
    stored = checkpoint.config.provenance.fit.get("corpus", {})
    try:
        fitted = DataConfig.model_validate(stored)
    except ValidationError:
        raise CheckpointError(f"{arguments.checkpoint}/{CONFIG}: field provenance.fit.corpus is broken") from None
    if arguments.data is None and not stored:
        raise ConfigError(f"--data: {arguments.checkpoint} does not say what it was fitted on; name a corpus")
    if arguments.data is None and fitted.name.endswith(".jsonl") and not Path(fitted.name).is_file():
        raise ConfigError(
            f"--data: {arguments.checkpoint} was fitted on a file {fitted.name}, which is not in this folder; "
            "give its path"
        )
    asked = {"name": arguments.data, "dir": arguments.data_dir, "style": arguments.style}
    return fitted.model_copy(update={key: value for key, value in asked.items() if value is not None})


def _make_folder(out: Path, checkpoint: Path) -> None:
    """Have a folder to write to before the long work begins."""
    if out.resolve() == checkpoint.resolve():
        raise ConfigError(f"--out: {out} is the checkpoint itself, whose {METRICS_FILE} would be overwritten")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: {out} can't be made a folder ({error.strerror})") from None
    if not os.access(out, os.W_OK):
        raise ConfigError(f"--out: {out} can't be written to")


def vectors_source(asked: str | None, data_dir: Path | None) -> Path | str | None:
    """Which word vectors: those asked for, or those that lie beside the corpora."""
    if asked is None:
        return find_vectors("glove", data_dir)
    plain_name = re.fullmatch(r"[\w.-]+", asked) and not Path(asked).exists()
    return (find_vectors(asked, data_dir) if plain_name else None) or asked


def _told(held_out: HeldOut, sampled: Sequence[Sampled]) -> Yardstick:
    """The yardstick, having said how much of the words it knows."""
    yardstick = held_out.yardstick(sampled)
    if yardstick.vectors is not None:
        words = {t for one in sampled for text in (*one.responses, one.reference.text) for t in metric_tokens(text)}
        dimension, share = yardstick.vectors.dimension, yardstick.vectors.coverage(words)
        print(f"word vectors {held_out.vectors}: {dimension} dimensions, {share:.1%} of the words")
    return yardstick


def progress_bar(total: int, what: str) -> tqdm[Any]:
    """A bar on stderr, if that is a terminal."""
    return tqdm(total=total, desc=what, unit="reply", disable=None, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
