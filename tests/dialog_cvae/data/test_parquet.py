"""Parquet files of one column of texts: files that pyarrow 26 wrote, and damaged ones."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest

from dialog_cvae.data.parquet import read_texts
from dialog_cvae.errors import DataError
from tests.dialog_cvae.data.parquet_files import FILES, WORDS


def content(name: str) -> bytes:
    return base64.b64decode(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_what_pyarrow_wrote_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "index.parquet").write_bytes(content(name))
    assert read_texts(tmp_path / "index.parquet") == WORDS


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "index.parquet"
    whole = content(name)
    for length in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"index\.parquet: is not a Parquet file of one column of texts"):
            read_texts(path)
    # every page begins with a header; a wrong byte there or in the footer raises nothing but this error
    for place in range(4, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            read_texts(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.parquet: cannot be read \(No such file or directory\)"):
        read_texts(tmp_path / "index.parquet")
