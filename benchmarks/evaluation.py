"""Measures how fast replies to a test split are sampled and scored: `python -m benchmarks.evaluation --help`.

Open it to time another part of sampling or scoring, or to change how our replies are compared with the naive ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch

from benchmarks.naive_replies import differences, naive_replies
from benchmarks.run_benchmark import run_benchmark
from dialog_cvae.cli import Parser, whole
from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import collate
from dialog_cvae.data.corpora import load_split
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.engines.base import Condition, Engine, Floats, Ints, Step
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import WEIGHTS
from dialog_cvae.types import Conversation, DialogBatch
from eval.contexts import AnsweredContext, count_contexts, generators
from eval.dialog_data import data_config, vectors_source
from eval.generation import answered_utterances, draw_replies
from eval.reply_scores import metric_context, reply_scores

TIE = 1e-3  # logits closer than this count as equal: the two implementations round differently

EXPLANATION = """\
Samples replies to every context of a split, greedily and with z from the prior, and scores them, as eval.dialog does.
Then answers some of the contexts again, one at a time, in the structure of the field's PyTorch code: it encodes each
window separately and decodes its samples step by step with PyTorch's modules until all have ended, on one thread or on
all, whichever is faster. Both use the same noise, so the replies must be equal, except where the logits of two tokens
are nearly equal; any other difference is an error.
"""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Clock:
    """Seconds spent in each part; may be used from any thread."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def timed(self, part: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call the function and add its seconds to the part."""
        begin = time.perf_counter()
        result = function(*arguments, **named)
        spent = time.perf_counter() - begin
        with self._lock:
            self.seconds[part] = self.seconds.get(part, 0.0) + spent
        return result


class TimedEngine:
    """An `Engine` with timed calls; the seconds of parallel threads add up."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine, self.clock = engine, clock
        self.name, self.rows, self.latent_weight = engine.name, engine.rows, engine.latent_weight

    def condition(self, batch: DialogBatch) -> Condition:
        """See `Engine.condition`."""
        return self.clock.timed("encoding contexts", self.engine.condition, batch)

    def start(self, contexts: Sequence[Any], z: Floats) -> tuple[Ints, Any]:
        """See `Engine.start`."""
        return self.clock.timed("decoder's first states", self.engine.start, contexts, z)

    def step(self, tokens: Ints, states: Any, inverse_temperature: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""
        return self.clock.timed("decoder's steps", self.engine.step, tokens, states, inverse_temperature, likeliest)

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """See `Engine.side_by_side`."""
        return self.engine.side_by_side()


class Naive(NamedTuple):
    """Result of the naive implementation.

    Attributes:
        contexts: number of answered contexts.
        threads: the faster choice: 1, or the number of threads of this process.
        seconds: for all contexts.
        margins: of the logits, at each reply that differs from ours.
    """

    contexts: int
    threads: int
    seconds: float
    margins: list[float]


def run_naive(
    model: CVAE, responder: Responder, corpus: EncodedCorpus, sampled: Sequence[AnsweredContext], count: int, seed: int
) -> Naive:
    """Answer evenly spaced contexts naively; compare with our replies, sampled all together and one at a time.

    Args:
        model: the responder's.
        responder: our implementation.
        corpus: encoded by the responder.
        sampled: our replies to all contexts.
        count: maximum number of contexts to answer.
        seed: of our replies.

    Raises:
        DialogCvaeError: a reply differs by more than a tie.
    """
    windows, samples, decoding = answered_utterances(corpus), len(sampled[0].replies), Decoding()
    special = responder.codec.special
    count = min(count, len(windows))
    times, margins = Clock(), []
    for index in (number * len(windows) // count for number in range(count)):
        window = windows[index : index + 1]
        (draws,) = responder.draw(corpus, window, generators(corpus, window, seed), samples, decoding)
        if tuple(map(responder.text, draws)) != sampled[index].replies:
            raise DialogCvaeError(f"context {index} gets different replies when it is answered alone")
        (rng,) = generators(corpus, window, seed)
        noise = rng.standard_normal((samples, model.config.latent_size), dtype=np.float32)
        batch = collate(corpus, window, model.config.max_context)
        for threads in sorted({1, torch.get_num_threads()}):
            with _threads(threads):
                naive = times.timed(str(threads), naive_replies, model, batch, noise, decoding.max_tokens, special)
        margins += differences(draws, naive, special.end)
    if max(margins, default=0.0) > TIE:
        raise DialogCvaeError(
            f"a reply has a token whose logit is {max(margins):.3g} below that of the naive reply's token"
            f" (limit {TIE:g})"
        )
    fastest = min(times.seconds, key=times.seconds.__getitem__)
    return Naive(count, int(fastest), times.seconds[fastest], margins)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments, failure or
    different replies, 130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    return run_benchmark(lambda: measure(arguments), summary, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.evaluation", description=EXPLANATION)
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/mine/best")
    parser.add_argument("--data", help="as in eval.dialog; default: the checkpoint's training data")
    parser.add_argument("--data-dir", type=Path, help="as in eval.dialog")
    parser.add_argument(
        "--style", choices=("zhao", "fluent", "verbatim"), help="style of swda; default: the checkpoint's"
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: test")
    parser.add_argument("--vectors", help="as in eval.dialog")
    parser.add_argument("--samples", type=whole(1, 1000), default=5, help="replies for each context (default 5)")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="random seed (default 0)")
    parser.add_argument("--limit", type=whole(1, 10**9), help="only the first N conversations of the split")
    parser.add_argument(
        "--naive-contexts", type=whole(1, 10**6), default=60, help="contexts answered naively (default 60)"
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads; default: one for each core")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.set_defaults(respond_as=None)  # for `data_config`: the checkpoint's own
    return parser


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name."""
    # Open the checkpoint and the corpus.
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    start, clock, parts = Clock(), Clock(), Clock()
    checkpoint = start.timed("opening the checkpoint", Checkpoint.load, arguments.checkpoint)
    model = start.timed(
        "building the model", build_model, checkpoint, f"{arguments.checkpoint}/{WEIGHTS}", required=CVAE
    )
    name, split = start.timed("reading the corpus", load_split, data_config(arguments, checkpoint), arguments.split)
    conversations = split[: arguments.limit]
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {arguments.split} of {name} has no context with a reply to score")

    # Our implementation: sample and score, timed by part.
    engine = TorchEngine(model)
    responder = Responder(TimedEngine(engine, parts), dialog_codec(checkpoint), checkpoint.config, name)
    sampled = clock.timed("sampling", _sample, responder, conversations, arguments)
    lengths = _score(sampled, vectors_source(arguments.vectors, arguments.data_dir), start, clock)

    # The likelihood, and the naive implementation; without the timing by part.
    responder.engine = engine
    corpus = responder.encode(conversations)
    likelihood = Clock()
    likelihood.timed("likelihood", evaluate_elbo, model, corpus, seed=arguments.seed)
    naive = run_naive(model, responder, corpus, sampled, arguments.naive_contexts, arguments.seed)
    threads, per_second = torch.get_num_threads(), len(sampled) / sum(clock.seconds.values())
    rest = clock.seconds["sampling"] * threads - sum(parts.seconds.values())
    return {
        "data": f"{name}, {arguments.split}",
        "contexts": len(sampled),
        "samples": arguments.samples,
        "threads": threads,
        "mean_reply_tokens": sum(lengths) / len(lengths),
        "contexts_per_second": per_second,
        "naive_contexts": naive.contexts,
        "naive_threads": naive.threads,
        "naive_contexts_per_second": naive.contexts / naive.seconds,
        "ratio": per_second * naive.seconds / naive.contexts,
        "naive_replies_differing_by_a_tie": len(naive.margins),
        "seconds": clock.seconds,
        "core_seconds_of_sampling": {**parts.seconds, "choosing tokens, text and waiting": rest},
        "seconds_of_likelihood": likelihood.seconds["likelihood"],
        "seconds_to_start": start.seconds,
    }


def _sample(
    responder: Responder, conversations: Sequence[Conversation], arguments: argparse.Namespace
) -> list[AnsweredContext]:
    return list(draw_replies(responder, conversations, arguments.samples, arguments.seed, Decoding()))


def _score(sampled: Sequence[AnsweredContext], source: Path | str | None, start: Clock, clock: Clock) -> list[int]:
    """Compute every metric of the replies; returns their lengths in tokens."""
    contexts = [metric_context(one) for one in sampled]
    vectors = None
    if source is not None:
        words = {token for replies, references in contexts for text in (*replies, *references) for token in text}
        vectors = start.timed("reading word vectors", load_vectors, source, words)
    clock.timed("scoring", reply_scores, sampled, vectors=vectors)
    return [len(reply) for replies, _ in contexts for reply in replies]


def summary(report: dict[str, Any]) -> str:
    """The figures as text for the terminal."""
    lines = [
        f"{report['data']}: {report['contexts']} contexts, {report['samples']} greedy samples each of "
        f"{report['mean_reply_tokens']:.1f} tokens on average, {report['threads']} threads",
        f"sampling and scoring: {report['contexts_per_second']:.1f} contexts/s",
        f"one at a time, without scoring: {report['naive_contexts_per_second']:.1f} contexts/s "
        f"({report['naive_contexts']} contexts, {report['naive_threads']} threads; replies that differ by a tie: "
        f"{report['naive_replies_differing_by_a_tie']})",
        f"ratio: {report['ratio']:.1f}",
    ]
    for title, key in (
        ("seconds", "seconds"),
        ("core seconds of sampling", "core_seconds_of_sampling"),
        ("seconds to start, without Python's imports", "seconds_to_start"),
    ):
        lines.append(f"{title}:")
        lines += [f"  {part:<40} {seconds:8.2f}" for part, seconds in report[key].items()]
    lines.append(f"likelihood of the split, which eval.dialog computes too: {report['seconds_of_likelihood']:.2f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
