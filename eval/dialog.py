"""Evaluate a dialog checkpoint on held-out conversations: `python -m eval.dialog --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dialog_cvae.checkpoint import Checkpoint, write_atomically
from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import find_vectors, load_split
from dialog_cvae.data.vectors import WordVectors, load_vectors
from dialog_cvae.decoding import Decoding
from dialog_cvae.elbo import evaluate_elbo
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.respond import Responder
from dialog_cvae.runtime.torch_engine import TorchEngine, build_model
from eval.bleu import bleu_precision_recall
from eval.diversity import distinct, distinct_replies
from eval.embedding import embedding_precision_recall
from eval.generation import Sampled, count_contexts, sample_responses
from eval.matching import Context, PrecisionRecall
from eval.tokens import metric_tokens

BLEU_NAMES = {"method7-3.4": "bleu_nltk_3.4.5", "method7-3.6": "bleu_nltk_3.6"}
RESPONSES_FILE, METRICS_FILE = "responses.jsonl", "metrics.json"

EXPLANATION = """\
Samples replies to every context of a split, scores them, and writes DIR/responses.jsonl (one object a context) and
DIR/metrics.json.

  python -m eval.dialog runs/mine/best --data swda --split test --samples 5 --out runs/mine/test
  python -m eval.dialog runs/mine/best --data mine.jsonl --temperature 0.8 --top-p 0.9 --out runs/mine/test

ELBO, KL and reconstruction perplexity are over all responses of the split, with one latent sample from the posterior.
BLEU-1..4, A-bow, E-bow and G-bow precision and recall are those of Zhao et al. (2017) over all contexts of at least one
utterance, against the one reference that the corpus has: precision is the mean over samples of their best match, recall
the best sample for the reference. BLEU stands twice: by the smoothing of NLTK up to 3.4.5, behind the published tables,
and by that of NLTK from 3.6 on. The embedding scores need word vectors that are not the model's.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused."""
    arguments = _parser().parse_args(argv)
    try:
        return _evaluate(arguments)
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m eval.dialog", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/mine/best")
    parser.add_argument(
        "--data", help="swda, zhao2017, sample or PATH.jsonl; default: what the checkpoint was fitted on"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora; default: $DIALOG_CVAE_DATA, then the cache"
    )
    parser.add_argument("--style", choices=("zhao", "fluent", "verbatim"), help="of swda; default: the checkpoint's")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: test")
    parser.add_argument("--samples", type=_count, default=5, help="replies for each context (default 5)")
    parser.add_argument("--seed", type=_seed, default=0, help="of everything drawn (default 0)")
    parser.add_argument(
        "--temperature", type=_temperature, default=0.0, help="0 is greedy decoding (default), as in the paper"
    )
    parser.add_argument("--top-p", type=_share, default=1.0, help="nucleus sampling (default 1: off)")
    parser.add_argument("--max-tokens", type=_count, default=40, help="of a reply, </s> included (default 40)")
    parser.add_argument("--allow-unknown", action="store_true", help="let the unknown word be generated")
    parser.add_argument(
        "--vectors",
        help="word vectors: a GloVe or word2vec text file (.gz too) or a gensim downloader name; default: a file in "
        "the folder glove beside the corpora; without any, embedding scores are left out",
    )
    parser.add_argument("--limit", type=_count, help="only the first N conversations of the split")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    checkpoint = Checkpoint.load(arguments.checkpoint)
    data = _data_config(arguments, checkpoint)
    name, conversations = load_split(data, arguments.split)
    conversations = conversations[: arguments.limit]
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {arguments.split} of {name} has no context with a reply to score")
    model = build_model(checkpoint, str(arguments.checkpoint))
    engine = TorchEngine(model, arguments.device)
    responder = Responder(engine, checkpoint.tokenizer, checkpoint.config, checkpoint.config.provenance.data)
    encoded = responder.encode(conversations)
    with _progress(len(encoded.responses), "scoring") as bar:
        elbo = evaluate_elbo(model, encoded, seed=arguments.seed, advance=bar.update)
    decoding = Decoding(arguments.temperature, arguments.top_p, arguments.max_tokens, arguments.allow_unknown)
    replies = sample_responses(responder, conversations, arguments.samples, arguments.seed, decoding)
    with _progress(count_contexts(conversations), "sampling") as bar:
        sampled = [_counted(bar, reply) for reply in replies]
    lines = "".join(json.dumps(_line(one), ensure_ascii=False) + "\n" for one in sampled)
    write_atomically(arguments.out / RESPONSES_FILE, lines.encode())
    metrics: dict[str, Any] = {
        "checkpoint": str(arguments.checkpoint),
        "data": name,
        "split": arguments.split,
        "conversations": len(conversations),
        "samples": arguments.samples,
        "seed": arguments.seed,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_tokens,
        **elbo._asdict(),
        **reply_metrics(sampled, _vectors(arguments, sampled)),
    }
    write_atomically(arguments.out / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    print(summary(metrics))
    print(f"wrote {arguments.out / RESPONSES_FILE} and {arguments.out / METRICS_FILE}")
    return 0


def _data_config(arguments: argparse.Namespace, checkpoint: Checkpoint) -> DataConfig:
    """The corpus asked for, in the checkpoint's own split shares and text style."""
    fitted = DataConfig.model_validate(checkpoint.config.provenance.fit.get("corpus", {}))
    asked = {"name": arguments.data, "dir": arguments.data_dir, "style": arguments.style}
    return fitted.model_copy(update={key: value for key, value in asked.items() if value is not None})


def reply_metrics(sampled: Sequence[Sampled], vectors: WordVectors | None) -> dict[str, Any]:
    """Every figure that the texts decide, by name."""
    contexts = [_context(one) for one in sampled]
    replies = [reply for hypotheses, _ in contexts for reply in hypotheses]
    metrics: dict[str, Any] = {"contexts": len(contexts)}
    for smoothing, orders in bleu_precision_recall(contexts).items():
        metrics |= {f"{BLEU_NAMES[smoothing]}_{n}": _shown(score) for n, score in enumerate(orders, start=1)}
    if vectors is not None:
        report = embedding_precision_recall(contexts, vectors)
        metrics |= {
            "a_bow": _shown(report.scores.average),
            "e_bow": _shown(report.scores.extrema),
            "g_bow": _shown(report.scores.greedy),
            "contexts_without_word_vectors": report.skipped,
        }
    metrics |= {f"distinct_{n}": distinct(replies, n).ratio for n in (1, 2)}
    metrics["distinct_replies_per_context"] = sum(distinct_replies(h) for h, _ in contexts) / len(contexts)
    metrics["mean_reply_tokens"] = sum(map(len, replies)) / len(replies)
    metrics["mean_reference_tokens"] = sum(len(references[0]) for _, references in contexts) / len(contexts)
    return metrics


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


def _context(one: Sampled) -> Context:
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


def _vectors(arguments: argparse.Namespace, sampled: Iterable[Sampled]) -> WordVectors | None:
    source = arguments.vectors or find_vectors("", arguments.data_dir)
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


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low:g} to {high:g}, but is {text}")
    return value


def _count(text: str) -> int:
    return int(_number(str(int(text)), 1, 100_000))


def _seed(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, but is {text}")
    return int(text)


def _temperature(text: str) -> float:
    return 0.0 if float(text) == 0 else _number(text, 0.01, 10)


def _share(text: str) -> float:
    return _number(text, 0.001, 1)


if __name__ == "__main__":
    sys.exit(main())
