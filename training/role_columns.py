"""Adds roles to a model that was fitted without them, for `--init` on conversations with roles.

Open it to change how such a model starts to use roles.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dialog_cvae.model.weights import (
    BOW_HEAD,
    CONTEXT_ENCODER,
    PRIOR,
    RECOGNITION,
    ROLE,
    START,
    UNIFORM_RANGE,
    checked_weights,
    condition_size,
)
from dialog_cvae.storage.checkpoint import Checkpoint


def with_roles_added(checkpoint: Checkpoint, source: str, roles: tuple[str, ...], size: int, seed: int) -> Checkpoint:
    """The checkpoint with an embedding of roles. Its results do not change, because the columns for roles are zero.

    Args:
        checkpoint: of a dialog model without roles.
        source: name of the checkpoint; every error message begins with it.
        roles: the names.
        size: dimensions of the embedding.
        seed: seed of its rows.

    Raises:
        CheckpointError: a weight does not fit; see `checked_weights`.
    """
    config, weights = checkpoint.config.model, checked_weights(checkpoint, source, "dialog model")
    places = {CONTEXT_ENCODER.weight_ih: weights[CONTEXT_ENCODER.weight_ih].shape[1]}
    places |= dict.fromkeys(
        (PRIOR[0].weight, RECOGNITION.weight, START.weight, BOW_HEAD[0].weight), condition_size(config)
    )
    for name, place in places.items():
        if name in weights:
            before, after = np.split(weights[name], [place], axis=1)
            weights[name] = np.concatenate((before, np.zeros((len(before), size), np.float32), after), axis=1)
    rows = np.random.default_rng(seed).uniform(-UNIFORM_RANGE, UNIFORM_RANGE, (len(roles) + 1, size))
    weights[ROLE] = rows.astype(np.float32)
    sizes = config.model_copy(update={"role_size": size})
    return replace(
        checkpoint, config=checkpoint.config.model_copy(update={"model": sizes, "roles": roles}), weights=weights
    )
