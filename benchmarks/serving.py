"""Measures the service's latency, throughput, start and memory: `python -m benchmarks.serving --help`.

Open it to add a kind of request (`ways`), or a column to the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.load import Load, run_load
from benchmarks.machine import matrix_rate
from benchmarks.run_benchmark import run_benchmark
from benchmarks.server_process import run_server
from benchmarks.serving_workload import context_operations, naive_seconds, row_operations, talk_requests
from dialog_cvae.cli import Parser, whole
from dialog_cvae.storage.checkpoint import Checkpoint

TOKENS = 20  # tokens of a forced reply
CONTEXT = 9  # utterances of a context
REPLIES = 5
WARM_UP = 20  # requests before timing starts
EXPLANATION = f"""\
Starts the service on a checkpoint and sends it requests over HTTP, from one client and from many. A request asks for
{REPLIES} greedy replies, or for {REPLIES} selected from 15 draws or from the checkpoint's own number of draws. Replies
have their natural length or exactly {TOKENS} tokens (from a copy of the checkpoint that never draws </s>). The table
compares this with the field's PyTorch code, which answers one request after the other without HTTP, and with the
machine's rate of large matrix products. Contexts have {CONTEXT} utterances of telephone conversations. For a language
model the table has replies of natural length alone: benchmarks.language_engine compares it with transformers. Run
nothing else at the same time.
"""


class Way(NamedTuple):
    """One kind of request.

    Attributes:
        name: as the table shows it.
        forced: whether replies have exactly `TOKENS` tokens.
        candidates: draws that replies are selected from; 0 selects none, None takes the checkpoint's settings.
        draws: number of replies that are drawn.
    """

    name: str
    forced: bool
    candidates: int | None
    draws: int


def ways(own: int, *, forced: bool) -> list[Way]:
    """All kinds of requests.

    Args:
        own: the checkpoint's number of draws.
        forced: whether replies can be made to have exactly `TOKENS` tokens.
    """
    found = [
        Way(f"{REPLIES} replies, forced", True, 0, REPLIES),
        Way(f"{REPLIES} of 15, forced", True, 15, 15),
        Way(f"{REPLIES} replies", False, 0, REPLIES),
        Way(f"{REPLIES} of 15", False, 15, 15),
        Way(f"{REPLIES}, checkpoint's settings", False, None, own or REPLIES),
    ]
    return [way for way in found if forced or not way.forced]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return run_benchmark(lambda: measure(arguments), summary, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.serving", description=EXPLANATION)
    parser.add_argument("checkpoint", type=Path, nargs="?", default=Path("models/swda"), help="default: models/swda")
    parser.add_argument("--engine", choices=("onnx", "onnx-int8", "torch"), default="onnx", help="default: onnx")
    parser.add_argument(
        "--requests", type=whole(1, 10**6), default=300, help="maximum requests for each row (default 300)"
    )
    parser.add_argument("--seconds", type=whole(1, 3600), default=15, help="maximum seconds for each row (default 15)")
    parser.add_argument(
        "--clients", type=whole(2, 256), default=16, help="concurrent clients; one client is measured too (default 16)"
    )
    parser.add_argument(
        "--naive-requests", type=whole(1, 10**4), default=20, help="requests answered naively (default 20)"
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads of the model; default: one for each core")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name."""
    # The machine and the naive implementation.
    checkpoint = Checkpoint.load(arguments.checkpoint)
    dialog = checkpoint.config.language is None
    cores, rate = torch.get_num_threads(), matrix_rate(torch.float32, torch.device("cpu"))
    naive = naive_seconds(checkpoint, CONTEXT, REPLIES, TOKENS, arguments.naive_requests) if dialog else None

    # The service: each kind of request, by one client and by many.
    rows, ready, resident = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        forced = Path(folder) / "forced"
        if dialog:
            never_ending(checkpoint).save(forced)
        for way in ways(checkpoint.config.decoding.candidates, forced=dialog):
            settings = {"ENGINE": arguments.engine, "THREADS": arguments.threads, "CANDIDATES": way.candidates}
            settings |= {"MAX_TOKENS": TOKENS} if way.forced else {}
            settings |= {} if way.candidates is None else {"TEMPERATURE": 0}
            with run_server(forced if way.forced else arguments.checkpoint, settings) as service:
                run_load(service.port, Load(1, talk_requests(CONTEXT, REPLIES, WARM_UP, seed=1), 60))
                for clients in (1, arguments.clients):
                    asked = talk_requests(CONTEXT, REPLIES, arguments.requests, seed=2)
                    done = run_load(service.port, Load(clients, asked, arguments.seconds))
                    rows.append(_figures(way, clients, done.seconds, done.wall, len(done.refused)))
                ready.append(service.seconds_to_ready)
                resident.append(service.resident_mib())

    # The share of the machine's rate; only forced replies have a known number of operations.
    model, words = checkpoint.config.model, len(checkpoint.tokenizer)
    for row in rows:
        if row["forced"]:
            each = context_operations(model, CONTEXT) + row["draws"] * TOKENS * row_operations(model, words)
            row["gflop_each"] = each / 1e9
            row["share_of_matrix_rate"] = each * row["per_second"] / rate
    return {
        "checkpoint": arguments.checkpoint.name,
        "engine": arguments.engine,
        "vocabulary": words,
        "cores": cores,
        "matrix_gflops": rate / 1e9,
        "seconds_to_ready": min(ready),
        "resident_mib": max(resident),
        "rows": rows,
    } | ({} if naive is None else _against(naive, rows))


def _against(naive: float, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Compares the first rows, from one client and from many, with the naive implementation."""
    return {
        "naive_ms": 1e3 * naive,
        "ratio_latency": 1e3 * naive / rows[0]["p50_ms"],
        "ratio_throughput": naive * rows[1]["per_second"],
    }


def never_ending(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, changed so that `</s>` is never drawn."""
    weights = dict(checkpoint.weights)
    bias = weights["decoder.output.bias"].copy()
    bias[checkpoint.word_tokenizer.eos_id] = -1e4
    return Checkpoint(checkpoint.config, weights | {"decoder.output.bias": bias}, checkpoint.tokenizer)


def _figures(way: Way, clients: int, seconds: Sequence[float], wall: float, refused: int) -> dict[str, Any]:
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        **way._asdict(),
        "clients": clients,
        "requests": len(ordered),
        "refused": refused,
        "p50_ms": percentile(0.5),
        "p95_ms": percentile(0.95),
        "p99_ms": percentile(0.99),
        "per_second": len(ordered) / wall,
    }


def summary(report: dict[str, Any]) -> str:
    """The figures as text for the terminal."""
    lines = [
        f"{report['checkpoint']}, engine {report['engine']}, vocabulary {report['vocabulary']}, "
        f"{report['cores']} cores: ready after {report['seconds_to_ready']:.1f} s, "
        f"{report['resident_mib']:.0f} MiB resident; "
        f"large matrix products {report['matrix_gflops']:.0f} GFLOP/s",
        f"{'contexts of ' + str(CONTEXT) + ' utterances':<32} clients requests    p50    p95    p99 ms   /s   share",
    ]
    for row in report["rows"]:
        share = f"{row['share_of_matrix_rate']:7.0%}" if row["forced"] else ""
        lines.append(
            f"{row['name']:<32} {row['clients']:7} {row['requests']:8} {row['p50_ms']:6.1f} {row['p95_ms']:6.1f} "
            f"{row['p99_ms']:6.1f} {row['per_second']:7.1f}{share}"
        )
    if "naive_ms" not in report:
        return "\n".join(lines)
    lines.append(
        f"one after the other in eager PyTorch, {REPLIES} forced replies, no HTTP: {report['naive_ms']:.1f} ms each\n"
        f"ratio: {report['ratio_latency']:.1f} in latency (one client), {report['ratio_throughput']:.1f} in requests "
        f"per second ({report['rows'][1]['clients']} clients)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
