"""Fit a conditional VAE: `python -m training.fit --help`."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dialog_cvae.data.batches import EncodedCorpus
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.nn.matmul import multiplies_fast
from dialog_cvae.storage.checkpoint import Checkpoint
from training import arguments, folder, setup
from training.adam import GuardedAdam
from training.arguments import RunOptions
from training.best import BestCheckpoint
from training.config import FitConfig
from training.distributed import ALONE, ProcessLostError, World, joined, who
from training.folder import BEST_FOLDER, Start
from training.learning_curves import CURVES_FILE, draw_learning_curves
from training.loop import Run, train
from training.memory import keep_freed_memory
from training.metrics_log import Journal, read_metrics
from training.observer import Bystander, StopRequest
from training.sentence_batches import SentenceBatches
from training.state import Progress, load_state, save_state, share_state
from training.stopping import Stopping
from training.training_corpus import SPLITS, Summary, TrainingCorpus, fingerprint
from training.vocabulary import Vocabulary
from training.windows import Windows


@dataclass(frozen=True)
class Plan:
    """What is fitted, and where it goes.

    Attributes:
        config: of the experiment.
        out: folder of the run.
    """

    config: FitConfig
    out: Path

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"config": self.config.model_dump(mode="json"), "out": str(self.out)})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The reverse of `to_json`."""
        content = json.loads(text)
        return cls(FitConfig.model_validate(content["config"]), Path(content["out"]))


class Parts(NamedTuple):
    """What is fitted, and to what."""

    summary: Summary
    vocabulary: Vocabulary
    model: LatentModel
    train: EncodedCorpus
    valid: EncodedCorpus


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused or failed, 128 + signal when interrupted.

    Of several processes the first speaks for all; the others tell only what happened to them alone.
    """
    world = ALONE
    try:
        world = who()
        with _quiet(not world.leads), joined(world):
            return _status(sys.argv[1:] if argv is None else argv, world)
    except DialogCvaeError as error:
        if world.leads:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError as error:
        print(f"error: {_whose(world)}{error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder without permission, a closed pipe
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {_whose(world)}{place}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if world.leads:
            print("interrupted at once: only what was saved before is kept", file=sys.stderr)
        return 128 + signal.SIGINT


def _status(argv: Sequence[str], world: World) -> int:
    """Fit; what is refused is refused by every process, and each comes here."""
    try:
        return _fit(argv, world)
    except ProcessLostError:
        raise
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


@contextmanager
def _quiet(needed: bool) -> Iterator[None]:
    if not needed:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _whose(world: World) -> str:
    return "" if world.leads else f"process {world.rank} of {world.size}: "


def _fit(argv: Sequence[str], world: World) -> int:
    given = arguments.parse(argv)
    options = arguments.run_options(given)
    init = world.lead(lambda: None if options.init is None else Checkpoint.load(options.init))
    plan = world.share(lambda: _plan(given, options, init), Plan.to_json, Plan.from_json)
    config, out = plan.config, plan.out
    device = world.each(lambda: setup.device_of(world.device_name(options.device)))
    world.agree("device", device.type)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    if config.train.precision == "bf16" and not multiplies_fast(torch.bfloat16, device):
        print("note: this processor has no bfloat16 products, and pieces them together: fp32 is faster", flush=True)
    if not options.resume:
        _tell_what_is_in_vain(arguments.recipe(options.recipe), config)
    parts = _parts(config, options, init, out, world)
    keep_freed_memory()
    command, origin = _shown_command(argv), None if init is None else init.config.provenance
    start = world.lead(lambda: folder.stored_start(out) if options.resume else Start(command=command, origin=origin))
    start = start or Start(command=command)
    keep_best = BestCheckpoint(out / BEST_FOLDER, parts.vocabulary, parts.summary, config, start)
    return _run(out, parts, device, keep_best, options.resume, world)


def _tell_what_is_in_vain(base: FitConfig, config: FitConfig) -> None:
    kind, used = ("sentences", "sentence") if config.corpus.of_sentences else ("conversations", "model")
    for name in arguments.in_vain(base, config):
        print(f"note: {name} is without effect on {config.corpus.name}, a corpus of {kind}: see {used}.*", flush=True)


def _plan(given: Mapping[str, Any], options: RunOptions, init: Checkpoint | None) -> Plan:
    """What is fitted, from options, configuration files, the checkpoint to start from and the run to go on with."""
    layers = [{name: value for name, value in given.items() if name not in RunOptions.model_fields}]
    if options.config is not None:
        layers.insert(0, arguments.read_config_file(options.config))
    config = arguments.layered(arguments.recipe(options.recipe), *layers)
    if init is not None:
        config = folder.like_checkpoint(config, init, layers)
    if options.resume:
        out = options.out or folder.default_out(folder.decide_corpus(config))
        return Plan(folder.stored_run(out, config if "recipe" in given else None, layers, options.init), out)
    config = folder.decide_corpus(config)
    return Plan(config, folder.new_out(options.out, config))


def _shown_command(argv: Sequence[str]) -> str:
    """The command line for a model card: of an absolute path only the last part."""
    return shlex.join(["python", "-m", "training.fit", *(re.sub(r"(^|=)/.*/(?=.)", r"\1", word) for word in argv)])


def _parts(config: FitConfig, options: RunOptions, init: Checkpoint | None, out: Path, world: World) -> Parts:
    """What is fitted and to what; if the corpus's text had to be read, it is let go of here."""
    corpus = world.machine_by_turns(lambda: _described(config, options.cache))
    vocabulary, fresh = world.share(
        lambda: (folder.stored_vocabulary(out), None) if options.resume else _fresh_parts(config, corpus, init),
        lambda parts: parts[0].to_json(),
        lambda text: (Vocabulary.from_json(text), None),
    )
    model = setup.new_model(config, vocabulary) if fresh is None else fresh
    encoded, valid = world.machine_by_turns(
        lambda: [corpus.encoded(split, vocabulary, config.max_tokens) for split in ("train", "valid")]
    )
    return Parts(corpus.summary, vocabulary, model, encoded, valid)


def _described(config: FitConfig, cache: str | None) -> TrainingCorpus:
    """The corpus, after it was told what it is."""

    def say(line: str) -> None:
        print(line, flush=True)

    corpus = TrainingCorpus(config.corpus, open_cache(cache, say), say)
    summary = corpus.summary
    sizes = ", ".join(
        f"{split} {summary.sizes[split].conversations} conversations, {summary.sizes[split].utterances} utterances"
        for split in SPLITS
    )
    for line in (f"corpus {summary.name}: {sizes}", *(f"  {note}" for note in summary.notes)):
        say(line)
    return corpus


def _fresh_parts(config: FitConfig, corpus: TrainingCorpus, init: Checkpoint | None) -> tuple[Vocabulary, LatentModel]:
    """Vocabulary and model of a new run, from nothing or from a checkpoint."""
    if init is not None:
        print(f"starting from {init.config.provenance.data}: its sizes and its tokenizer are kept", flush=True)
        known, found = init.config.topics, corpus.summary.topics
        vocabulary = Vocabulary(init.tokenizer, (*known, *(topic for topic in found if topic not in known)))
        return vocabulary, setup.fine_tuned_model(init, vocabulary)
    vocabulary = Vocabulary(corpus.tokenizer(config.tokenizer), corpus.summary.topics)
    model = setup.new_model(config, vocabulary)
    if (source := config.train.vectors) is not None:
        share = setup.put_vectors(model, vocabulary, source, config.corpus.dir)
        print(f"word vectors {source}: {share:.1%} of the vocabulary start from them", flush=True)
    return vocabulary, model


def _run(out: Path, parts: Parts, device: torch.device, keep_best: BestCheckpoint, resume: bool, world: World) -> int:
    config, vocabulary, encoded, valid = keep_best.config, parts.vocabulary, parts.train, parts.valid
    model = parts.model.to(device)
    windows: Windows | SentenceBatches = Windows(encoded, config.train, config.model, world, device)
    judged: EncodedCorpus | Sentences = valid
    if config.corpus.of_sentences:
        windows = SentenceBatches(Sentences.of(encoded), config.train, config.sentence, world, device)
        judged = Sentences.of(valid)
    total = config.train.total_steps(encoded.windows, windows.per_epoch)
    _check_schedules(config, total)
    if config.sizes.posterior_norm and world.size > 1:
        raise ConfigError(
            "posterior_norm takes the statistics of a whole batch, which must be in one process, "
            f"but there are {world.size}"
        )
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    progress = Progress(
        step=0,
        total_steps=total,
        data=fingerprint(encoded, valid),
        seed=config.train.seed,
        threads=torch.get_num_threads(),
        stopping=Stopping(config.train.patience),
        processes=world.size,
    )
    world.agree("fingerprint of the conversations", progress.data)

    def begin() -> Progress:
        if resume:
            return _resumed(out, model, optimiser, progress)
        folder.write_start(out, config, vocabulary, keep_best.start)
        save_state(out, model, optimiser, progress)
        return progress

    progress = world.share(begin, Progress.to_json, Progress.from_json)
    share_state(world, model, optimiser, progress.step)
    print(
        f"model: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, vocabulary "
        f"{len(vocabulary.tokenizer)}, {len(vocabulary.topics)} topics, unknown words "
        f"{setup.unknown_share(encoded):.2%}; {encoded.windows} windows, {total} steps, "
        f"{f'{world.size} processes of ' if world.size > 1 else ''}{torch.get_num_threads()} threads; writing to {out}",
        flush=True,
    )
    with StopRequest() as stop, ExitStack() as stack:
        observer = world.lead(lambda: stack.enter_context(Journal(out, progress, config))) or Bystander()
        run = Run(config, out, model, optimiser, windows, judged, observer, keep_best, interrupted=stop, world=world)
        progress = train(run, progress)
    number = max(int(each) for each in world.gather(str(int(stop.signal or 0))))
    serves = not config.corpus.of_sentences
    return world.share(lambda: _finish(out, progress, number, serves), str, int)


def _check_schedules(config: FitConfig, total: int) -> None:
    for name, schedule in (("beta", config.beta), ("learning_rate", config.learning_rate)):
        try:
            schedule.check(total)
        except ValueError as error:
            raise ConfigError(f"{name}: {error} (give --beta.cycles, --learning-rate.cycles or more steps)") from None


def _resumed(out: Path, model: LatentModel, optimiser: torch.optim.Adam, start: Progress) -> Progress:
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
    if progress.processes != start.processes:
        print(
            f"note: the run used {progress.processes} processes and now uses {start.processes}: "
            "rounding will differ from an uninterrupted run's"
        )
    return progress


def _finish(out: Path, progress: Progress, number: int, serves: bool) -> int:
    """Draw what was learnt, say how it ended, and return the exit status; `number` is the signal's that stopped it."""
    records = read_metrics(out)
    if any(record["kind"] == "valid" for record in records):
        draw_learning_curves(records, out / CURVES_FILE, out.name)
    if not progress.finished:
        print(
            f"stopped after step {progress.step}; "
            f"go on with: python -m training.fit --out {shlex.quote(str(out))} --resume"
        )
        return 128 + number
    if not (out / BEST_FOLDER).is_dir():
        raise CheckpointError(f"{out / BEST_FOLDER}: the best checkpoint was written and is missing now")
    early = "" if progress.step == progress.total_steps else " (stopped early: the validation ELBO no longer improves)"
    print(
        f"done after step {progress.step}{early}; validation ELBO {-progress.stopping.best:.3f}\n"
        f"checkpoint: {out / BEST_FOLDER}\nlearning curves: {out}/{CURVES_FILE}"
    )
    if serves:
        print(f"serve it: dialog-cvae serve {shlex.quote(str(out))}/best")
    return 0


if __name__ == "__main__":
    sys.exit(main())
