"""Builds and caches references for an evaluation that has none.

Open it to change how these references are built.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.files import write_atomically
from eval import evaluation_cache
from eval.contexts import count_contexts
from eval.references import multi_reference
from eval.references.multi_reference import References

if TYPE_CHECKING:  # not at run time, where the digest of this module's code would include the metrics
    from eval.held_out import HeldOut

FILE = "references.json"
_KIND = Kind(
    "references",
    lambda parts: {
        name: np.frombuffer(part, dtype=np.uint8) for name, part in zip(("file", "how"), parts, strict=True)
    },
    lambda arrays: (arrays["file"].tobytes(), arrays["how"].tobytes()),
)


def built_references(held_out: HeldOut, out: Path, cache: Cache) -> tuple[References, str]:
    """References of every context from similar training contexts, as `python -m eval.references build` makes them.

    Args:
        held_out: with its training conversations.
        out: folder for the file of references.
        cache: of earlier results.

    Returns:
        The references, and a description of how they were built.

    Raises:
        ConfigError: the training conversations have no context.
        DialogCvaeError: the file cannot be written.
    """
    path = out / FILE

    def compute() -> tuple[bytes, bytes]:
        how = _build(held_out, path)
        return path.read_bytes(), how.encode()

    origin = {
        "conversations": held_out.digest,
        "train": held_out.train_digest,
        "code": evaluation_cache.code(__name__),
    }
    content, how = cache.get(_KIND, origin, compute)
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
    return multi_reference.load(path, held_out.conversations), how.decode()


def _build(held_out: HeldOut, path: Path) -> str:
    """Write the references to a file; returns a description of how they were built."""
    # imported here: scikit-learn takes seconds to load, and a second evaluation builds nothing
    from eval.references.builder import CANDIDATES, KEEP_SHARE, build
    from eval.references.context_index import ContextIndex
    from eval.references.reply_filter import ReplyFilter

    index = ContextIndex(held_out.train or ())
    how = f"for each context its own reply and those to the {CANDIDATES} most similar training contexts"
    try:
        reply_filter = ReplyFilter(index, seed=0)
        how += f", without those that a filter rejects (it keeps {KEEP_SHARE:.0%} if the speaker changes)"
    except ConfigError:
        reply_filter = None
        how += ", unfiltered: the training split is too small to train the filter"
    contexts = count_contexts(held_out.conversations)
    with tqdm(total=contexts, desc="building references", unit="", disable=None, file=sys.stderr) as bar:
        built = build(index, held_out.conversations, reply_filter=reply_filter, advance=bar.update)
    multi_reference.save(path, built.references)
    return f"built: {how}"
