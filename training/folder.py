"""The folder of a run: its name, and the files that record its start.

Open this to see or change what is in a run's folder:

OUT/config.json      the configuration, every field
OUT/tokenizer.model  the tokenizer
OUT/topics.json      topics in the order of their embedding
OUT/roles.json       roles of speakers, in the order of their embedding
OUT/start.json       the command, and the provenance of the checkpoint of --init
OUT/trained_before.safetensors   hashes of the conversations that this checkpoint was trained on, if it has them
OUT/metrics.jsonl    metrics; OUT/tensorboard the same for TensorBoard; OUT/learning_curves.png at the end
OUT/speed.jsonl      seconds per update, and the share spent waiting for batches
OUT/.fitting         a lock: only one process fits in a folder
OUT/state/           weights, optimiser and position, to resume from
OUT/best/            the best checkpoint
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from dialog_cvae.config import Config, Decoding
from dialog_cvae.data.corpora import DATA_VARIABLE, resolve
from dialog_cvae.data.roles import checked_roles
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint_config import Provenance
from dialog_cvae.storage.checkpoint_files import BEST
from dialog_cvae.storage.files import write_atomically
from dialog_cvae.text.stored_tokenizer import read_tokenizer
from training.config import FitConfig
from training.state import STATE_FILE
from training.task import task_of
from training.vocabulary import Vocabulary

CONFIG_FILE, TOKENIZER_FILE, TOPICS_FILE, START_FILE = "config.json", "tokenizer.model", "topics.json", "start.json"
ROLES_FILE, TRAINED_FILE = "roles.json", "trained_before.safetensors"
START_FILES = (CONFIG_FILE, TOKENIZER_FILE, TOPICS_FILE, ROLES_FILE, TRAINED_FILE, START_FILE)
NO_SWITCHBOARD = (
    f"Switchboard was not found (--data-dir, ${DATA_VARIABLE}): using the synthetic sample corpus. `--data swda` "
    "downloads it."
)
T = TypeVar("T")


class Start(Config):
    """What a run was started with, in addition to its configuration.

    Attributes:
        command: for the model card, without the user's folders.
        origin: provenance of the checkpoint of `--init`.
        decoding: decoding of that checkpoint; the run's own checkpoint keeps it.
    """

    command: str
    origin: Provenance | None = None
    decoding: Decoding | None = None


def decide_corpus(config: FitConfig) -> FitConfig:
    """Replace the corpus `auto` by a real name; print a note if it is not Switchboard."""
    corpus = resolve(config.corpus)
    if config.corpus.name == "auto" and corpus.name == "sample":
        print(NO_SWITCHBOARD, flush=True)
    return config.model_copy(update={"corpus": corpus})


def default_out(config: FitConfig) -> Path:
    """A folder that names corpus, model, schedule and seed."""
    model = task_of(config).model_name(config)
    return Path("runs") / f"{Path(config.corpus.name).stem}-{model}-{config.beta.kind}-seed{config.train.seed}"


def new_out(out: Path | None, config: FitConfig) -> Path:
    """The folder of a new run.

    Raises:
        ConfigError: it already holds a run, a checkpoint or another file that a run would replace; or it is a file.
    """
    out = out or default_out(config)
    if (out / STATE_FILE).exists() or (out / BEST).exists():
        raise ConfigError(f"out: {out} already holds a run; continue it with --resume, or choose another --out")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out: {out} is not a folder")
    if any((out / name).exists() for name in START_FILES) and not _was_begun(out):
        raise ConfigError(
            f"out: {out} holds a checkpoint or other files, which a run would replace; choose another --out"
        )
    return out


def _was_begun(out: Path) -> bool:
    """Whether a run that was stopped before it saved its state wrote the files in its folder."""
    try:
        stored_config(out)
    except CheckpointError:
        return False
    return True


def write_start(
    out: Path, config: FitConfig, vocabulary: Vocabulary, start: Start, before: TrainedConversations | None = None
) -> None:
    """Write the files of a new run's start; `before` are the conversations of the checkpoint of `--init`."""
    write_atomically(out / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())
    write_atomically(out / TOKENIZER_FILE, vocabulary.tokenizer.to_bytes())
    write_atomically(out / TOPICS_FILE, (json.dumps(vocabulary.topics, indent=2) + "\n").encode())
    write_atomically(out / ROLES_FILE, (json.dumps(vocabulary.roles, indent=2) + "\n").encode())
    if before is None:
        (out / TRAINED_FILE).unlink(missing_ok=True)  # of a run that was stopped before it saved its state
    else:
        write_atomically(out / TRAINED_FILE, before.to_bytes())
    write_atomically(out / START_FILE, (start.model_dump_json(indent=2) + "\n").encode())


def stored_config(out: Path) -> FitConfig:
    """The configuration of a stored run. Without `corpus.reading`, it is from a version that only had reading 1.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    config = read(out / CONFIG_FILE, TypeAdapter(FitConfig))
    if "reading" in config.corpus.model_fields_set:
        return config
    return config.model_copy(update={"corpus": config.corpus.model_copy(update={"reading": 1})})


def stored_vocabulary(out: Path) -> Vocabulary:
    """The vocabulary of a stored run. Without a list of roles, it is from a version that had no roles.

    Raises:
        CheckpointError: a part is missing or broken.
    """
    path = out / TOKENIZER_FILE
    try:
        tokenizer = read_tokenizer(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    roles = Annotated[tuple[str, ...], AfterValidator(checked_roles)]
    return Vocabulary(
        tokenizer,
        read(out / TOPICS_FILE, TypeAdapter(tuple[str, ...])),
        read(out / ROLES_FILE, TypeAdapter(roles)) if (out / ROLES_FILE).exists() else (),
    )


def stored_before(out: Path) -> TrainedConversations | None:
    """The conversations that the checkpoint of `--init` was trained on; None if unknown, or without `--init`.

    Raises:
        CheckpointError: the file is broken.
    """
    path = out / TRAINED_FILE
    try:
        return TrainedConversations.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def stored_start(out: Path) -> Start:
    """The start of a stored run.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    return read(out / START_FILE, TypeAdapter(Start))


def read(path: Path, kind: TypeAdapter[T]) -> T:
    """The content of a JSON file.

    Raises:
        CheckpointError: the file is missing or broken; the message names it.
    """
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise CheckpointError(f"{path}: broken ({place}{first['msg']})") from None
