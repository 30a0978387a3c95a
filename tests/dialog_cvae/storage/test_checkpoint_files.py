"""A part of a checkpoint that is missing, cut, changed or another's is refused by its name."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import CARD, CONFIG, METRICS, TOKENIZER, WEIGHTS
from tests.dialog_cvae.storage.checkpoint_tools import PARTS, assert_same, resealed


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(saved, part):
    (saved / part).unlink()
    with pytest.raises(CheckpointError, match=rf"best/{part}: missing"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("part", [CONFIG, WEIGHTS, TOKENIZER, METRICS])
@pytest.mark.parametrize("keep", [0, 1, 0.5, -1])
def test_a_truncated_part_is_named(saved, part, keep):
    data = (saved / part).read_bytes()
    cut = data[: int(len(data) * keep)] if isinstance(keep, float) else data[:keep]
    if part == CONFIG and keep == -1:
        cut = cut[:-1]  # the last byte is a line end, without which nothing is lost
    (saved / part).write_bytes(cut)
    with pytest.raises(CheckpointError, match=f"best/{part}: "):
        Checkpoint.load(saved)


@pytest.mark.parametrize("part", [WEIGHTS, TOKENIZER, METRICS])
def test_one_changed_byte_anywhere_is_refused(saved, part):
    data = (saved / part).read_bytes()
    for position in np.linspace(0, len(data) - 1, 25).astype(int):
        changed = bytearray(data)
        changed[position] ^= 1
        (saved / part).write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"best/{part}: truncated or changed"):
            Checkpoint.load(saved)


def test_one_changed_byte_of_the_configuration_is_refused_or_changes_nothing(saved, tiny_checkpoint):
    data = (saved / CONFIG).read_bytes()
    harmless = 0
    for position in range(0, len(data), 3):
        for value in (data[position] ^ 1, data[position] ^ 0x20, ord(" "), ord("0"), 0xFF):
            changed = bytearray(data)
            changed[position] = value
            (saved / CONFIG).write_bytes(changed)
            try:
                found = Checkpoint.load(saved)
            except CheckpointError as error:
                assert "best/config.json: " in str(error)  # noqa: PT017
            else:
                assert found.config == tiny_checkpoint.config
                harmless += 1
    assert harmless > 0  # white space


def test_line_ends_of_windows_in_text_change_nothing(saved, tiny_checkpoint):
    for part in (CONFIG, METRICS, CARD):
        (saved / part).write_bytes((saved / part).read_bytes().replace(b"\n", b"\r\n"))
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


def test_the_folder_of_a_run_is_as_good_as_its_best_checkpoint(tiny_checkpoint, tmp_path):
    tiny_checkpoint.save(tmp_path / "run" / "best")
    assert_same(Checkpoint.load(tmp_path / "run"), tiny_checkpoint)


def test_people_may_write_into_the_card(saved):
    text = f"---\nlicense: mit\n---\n{(saved / CARD).read_text()}"
    (saved / CARD).write_text(text)
    assert Checkpoint.load(saved).card == text
    resealed(saved, lambda content: content["files"].update({CARD: "0" * 64}))  # as earlier versions listed it
    assert Checkpoint.load(saved).card == text


@pytest.mark.parametrize("part", [WEIGHTS, TOKENIZER, METRICS])
def test_a_part_of_another_checkpoint_is_refused(saved, tiny_checkpoint, part, tmp_path):
    weights = {name: array + 1 for name, array in tiny_checkpoint.weights.items()}
    tokenizer = type(tiny_checkpoint.tokenizer).train(["quite another text"], TokenizerConfig())
    other = Checkpoint(
        tiny_checkpoint.config.model_copy(update={"vocab_size": len(tokenizer)}), weights, tokenizer, {"kl": 2.5}, "# B"
    )
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / part, saved / part)
    with pytest.raises(CheckpointError, match=f"best/{part}: truncated or changed"):
        Checkpoint.load(saved)


def test_the_configuration_of_another_checkpoint_is_refused(saved, tiny_checkpoint, tmp_path):
    weights = {name: array + 1 for name, array in tiny_checkpoint.weights.items()}
    replace(tiny_checkpoint, weights=weights).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / CONFIG, saved / CONFIG)
    with pytest.raises(CheckpointError, match=f"best/{WEIGHTS}: truncated or changed"):
        Checkpoint.load(saved)


def test_a_newer_format_is_named(saved):
    resealed(saved, lambda content: content.update(format=2))
    with pytest.raises(CheckpointError, match=r"format 2; this version reads format 1"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000, '{"model_type": "gpt2"}', "\ufeff{}", "9" * 9999])
def test_what_is_no_configuration_is_refused(saved, text):
    (saved / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best/config\.json: "):
        Checkpoint.load(saved)


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere: no checkpoint folder there"):
        Checkpoint.load(tmp_path / "nowhere")
    for path, shown in (("", "''"), ("a\0b", r"'a\\x00b'")):
        with pytest.raises(CheckpointError, match=rf"^{shown}: no checkpoint folder there$"):
            Checkpoint.load(path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file: is a file; a checkpoint is a folder"):
        Checkpoint.load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty/config\.json: missing"):
        Checkpoint.load(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.load(tmp_path / ("n" * 300))


def test_a_part_that_may_not_be_read_is_named(saved, monkeypatch):
    # root may read anything, so the permission is refused here
    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read \(Permission denied\)"):
        Checkpoint.load(saved)


def test_a_folder_in_the_place_of_a_part_is_named(saved):
    (saved / WEIGHTS).unlink()
    (saved / WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: cannot be read"):
        Checkpoint.load(saved)
