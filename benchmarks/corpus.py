"""Measures the time and memory that a big corpus costs a run: `python -m benchmarks.corpus --help`.

Open it to change how the memory of a run is measured, or how the big corpus is made.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.run_benchmark import run_benchmark
from dialog_cvae.cli import Parser, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_split
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.types import Conversation
from training.metrics_log import METRICS_FILE

MIB = 2**20
NOISE = 0.1  # share of words that are replaced
POLL_SECONDS = 0.02  # seconds between two readings of a process's memory
SMALL = 3_000  # utterances of the corpus that the big one is compared with
BATCH = 30
PASS = SMALL // BATCH  # updates of a pass over the small corpus
HELD_OUT = 0.0002  # share of conversations for validation; small, because validation is not measured

EXPLANATION = """\
Builds a big corpus by repeating another one with noise (a tenth of the words are replaced), and fits a model to it
twice, in separate processes: first from its text, then from the cache. A third process fits the same model to 3,000
utterances for several passes. The cost of the big corpus is the difference from this third process. Memory is resident
memory on Linux: the process's own, and that of files, which processes share and the system can take back.
"""


class Memory(NamedTuple):
    """Resident memory of a process, in MiB: its own, that of files, and the peak of their sum so far."""

    own: float
    files: float
    most: float


class Watched(NamedTuple):
    """Measurements of a run of `training.fit`, taken from another process.

    Attributes:
        seconds: from the start of the process until its first update was recorded.
        begin: memory at that time.
        validations: memory at each validation.
    """

    seconds: float
    begin: Memory
    validations: list[Memory]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 130 interrupted."""
    arguments = _parser().parse_args(argv)

    def figures() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="corpus-benchmark-") as folder:
            return measure(arguments, Path(folder))

    return run_benchmark(figures, table, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m benchmarks.corpus", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--utterances",
        type=whole(100, 10**9),
        default=2_000_000,
        help="utterances of the big corpus (default 2,000,000)",
    )
    parser.add_argument("--data", default="sample", help="corpus to repeat: sample (default), swda or PATH.jsonl")
    parser.add_argument("--data-dir", type=Path, help="folder with the corpora")
    parser.add_argument("--recipe", default="small", help="recipe of training.fit (default small)")
    parser.add_argument(
        "--passes",
        type=whole(1, 1000),
        default=8,
        help=f"passes over the small corpus, {PASS} updates each (default 8)",
    )
    parser.add_argument("--threads", type=whole(1, 1024), default=1, help="CPU threads of each process (default 1)")
    parser.add_argument(
        "--folder", type=Path, help="folder for temporary files, which can be large (default: the system's)"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures by name; sizes in bytes."""
    # The two corpora.
    _, conversations = load_split(DataConfig(name=arguments.data, dir=arguments.data_dir), "train")
    big, small, cache = folder / "big.jsonl", folder / "small.jsonl", folder / "cache"
    write_noisy(big, conversations, arguments.utterances)
    write_noisy(small, conversations, SMALL)

    # The three runs.
    common = {
        "recipe": arguments.recipe,
        "threads": arguments.threads,
        "batch-size": BATCH,
        "corpus.valid-share": HELD_OUT,
        "corpus.test-share": HELD_OUT,
        "train.patience": 10**9,
        "train.log-every": 1,
        "max-steps": arguments.passes * PASS,
        "train.validate-every": PASS,
        "train.save-every": arguments.passes * PASS,
    }
    cold, warm = (watch(folder / run, common | {"data": big, "cache": cache}) for run in ("cold", "warm"))
    few = watch(folder / "few", common | {"data": small, "cache": "off"})

    # The sizes of the cache's files.
    arrays = {path: path.stat().st_size for path in cache.glob("ids-*/*.npy")}
    tokens = sum(size for path, size in arrays.items() if path.stem == "tokens")
    runs = {"cold": cold, "warm": warm, "few": few}
    return {
        "utterances": arguments.utterances,
        "text": big.stat().st_size,
        "token_ids": tokens,
        "other_arrays": sum(arrays.values()) - tokens,
        "updates": arguments.passes * PASS,
        "seconds_to_first_update": {name: run.seconds for name, run in runs.items()},
        "mib_at_first_update": {name: run.begin._asdict() for name, run in runs.items()},
        "mib_at_validations": {name: [memory._asdict() for memory in run.validations] for name, run in runs.items()},
    }


def write_noisy(path: Path, conversations: Sequence[Conversation], utterances: int, seed: int = 0) -> None:
    """Write at least `utterances` utterances as JSON lines: the conversations, repeated with noise."""
    rng = random.Random(seed)
    words = sorted({word for conversation in conversations for u in conversation.utterances for word in u.text.split()})
    with path.open("w", encoding="utf-8") as file:
        for conversation in cycle(conversations):
            texts = [
                {
                    "speaker": utterance.speaker,
                    "text": " ".join(
                        rng.choice(words) if rng.random() < NOISE else word for word in utterance.text.split()
                    ),
                }
                for utterance in conversation.utterances
            ]
            speakers = {
                name: {"sex": profile.sex, "age": profile.age, "education": profile.education}
                for name, profile in conversation.speakers.items()
            }
            line = {"topic": conversation.topic, "utterances": texts, "speakers": speakers}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            utterances -= len(texts)
            if utterances <= 0:
                return


def watch(out: Path, options: Mapping[str, object]) -> Watched:
    """Run `training.fit` in another process and measure its memory.

    Args:
        out: folder for the run.
        options: of the command line, by name.

    Raises:
        DialogCvaeError: the run failed, or the system is not Linux.
    """
    command = [sys.executable, "-m", "training.fit", "--out", str(out)]
    command += [f"--{name}={value}" for name, value in options.items()]
    metrics, log = out / METRICS_FILE, out.with_suffix(".log")
    begin: tuple[float, Memory] | None = None
    validations: list[Memory] = []
    with log.open("w") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                memory = _memory(process.pid)
                recorded = metrics.read_bytes() if metrics.exists() else b""
                if memory is not None and b"\n" in recorded and begin is None:
                    begin = time.monotonic() - start, memory
                if memory is not None and recorded.count(b'{"kind": "valid"') > len(validations):
                    validations.append(memory)
                time.sleep(POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
    if process.returncode or begin is None:
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise DialogCvaeError(f"{' '.join(command)} ended with {process.returncode}: {last}")
    return Watched(*begin, validations)


def _memory(pid: int) -> Memory | None:
    """The memory of a process; None after it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = dict(line.split(":", 1) for line in lines)
    if "RssAnon" not in fields:
        return None
    own, files, most = (int(fields[name].split()[0]) * 1024 / MIB for name in ("RssAnon", "RssFile", "VmHWM"))
    return Memory(own, files, most)


def table(figures: Mapping[str, Any]) -> str:
    """The figures as text for the terminal."""
    names = {"cold": "from the text", "warm": "from the cache", "few": f"{SMALL:,} utterances"}
    utterances = figures["utterances"]
    lines = [
        f"{utterances:,} utterances: text {figures['text'] / MIB:.0f} MiB, token ids {figures['token_ids'] / MIB:.1f} "
        f"MiB, other arrays {figures['other_arrays'] / MIB:.1f} MiB "
        f"({figures['other_arrays'] / utterances:.1f} bytes per utterance)",
        "",
        f"{'':<18}{'first update':>14}{'own':>12}{'files':>12}{'peak so far':>14}",
    ]
    for run, name in names.items():
        memory = figures["mib_at_first_update"][run]
        lines.append(
            f"{name:<18}{figures['seconds_to_first_update'][run]:>12.1f} s{memory['own']:>8.0f} MiB"
            f"{memory['files']:>8.0f} MiB{memory['most']:>10.0f} MiB"
        )
    few, warm = (figures["mib_at_validations"][run][-1] for run in ("few", "warm"))
    lines += [
        "",
        f"after {figures['updates']} updates the run from the cache has {warm['own'] - few['own']:+.0f} MiB of its own "
        f"and {warm['files'] - few['files']:+.0f} MiB of files, compared with the run on {SMALL:,} utterances",
        f"own memory every {PASS} updates, a pass over {SMALL:,} utterances, in MiB:",
    ]
    for run, name in names.items():
        own = ", ".join(f"{memory['own']:.1f}" for memory in figures["mib_at_validations"][run])
        lines.append(f"  {name}: {own}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
