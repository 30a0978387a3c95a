"""The language model that a checkpoint's adapters belong to: found, and compared with the one they were fitted on.

Open it to change where it is searched, or what is said when it is missing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import BackboneFacts
from dialog_cvae.storage.checkpoint_config import CheckpointConfig

if TYPE_CHECKING:
    from dialog_cvae.storage.backbone import Backbone

BACKBONE_VARIABLE = "DIALOG_CVAE_BACKBONE"


def backbone_of_checkpoint(config: CheckpointConfig, source: str, path: Path | None = None) -> Backbone:
    """The backbone of a checkpoint of adapters.

    Args:
        config: of the checkpoint.
        source: name of the checkpoint, with which every error message begins.
        path: of the base's file or folder; default: the one that BACKBONE_VARIABLE names, else where the checkpoint's
            backbone is found by its name.

    Raises:
        CheckpointError: the backbone is missing or damaged, the adapters were fitted on another one, or the package to
            read it is not installed; the message says how to get it.
    """
    assert config.language is not None
    assert config.base is not None
    try:
        from dialog_cvae.storage.find_backbone import DEFAULT, locate, open_backbone

        given = os.environ.get(BACKBONE_VARIABLE) if path is None else str(path)
        name = given or config.language.backbone
        try:
            found = open_backbone(locate(name))
        except CheckpointError as error:
            known = bool(given) or name == DEFAULT
            how = "" if known else f"; give its file or folder, in the variable {BACKBONE_VARIABLE} or as --backbone"
            raise CheckpointError(f"{source}: needs {_named(config.base)}: {error}{how}") from None
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{source}: needs a language model, which is read by {error.name}: pip install 'dialog-cvae[lm]'"
        ) from None
    check_backbone(config.base, found, source)
    return found


def check_backbone(wanted: BackboneFacts, found: Backbone, source: str) -> None:
    """Refuse a backbone other than the one that adapters were fitted on.

    Raises:
        CheckpointError: its file has another content; the message names both.
    """
    if found.sha256 != wanted.sha256:
        raise CheckpointError(
            f"{source}: was fitted on {_named(wanted)}, but {found.name} ({found.sha256[:12]}...) was found; it is "
            "another language model, or another version or a damaged copy of this one"
        )


def _named(backbone: BackboneFacts) -> str:
    return f"the language model {backbone.name} (SHA-256 {backbone.sha256[:12]}...)"
