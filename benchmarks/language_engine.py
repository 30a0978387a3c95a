"""Time of replies of a language model's serving engine: `python -m benchmarks.language_engine --help`.

Open it to change which replies are timed, how the floor is measured, or how transformers is called.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.run_benchmark import run_benchmark
from dialog_cvae.cli import Parser, whole
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.graph_writer import FLOAT, UINT8, Graph
from dialog_cvae.engines.onnx_language import OnnxLanguageEngine
from dialog_cvae.engines.onnx_session import cores
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.sampling import NUCLEUS_LIKELIEST
from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.find_backbone import locate, open_backbone

EXPLANATION = """\
Draws replies to contexts of random tokens, and to the same contexts some tokens later. `floor` is the time of the
engine's matrix products alone, in 8 bits, measured in the same run. With --transformers, that interpreter's
transformers generates as many tokens from as long a context with the backbone's weights, in fp32 and bf16.
"""
FLOOR_LAYERS = 4  # layers whose products are timed for the floor

_TRANSFORMERS = """
import json, statistics, sys, time
import torch
from transformers import AutoModelForCausalLM
folder, file, context, rows, tokens, repeats, threads, vocabulary = json.loads(sys.argv[1])
torch.set_num_threads(threads)
found = {}
for kind in ("float32", "bfloat16"):
    options = {"gguf_file": file} if file else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind), **options).eval()
    seconds = []
    for _ in range(repeats + 1):
        ids = torch.randint(vocabulary, (1, context))
        begin = time.perf_counter()
        with torch.inference_mode():
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.8, top_p=0.9,
                num_return_sequences=rows, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
        seconds.append(time.perf_counter() - begin)
    found[kind] = statistics.median(seconds[1:])
print(json.dumps(found))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; see `run_benchmark`."""
    parser = Parser(prog="python -m benchmarks.language_engine", description=EXPLANATION)
    parser.add_argument("checkpoint", help="folder of a language model's adapters")
    parser.add_argument("--base", help="the language model; default: as the checkpoint says")
    parser.add_argument("--context", type=whole(1, 4096), default=90, help="tokens of a context")
    parser.add_argument("--more", type=whole(1, 1024), default=20, help="tokens that a conversation goes on for")
    parser.add_argument("--rows", type=whole(1, 256), default=5, help="replies to a context")
    parser.add_argument("--tokens", type=whole(1, 1000), default=20, help="tokens of a reply")
    parser.add_argument("--repeats", type=whole(1, 1000), default=9, help="contexts; the median counts")
    parser.add_argument("--threads", type=whole(1, 1024), default=cores(), help="threads of each product")
    parser.add_argument("--transformers", metavar="PYTHON", help="interpreter that has transformers; default: left out")
    parser.add_argument("--file", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args(argv)
    return run_benchmark(lambda: measure(arguments), table, arguments.file)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times in seconds, medians.

    Raises:
        DialogCvaeError: the checkpoint holds no adapters, or its language model is missing or another one.
    """
    checkpoint = Checkpoint.load(arguments.checkpoint)
    if checkpoint.config.language is None:
        raise ConfigError(
            f"{arguments.checkpoint}: holds no adapters of a language model; benchmarks.serving measures models with "
            "weights of their own"
        )
    path = locate(arguments.base or checkpoint.config.language.backbone)
    base = open_backbone(path)
    begin = time.perf_counter()
    cache = open_cache(None, print, "graphs")
    engine = OnnxLanguageEngine.of(checkpoint, base, arguments.checkpoint, cache, threads=arguments.threads)
    ready = time.perf_counter() - begin
    fresh, later = _replies(engine, arguments, base.config)
    figures: dict[str, Any] = {
        "engine": engine.name,
        "threads": arguments.threads,
        "ready": ready,
        "fresh": fresh,
        "later": later,
        "bytes": _resident_bytes(),
    }
    product = _products(base.config, arguments.threads)
    figures["floor"] = {
        "read": product(arguments.context, False),
        "decode": arguments.tokens * product(arguments.rows, True),
    }
    figures["transformers"] = _transformers(arguments, path, base.config) if arguments.transformers else {}
    return figures


def _replies(
    engine: OnnxLanguageEngine, arguments: argparse.Namespace, config: LlamaConfig
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of replies to new contexts, and to the same contexts some tokens later."""
    rng = np.random.default_rng(0)
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(arguments.repeats + 1):
        tokens = rng.integers(0, config.vocab_size, (1, arguments.context + arguments.more))
        for times, count in zip(found, (arguments.context, arguments.context + arguments.more), strict=True):
            batch = TurnBatch(tokens[:, :count], np.zeros(1, np.int64), np.array([count - 1]), np.zeros(1, np.int64))
            times.append(_answered(engine, batch, arguments, rng))
    fresh, later = (
        {
            "read": statistics.median(read for read, _ in each[1:]),
            "decode": statistics.median(own for _, own in each[1:]),
        }
        for each in found
    )
    return fresh, later


def _answered(
    engine: OnnxLanguageEngine, batch: TurnBatch, arguments: argparse.Namespace, rng: np.random.Generator
) -> tuple[float, float]:
    """Seconds of reading a context, and of its replies' tokens."""
    begin = time.perf_counter()
    contexts = engine.condition(batch).contexts
    read = time.perf_counter()
    z = rng.standard_normal((arguments.rows, engine.latent_weight.shape[1]), dtype=np.float32)
    tokens, states = engine.start([contexts[0]] * arguments.rows, z)
    for _ in range(arguments.tokens):
        step = engine.step(tokens, states, np.full(arguments.rows, 1.25, np.float32), NUCLEUS_LIKELIEST)
        tokens, states = step.ids[:, 0].copy(), step.states
    return read - begin, time.perf_counter() - read


def _products(config: LlamaConfig, threads: int) -> Callable[[int, bool], float]:
    """A function from rows, and whether to include the vocabulary, to the least seconds of a pass's 8-bit products."""
    joined = (config.heads + 2 * config.kv_heads) * config.head_size
    layer = [(config.width, joined), (config.width, config.width), (config.width, 2 * config.mlp_size)]
    sizes = [*layer, (config.mlp_size, config.width)] * FLOOR_LAYERS
    layers, words = (_session(each, threads) for each in (sizes, [(config.width, config.vocab_size)]))

    def least(rows: int, with_words: bool) -> float:
        inputs = {size: np.full((rows, size), 7, np.uint8) for size in (config.width, config.mlp_size)}

        def seconds(session: onnxruntime.InferenceSession) -> float:
            feeds = {each.name: inputs[each.shape[1]] for each in session.get_inputs()}
            times = []
            for _ in range(20):
                begin = time.perf_counter()
                session.run(None, feeds)
                times.append(time.perf_counter() - begin)
            return min(times)

        return seconds(layers) * config.layers / FLOOR_LAYERS + (seconds(words) if with_words else 0.0)

    return least


def _session(sizes: list[tuple[int, int]], threads: int) -> onnxruntime.InferenceSession:
    """A graph of products with random weights (inputs, outputs); each is summed up to one number."""
    g, rng = Graph(), np.random.default_rng(0)
    inputs = {size: g.input(f"x{size}", UINT8, ("R", size)) for size in sorted({size for size, _ in sizes})}
    for index, (size, outputs) in enumerate(sizes):
        weight: NDArray[np.int8] = rng.integers(-127, 128, (size, outputs), dtype=np.int8)
        product = g.add("MatMulInteger", inputs[size], g.constant(weight))
        largest = g.add("Cast", g.add("Slice", product, g.constant([0]), g.constant([1])), to=FLOAT)
        g.output(f"y{index}", largest, FLOAT, (1, outputs))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(g.serialised("products"), options, providers=["CPUExecutionProvider"])


def _transformers(arguments: argparse.Namespace, path: Path, config: LlamaConfig) -> dict[str, float]:
    """Seconds of a call of transformers' `generate`, by precision."""
    folder, file = (str(path), None) if path.is_dir() else (str(path.parent), path.name)
    numbers = (arguments.context, arguments.rows, arguments.tokens, 3, arguments.threads, config.vocab_size)
    command = [arguments.transformers, "-c", _TRANSFORMERS, json.dumps([folder, file, *numbers])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        print(f"transformers failed: {result.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def table(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{figures['engine']}, {figures['threads']} threads; ready after {figures['ready']:.1f} s; "
        f"resident {figures['bytes'] / 2**20:.0f} MB",
        f"{'':<34}{'read':>10}{'decode':>10}{'together':>10}",
    ]
    for name, title in (("fresh", "ours, a new context"), ("later", "ours, it goes on"), ("floor", "floor")):
        row = figures[name]
        both = row["read"] + row["decode"]
        lines.append(f"{title:<34}{row['read'] * 1e3:>7.0f} ms{row['decode'] * 1e3:>7.0f} ms{both * 1e3:>7.0f} ms")
    ours = sum(figures["fresh"].values())
    for kind, seconds in figures["transformers"].items():
        lines.append(f"{f'transformers, {kind}':<54}{seconds * 1e3:>7.0f} ms, {seconds / ours:.1f} times ours")
    if not figures["transformers"]:
        lines.append("transformers: left out (--transformers names an interpreter that has it)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
