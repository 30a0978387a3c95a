"""The rules of `--resume`: which fields and state must equal those of the stored run.

Open this to change what a resumed run may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dialog_cvae.data.corpora import is_path
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.storage.checkpoint_config import Provenance
from training import arguments
from training.config import FitConfig
from training.folder import CONFIG_FILE, stored_config, stored_start
from training.state import STATE_FILE, Progress, load_state

# Fields that a resumed run may change, because they do not affect its result.
FREE_ON_RESUME = {"corpus.dir", "train.accumulation", "train.save_every", "train.log_every", "train.threads"}


def stored_run(
    out: Path, asked: FitConfig | None, layers: Sequence[Mapping[str, Any]], init: Provenance | None = None
) -> FitConfig:
    """The configuration of a run to resume.

    Args:
        out: folder of the run.
        asked: the whole requested configuration, if the command gives a recipe.
        layers: the single requested fields.
        init: of the checkpoint of `--init`, which may repeat the one that the run started with.

    Raises:
        CheckpointError: there is no run, or its configuration is broken.
        ConfigError: a requested field that affects the result differs; or `--init` is given, but the run was started
            without it or from another checkpoint.
    """
    path = out / CONFIG_FILE
    if not (out / STATE_FILE).is_file() or not path.is_file():
        raise CheckpointError(f"{out}: no saved run there to resume (no {STATE_FILE} or no {CONFIG_FILE})")
    if init is not None and (origin := stored_start(out).origin) != init:
        began = f"from another checkpoint (of {origin.data}, step {origin.step})" if origin else "without --init"
        raise ConfigError(
            f"resume, init: the run in {out} was started {began}, but --init is given; leave out one of --resume and "
            "--init"
        )
    stored = stored_config(out)
    wanted = asked or arguments.layered(stored, *layers)
    if not _names(layers, "corpus", "reading"):
        wanted = arguments.layered(wanted, {"corpus": {"reading": stored.corpus.reading}})
    if not _names(layers, "train", "precision"):  # that of a recipe may depend on the processor
        wanted = arguments.layered(wanted, {"train": {"precision": stored.train.precision}})
    before_roles = "role_size" not in stored.model.model_fields_set
    if before_roles and not _names(layers, "model", "role_size"):
        wanted = arguments.layered(wanted, {"model": {"role_size": stored.model.role_size}})
    before_patience = "patience_at_full_beta" not in stored.train.model_fields_set
    if before_patience and not _names(layers, "train", "patience_at_full_beta"):
        kept = {"patience_at_full_beta": stored.train.patience_at_full_beta}
        wanted = arguments.layered(wanted, {"train": kept})
    if wanted.corpus.name == "auto":
        wanted = arguments.layered(wanted, {"corpus": {"name": stored.corpus.name}})
    for name, (old, new) in arguments.differences(stored, wanted).items():
        # A file may have moved, so the fingerprint of its conversations is checked later.
        moved = name == "corpus.name" and is_path(old) and is_path(new)
        if name not in FREE_ON_RESUME and not moved:
            raise ConfigError(
                f"{name}: the run in {out} has {old!r}, but {new!r} was asked for; a resumed run keeps it"
            )
    return wanted


def _names(layers: Sequence[Mapping[str, Any]], section: str, field: str) -> bool:
    """Whether a layer names this field."""
    return any(field in arguments.section(layer, section) for layer in layers)


def resume_state(out: Path, model: LatentModel, optimiser: torch.optim.Adam, new: Progress) -> Progress:
    """Load the saved state, after checks that it belongs to the same data, duration and seed.

    Args:
        out: folder of the run.
        model: receives the saved weights.
        optimiser: receives the saved moments.
        new: the progress of a new run with the same configuration and data.

    Raises:
        CheckpointError: the state is missing, broken, or from another run.
    """
    progress = load_state(out, model, optimiser)
    if progress.data != new.data:
        raise CheckpointError(f"{out}: the conversations are not those that this run was started on")
    if progress.total_steps != new.total_steps:
        raise CheckpointError(
            f"{out}: the run was started for {progress.total_steps} steps, but {new.total_steps} were asked for"
        )
    if progress.seed != new.seed:
        raise CheckpointError(f"{out}: the run was started with seed {progress.seed}, but {new.seed} was asked for")
    if progress.threads != new.threads:
        print(
            f"note: the run used {progress.threads} CPU threads and now uses {new.threads}: "
            "rounding will differ from an uninterrupted run's (--threads)"
        )
    if progress.processes != new.processes:
        print(
            f"note: the run used {progress.processes} processes and now uses {new.processes}: "
            "rounding will differ from an uninterrupted run's"
        )
    return progress
