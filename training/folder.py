"""The folder of a run: what it was started with, so that it can be gone on with.

OUT/config.json      the configuration, every field
OUT/tokenizer.model  the tokenizer
OUT/topics.json      topics in the order of their embedding
OUT/start.json       the command, and what the checkpoint of --init was fitted on
OUT/metrics.jsonl    metrics; OUT/tensorboard the same for TensorBoard; OUT/learning_curves.png at the end
OUT/speed.jsonl      seconds an update took, and the share of them spent waiting for its batch
OUT/state/           weights, optimiser and position, to resume from
OUT/best/            the best checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dialog_cvae.config import Config
from dialog_cvae.data.corpora import DATA_VARIABLE, resolve
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint, Provenance
from dialog_cvae.storage.files import write_atomically
from dialog_cvae.text.tokenizer import Tokenizer
from training import arguments
from training.config import FitConfig
from training.state import STATE_FILE
from training.vocabulary import Vocabulary

CONFIG_FILE, TOKENIZER_FILE, TOPICS_FILE, START_FILE = "config.json", "tokenizer.model", "topics.json", "start.json"
BEST_FOLDER = "best"
T = TypeVar("T")
# Fields that a resumed run may change, because they do not change its result.
FREE_ON_RESUME = {"corpus.dir", "train.accumulation", "train.save_every", "train.log_every", "train.threads"}


class Start(Config):
    """What a run was started with beside its configuration.

    Attributes:
        command: for people, without their folders.
        origin: of the checkpoint of `--init`.
    """

    command: str
    origin: Provenance | None = None


def decide_corpus(config: FitConfig) -> FitConfig:
    """Decide the corpus `auto`, and say so where the answer is not Switchboard."""
    corpus = resolve(config.corpus)
    if config.corpus.name == "auto" and corpus.name == "sample":
        print(
            f"Switchboard was not found (--data-dir, ${DATA_VARIABLE}): using the synthetic sample corpus. "
            "`--data swda` downloads it.",
            flush=True,
        )
    return config.model_copy(update={"corpus": corpus})


def default_out(config: FitConfig) -> Path:
    """A folder that names corpus, model, schedule and seed."""
    model = ("cvae" if config.model.latent_size else "hred") + ("-bow" if config.model.bow else "")
    if config.corpus.of_sentences:
        model = "vae" if config.sentence.latent_size else "lm"
    return Path("runs") / f"{Path(config.corpus.name).stem}-{model}-{config.beta.kind}-seed{config.train.seed}"


def new_out(out: Path | None, config: FitConfig) -> Path:
    """The folder of a new run.

    Raises:
        ConfigError: it holds a run already, or is a file.
    """
    out = out or default_out(config)
    if (out / STATE_FILE).exists() or (out / BEST_FOLDER).exists():
        raise ConfigError(f"out: {out} already holds a run; go on with it by --resume, or choose another --out")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out: {out} is not a folder")
    return out


def like_checkpoint(config: FitConfig, checkpoint: Checkpoint, asked: Sequence[Mapping[str, Any]]) -> FitConfig:
    """The configuration with the sizes and the tokenizer of the checkpoint to start from.

    Args:
        config: of the new run.
        checkpoint: of `--init`.
        asked: layers of fields that were asked for; a recipe's do not count.

    Raises:
        ConfigError: a field of the model or the tokenizer was asked for with another value than the checkpoint's, or
            word vectors, in whose place the checkpoint has embeddings of its own.
    """
    for layer in asked:
        if (vectors := arguments.section(layer, "train").get("vectors")) is not None:
            raise ConfigError(
                f"train.vectors: the checkpoint of --init has its own embeddings, but {vectors!r} is given"
            )
    sizes = checkpoint.config.sentence
    if (sizes is not None) != config.corpus.of_sentences:
        kinds = ("conversations", "sentences")
        raise ConfigError(
            f"init: the checkpoint is of {kinds[sizes is not None]}, but corpus {config.corpus.name} is of "
            f"{kinds[config.corpus.of_sentences]}"
        )
    name, model = ("model", checkpoint.config.model) if sizes is None else ("sentence", sizes)
    fixed: dict[str, Any] = {name: model.model_dump(), "train": {"vectors": None}}
    if "tokenizer" in checkpoint.config.provenance.fit:
        fixed["tokenizer"] = checkpoint.config.provenance.fit["tokenizer"]
    for section in (name, "tokenizer"):
        values = fixed.get(section, {})
        for field in {field for layer in asked for field in arguments.section(layer, section)} & values.keys():
            value = getattr(getattr(config, section), field)
            if value != values[field]:
                raise ConfigError(
                    f"{section}.{field}: the checkpoint of --init has {values[field]!r}, but {value!r} was asked for"
                )
    return arguments.layered(config, fixed)


def stored_run(
    out: Path, asked: FitConfig | None, layers: Sequence[Mapping[str, Any]], init: Path | None = None
) -> FitConfig:
    """The configuration of a run to go on with.

    Args:
        out: its folder.
        asked: the whole configuration now asked for, where the command names a recipe.
        layers: the fields now asked for by themselves.
        init: `--init` of the command, which may repeat what the run was started with.

    Raises:
        CheckpointError: there is no run, or its configuration is broken.
        ConfigError: a field that decides the result was asked for with another value, or a checkpoint to start from
            although the run was started without one.
    """
    path = out / CONFIG_FILE
    if not (out / STATE_FILE).is_file() or not path.is_file():
        raise CheckpointError(f"{out}: no saved run there to resume (no {STATE_FILE} or no {CONFIG_FILE})")
    if init is not None and stored_start(out).origin is None:
        raise ConfigError(
            f"resume, init: the run in {out} was started without --init, but goes on with --init {init}; "
            "leave out one of --resume and --init"
        )
    stored = _read(path, TypeAdapter(FitConfig))
    wanted = asked or arguments.layered(stored, *layers)
    if wanted.corpus.name == "auto":
        wanted = arguments.layered(wanted, {"corpus": {"name": stored.corpus.name}})
    for name, (old, new) in arguments.differences(stored, wanted).items():
        # A file may have moved: the fingerprint of its conversations decides whether they are the run's.
        moved = name == "corpus.name" and old.endswith(".jsonl") and new.endswith(".jsonl")
        if name not in FREE_ON_RESUME and not moved:
            raise ConfigError(
                f"{name}: the run in {out} has {old!r}, but {new!r} was asked for; a resumed run keeps it"
            )
    return wanted


def write_start(out: Path, config: FitConfig, vocabulary: Vocabulary, start: Start) -> None:
    """Write what the run is started with."""
    write_atomically(out / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())
    write_atomically(out / TOKENIZER_FILE, vocabulary.tokenizer.to_bytes())
    write_atomically(out / TOPICS_FILE, (json.dumps(vocabulary.topics, indent=2) + "\n").encode())
    write_atomically(out / START_FILE, (start.model_dump_json(indent=2) + "\n").encode())


def stored_vocabulary(out: Path) -> Vocabulary:
    """The vocabulary that the run was started with.

    Raises:
        CheckpointError: a part is missing or broken.
    """
    return Vocabulary(Tokenizer.load(out / TOKENIZER_FILE), _read(out / TOPICS_FILE, TypeAdapter(tuple[str, ...])))


def stored_start(out: Path) -> Start:
    """What the run was started from.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    return _read(out / START_FILE, TypeAdapter(Start))


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise CheckpointError(f"{path}: broken ({place}{first['msg']})") from None
