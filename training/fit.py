"""Fit a conditional VAE: `python -m training.fit --help`."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch

from dialog_cvae.checkpoint import Checkpoint, CheckpointConfig, Provenance
from dialog_cvae.cvae import CVAE
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.elbo import ElboReport
from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from dialog_cvae.runtime.torch_engine import weights_of
from dialog_cvae.types import Corpus
from training import arguments, folder, setup
from training.adam import GuardedAdam
from training.arguments import RunOptions
from training.card import joint_licence, model_card
from training.config import FitConfig
from training.folder import BEST_FOLDER, Start
from training.journal import Journal, read_metrics
from training.loop import Run, fingerprint, train
from training.plots import CURVES_FILE, draw_learning_curves
from training.setup import Vocabulary
from training.state import Progress, load_state, save_state
from training.stopping import Stopping
from training.windows import Windows


class StopRequest:
    """True once Ctrl-C or SIGTERM came; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@dataclass(frozen=True)
class BestCheckpoint:
    """Writes `OUT/best`; see `training.loop.BestKeeper`."""

    path: Path
    vocabulary: Vocabulary
    corpus: Corpus
    config: FitConfig
    start: Start

    def __call__(self, model: CVAE, step: int, report: ElboReport) -> None:
        """Save the model with its metrics and card."""
        fitted = self.config.model_dump(mode="json", exclude={"corpus": {"dir"}})
        fitted["corpus"]["name"] = Path(fitted["corpus"]["name"]).name  # a user's folders are nobody else's business
        if (vectors := fitted["train"]["vectors"]) is not None:
            fitted["train"]["vectors"] = Path(vectors).name
        origin = self.start.origin
        licences = [self.corpus.licence] if origin is None else [self.corpus.licence, origin.licence]
        provenance = Provenance(
            data=self.corpus.name if origin is None else f"{self.corpus.name}, after {origin.data}",
            style=self.config.corpus.style if self.config.corpus.name == "swda" else None,
            licence=joint_licence(licences),
            step=step,
            fit=fitted,
        )
        tokenizer, topics = self.vocabulary.tokenizer, self.vocabulary.topics
        config = CheckpointConfig(model=model.config, vocab_size=len(tokenizer), topics=topics, provenance=provenance)
        metrics = {"split": "valid", "step": step} | report.figures()
        card = model_card(provenance, model.config, len(topics), metrics, self.start.command)
        Checkpoint(config, weights_of(model), tokenizer, metrics, card).save(self.path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused or failed, 128 + signal when interrupted."""
    try:
        return _fit(argv)
    except (DialogCvaeError, torch.OutOfMemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder without permission, a closed pipe
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted at once: only what was saved before is kept", file=sys.stderr)
        return 128 + signal.SIGINT


def _fit(argv: Sequence[str] | None) -> int:
    given = arguments.parse(argv)
    options = arguments.run_options(given)
    layers = [{name: value for name, value in given.items() if name not in RunOptions.model_fields}]
    if options.config is not None:
        layers.insert(0, arguments.read_config_file(options.config))
    config = arguments.layered(arguments.recipe(options.recipe), *layers)
    device = setup.device_of(options.device)
    init = None
    if options.init is not None:
        init = Checkpoint.load(options.init)
        config = folder.like_checkpoint(config, init, layers)
    if options.resume:
        out = options.out or folder.default_out(folder.decide_corpus(config))
        config = folder.stored_run(out, config if "recipe" in given else None, layers, options.init)
    else:
        config = folder.decide_corpus(config)
        out = folder.new_out(options.out, config)
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    corpus = load_corpus(config.corpus)
    _describe(corpus)
    if options.resume:
        vocabulary, start = folder.stored_vocabulary(out), folder.stored_start(out)
        model = setup.new_model(config, vocabulary)
    else:
        vocabulary, model = _fresh_parts(config, corpus, init)
        command = _shown_command(sys.argv[1:] if argv is None else argv)
        start = Start(command=command, origin=None if init is None else init.config.provenance)
    keep_best = BestCheckpoint(out / BEST_FOLDER, vocabulary, corpus, config, start)
    return _run(out, model.to(device), keep_best, options.resume)


def _shown_command(argv: Sequence[str]) -> str:
    """The command line for a model card: of an absolute path only the last part."""
    return shlex.join(["python", "-m", "training.fit", *(re.sub(r"(^|=)/.*/(?=.)", r"\1", word) for word in argv)])


def _describe(corpus: Corpus) -> None:
    sizes = ", ".join(
        f"{name} {len(split)} conversations, {sum(len(conversation.utterances) for conversation in split)} utterances"
        for name, split in (("train", corpus.train), ("valid", corpus.valid), ("test", corpus.test))
    )
    for line in (f"corpus {corpus.name}: {sizes}", *(f"  {note}" for note in corpus.notes)):
        print(line, flush=True)


def _fresh_parts(config: FitConfig, corpus: Corpus, init: Checkpoint | None) -> tuple[Vocabulary, CVAE]:
    """Vocabulary and model of a new run, from nothing or from a checkpoint."""
    if init is not None:
        print(f"starting from {init.config.provenance.data}: its sizes and its tokenizer are kept", flush=True)
        vocabulary = setup.extended_vocabulary(corpus, init)
        return vocabulary, setup.fine_tuned_model(init, vocabulary)
    vocabulary = setup.new_vocabulary(corpus, config.tokenizer)
    model = setup.new_model(config, vocabulary)
    if (source := config.train.vectors) is not None:
        share = setup.put_vectors(model, vocabulary, source, config.corpus.dir)
        print(f"word vectors {source}: {share:.1%} of the vocabulary start from them", flush=True)
    return vocabulary, model


def _run(out: Path, model: CVAE, keep_best: BestCheckpoint, resume: bool) -> int:
    config, vocabulary, corpus = keep_best.config, keep_best.vocabulary, keep_best.corpus
    encoded = vocabulary.encode(corpus.train, config.model)
    valid = vocabulary.encode(corpus.valid, config.model)
    windows = Windows(encoded, config.train, config.model, device=next(model.parameters()).device)
    total = config.train.total_steps(encoded.windows)
    _check_schedules(config, total)
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    stopping = Stopping(config.train.patience)
    progress = Progress(0, total, fingerprint(encoded, valid), config.train.seed, torch.get_num_threads(), stopping)
    if resume:
        progress = _resumed(out, model, optimiser, progress)
    else:
        folder.write_start(out, config, vocabulary, keep_best.start)
        save_state(out, model, optimiser, progress)
    print(
        f"model: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, vocabulary "
        f"{len(vocabulary.tokenizer)}, {len(vocabulary.topics)} topics, unknown words "
        f"{setup.unknown_share(encoded):.2%}; {encoded.windows} windows, {total} steps, "
        f"{torch.get_num_threads()} threads; writing to {out}",
        flush=True,
    )
    with StopRequest() as stop, Journal(out, progress, config) as journal:
        run = Run(config, out, model, optimiser, windows, valid, journal, keep_best, interrupted=stop)
        progress = train(run, progress)
    return _finish(out, progress, stop)


def _check_schedules(config: FitConfig, total: int) -> None:
    for name, schedule in (("beta", config.beta), ("learning_rate", config.learning_rate)):
        try:
            schedule.check(total)
        except ValueError as error:
            raise ConfigError(f"{name}: {error} (give --beta.cycles, --learning-rate.cycles or more steps)") from None


def _resumed(out: Path, model: CVAE, optimiser: torch.optim.Adam, start: Progress) -> Progress:
    """Put the saved state back, having checked that it belongs to this data, duration and seed."""
    progress = load_state(out, model, optimiser)
    if progress.data != start.data:
        raise CheckpointError(f"{out}: the conversations are not those that this run was started on")
    if progress.total_steps != start.total_steps:
        raise CheckpointError(
            f"{out}: the run was started for {progress.total_steps} steps, but {start.total_steps} were asked for"
        )
    if progress.seed != start.seed:
        raise CheckpointError(f"{out}: the run was started with seed {progress.seed}, but {start.seed} was asked for")
    if progress.threads != start.threads:
        print(
            f"note: the run used {progress.threads} CPU threads and now uses {start.threads}: "
            "rounding will differ from an uninterrupted run's (--threads)"
        )
    return progress


def _finish(out: Path, progress: Progress, stop: StopRequest) -> int:
    records = read_metrics(out)
    if any(record["kind"] == "valid" for record in records):
        draw_learning_curves(records, out / CURVES_FILE, out.name)
    if not progress.finished:
        print(
            f"stopped after step {progress.step}; "
            f"go on with: python -m training.fit --out {shlex.quote(str(out))} --resume"
        )
        return 128 + (stop.signal or 0)
    if not (out / BEST_FOLDER).is_dir():
        raise CheckpointError(f"{out / BEST_FOLDER}: the best checkpoint was written and is missing now")
    early = "" if progress.step == progress.total_steps else " (stopped early: the validation ELBO no longer improves)"
    print(
        f"done after step {progress.step}{early}; validation ELBO {-progress.stopping.best:.3f}\n"
        f"checkpoint: {out / BEST_FOLDER}\nlearning curves: {out}/{CURVES_FILE}\n"
        f"serve it: DIALOG_CVAE_CHECKPOINT={shlex.quote(str(out))}/best uvicorn api.app:app"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
