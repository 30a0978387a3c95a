"""Evaluate a dialog checkpoint on held-out conversations: `python -m eval.dialog --help`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from dialog_cvae.checkpoint import CONFIG, WEIGHTS, Checkpoint, write_atomically
from dialog_cvae.cli import Parser
from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import find_vectors, load_split
from dialog_cvae.data.vectors import WordVectors, load_vectors
from dialog_cvae.decoding import MAX_TEMPERATURE, MIN_TEMPERATURE, Decoding
from dialog_cvae.elbo import evaluate_elbo
from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from dialog_cvae.respond import Responder
from dialog_cvae.runtime.torch_engine import TorchEngine, build_model
from eval.arguments import real, whole
from eval.bleu import bleu_precision_recall
from eval.diversity import distinct, distinct_replies
from eval.embedding import context_embedding, embedding_precision_recall
from eval.generation import Sampled, count_contexts, sample_responses
from eval.matching import Context, PrecisionRecall
from eval.report import sample_table
from eval.tokens import metric_tokens

BLEU_NAMES = {"method7-3.4": "bleu_nltk_3.4.5", "method7-3.6": "bleu_nltk_3.6"}
RESPONSES_FILE, METRICS_FILE, SAMPLES_FILE = "responses.jsonl", "metrics.json", "samples.md"

EXPLANATION = """\
Samples replies to every context of a split, scores them, and writes DIR/responses.jsonl (one object a context:
conversation, position, topic, context, reference and its speaker, responses), DIR/metrics.json and, to read,
DIR/samples.md with ten contexts chosen by a rule.

  python -m eval.dialog runs/mine/best --data swda --split test --samples 5 --out runs/mine/test
  python -m eval.dialog runs/mine/best --data mine.jsonl --temperature 0.8 --top-p 0.9 --out runs/mine/test

ELBO, KL and reconstruction perplexity are over all responses of the split, with one latent sample from the posterior.
BLEU-1..4, A-bow, E-bow and G-bow precision and recall are those of Zhao et al. (2017) over all contexts of at least one
utterance, against the one reference that the corpus has: precision is the mean over samples of their best match, recall
the best sample for the reference. BLEU stands twice: by the smoothing of NLTK up to 3.4.5, behind the published tables,
and by that of NLTK from 3.6 on. The embedding scores need word vectors that are not the model's.

Departures from the official code: every response counts, where its loader leaves out the last one of each conversation
and, for perplexity and KL, most of the rest; texts are compared and not token ids, so that a reference keeps its rare
words and its full length; a context without a known word vector is left out and counted, where that code fails.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return _evaluate(arguments)
    except (DialogCvaeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


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
    parser.add_argument(
        "--temperature",
        type=real(MIN_TEMPERATURE, MAX_TEMPERATURE, or_zero=True),
        default=0.0,
        help="0 is greedy decoding (default), as in the paper; 1 samples from the model's distribution",
    )
    parser.add_argument("--top-p", type=real(0.001, 1), default=1.0, help="nucleus sampling (default 1: off)")
    parser.add_argument("--max-tokens", type=whole(1, 1000), default=40, help="of a reply, </s> included (default 40)")
    parser.add_argument("--allow-unknown", action="store_true", help="let the unknown word be generated")
    parser.add_argument(
        "--vectors",
        help="word vectors: a GloVe or word2vec text file (.gz too), a name such as glove.6B.100d of a file in the "
        "folder glove beside the corpora, or a gensim downloader name; default: the first file glove* in that folder; "
        "without any, embedding scores are left out",
    )
    parser.add_argument("--limit", type=whole(1, 10**9), help="only the first N conversations of the split")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    checkpoint = Checkpoint.load(arguments.checkpoint)
    data = data_config(arguments, checkpoint)
    name, conversations = load_split(data, arguments.split)
    conversations = conversations[: arguments.limit]
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {arguments.split} of {name} has no context with a reply to score")
    source = vectors_source(arguments)
    if source is not None:
        load_vectors(source, ())  # a broken file is told of now, not after the sampling
    _make_folder(arguments.out, arguments.checkpoint)
    model = build_model(checkpoint, f"{arguments.checkpoint}/{WEIGHTS}")
    engine = TorchEngine(model, arguments.device)
    responder = Responder(engine, checkpoint.tokenizer, checkpoint.config, checkpoint.config.provenance.data)
    encoded = responder.encode(conversations)
    with _progress(len(encoded.responses), "scoring") as bar:
        elbo = evaluate_elbo(model, encoded, seed=arguments.seed, advance=bar.update)
    decoding = Decoding(arguments.temperature, arguments.top_p, arguments.max_tokens, arguments.allow_unknown)
    replies = sample_responses(responder, conversations, arguments.samples, arguments.seed, decoding)
    with _progress(count_contexts(conversations), "sampling") as bar:
        sampled = [_counted(bar, reply) for reply in replies]
    lines = "".join(json.dumps(_line(one), ensure_ascii=False, allow_nan=False) + "\n" for one in sampled)
    write_atomically(arguments.out / RESPONSES_FILE, lines.encode())
    write_atomically(arguments.out / SAMPLES_FILE, sample_table(sampled).encode())
    metrics: dict[str, Any] = {
        "checkpoint": str(arguments.checkpoint),
        "step": checkpoint.config.provenance.step,
        "data": name,
        "split": arguments.split,
        "conversations": len(conversations),
        "samples": arguments.samples,
        "seed": arguments.seed,
        **asdict(decoding),
        "vectors": None if source is None else Path(source).name,
        **elbo.figures(),
        **reply_metrics(sampled, _vectors(source, sampled)),
    }
    write_atomically(arguments.out / METRICS_FILE, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())
    print(summary(metrics))
    print(f"wrote {RESPONSES_FILE}, {METRICS_FILE} and {SAMPLES_FILE} to {arguments.out}")
    return 0


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


def reply_metrics(sampled: Sequence[Sampled], vectors: WordVectors | None) -> dict[str, Any]:
    """Every figure that the texts decide, by name."""
    contexts = [metric_context(one) for one in sampled]
    replies = [reply for hypotheses, _ in contexts for reply in hypotheses]
    metrics: dict[str, Any] = {"contexts": len(contexts)}
    for smoothing, orders in bleu_precision_recall(contexts).items():
        metrics |= {f"{BLEU_NAMES[smoothing]}_{n}": _shown(score) for n, score in enumerate(orders, start=1)}
    if vectors is not None:
        metrics |= _embedding_metrics(contexts, vectors)
    metrics |= {f"distinct_{n}": distinct(replies, n).ratio for n in (1, 2)}
    metrics["distinct_replies_per_context"] = sum(distinct_replies(h) for h, _ in contexts) / len(contexts)
    metrics["mean_reply_tokens"] = sum(map(len, replies)) / len(replies)
    metrics["mean_reference_tokens"] = sum(len(references[0]) for _, references in contexts) / len(contexts)
    return metrics


def _embedding_metrics(contexts: Sequence[Context], vectors: WordVectors) -> dict[str, Any]:
    """A-bow, E-bow and G-bow; only the count of what was left out where no context can be scored."""
    if all(context_embedding(*context, vectors) is None for context in contexts):
        return {"contexts_without_word_vectors": len(contexts)}
    report = embedding_precision_recall(contexts, vectors)
    return {
        "a_bow": _shown(report.scores.average),
        "e_bow": _shown(report.scores.extrema),
        "g_bow": _shown(report.scores.greedy),
        "contexts_without_word_vectors": report.skipped,
    }


def summary(metrics: dict[str, Any]) -> str:
    """A table for people."""
    rows = [("measure", "precision", "recall")]
    for name, value in metrics.items():
        if isinstance(value, dict):
            rows.append((name, f"{value['precision']:.3f}", f"{value['recall']:.3f}"))
        elif isinstance(value, float):
            rows.append((name, f"{value:.3f}", ""))
        elif value is not None:
            rows.append((name, str(value), ""))
    return "\n".join(f"{name:<30} {first:>10} {second:>10}".rstrip() for name, first, second in rows)


def metric_context(one: Sampled) -> Context:
    """The replies and the one reference, as the metrics compare them."""
    return [metric_tokens(text) for text in one.responses], [metric_tokens(one.reference.text)]


def _line(one: Sampled) -> dict[str, Any]:
    return {
        "conversation": one.conversation,
        "position": one.position,
        "topic": one.topic,
        "context": [{"speaker": u.speaker, "text": u.text} for u in one.context],
        "reference": one.reference.text,
        "speaker": one.reference.speaker,
        "responses": list(one.responses),
    }


def vectors_source(arguments: argparse.Namespace) -> Path | str | None:
    """Which word vectors: those asked for, or those that lie beside the corpora."""
    if arguments.vectors is None:
        return find_vectors("glove", arguments.data_dir)
    plain_name = re.fullmatch(r"[\w.-]+", arguments.vectors) and not Path(arguments.vectors).exists()
    return (find_vectors(arguments.vectors, arguments.data_dir) if plain_name else None) or str(arguments.vectors)


def _vectors(source: Path | str | None, sampled: Iterable[Sampled]) -> WordVectors | None:
    if source is None:
        print("no word vectors (--vectors): A-bow, E-bow and G-bow are left out")
        return None
    words = {token for one in sampled for text in (*one.responses, one.reference.text) for token in metric_tokens(text)}
    vectors = load_vectors(source, words)
    print(f"word vectors {source}: {vectors.dimension} dimensions, {vectors.coverage(words):.1%} of the words")
    return vectors


def _shown(score: PrecisionRecall) -> dict[str, float]:
    return {"precision": score.precision, "recall": score.recall, "f1": score.f1}


def _progress(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, unit="reply", disable=None, file=sys.stderr)


def _counted(bar: tqdm[Any], reply: Sampled) -> Sampled:
    bar.update()
    return reply


if __name__ == "__main__":
    sys.exit(main())
