"""A checkpoint is replaced whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dialog_cvae.errors import CheckpointError, DialogCvaeError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import METRICS, WEIGHTS
from dialog_cvae.storage.files import write_atomically
from tests.dialog_cvae.storage.checkpoint_tools import PARTS, assert_same


class Crash(BaseException):
    """The process dies."""


def test_a_crash_between_the_two_renames_loses_nothing(saved, tiny_checkpoint, monkeypatch):
    rename = Path.rename

    def crash_at_the_second(self: Path, target: Path) -> Path:
        if Path(target).name == "best":
            raise Crash
        return rename(self, target)

    newer = replace(tiny_checkpoint, metrics={"kl": 9.0})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash_at_the_second)
        with pytest.raises(Crash):
            newer.save(saved)
    assert not saved.exists()
    assert_same(Checkpoint.load(saved), tiny_checkpoint)
    newer.save(saved)
    assert_same(Checkpoint.load(saved), newer)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]


def test_an_error_at_the_second_rename_puts_the_old_one_back(saved, tiny_checkpoint, monkeypatch):
    rename = Path.rename

    def fail_with_the_new_one(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_with_the_new_one)
        with pytest.raises(DialogCvaeError, match=r"best: cannot be written \(Input/output error\)"):
            replace(tiny_checkpoint, metrics={"kl": 9.0}).save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


@pytest.mark.parametrize("files_before", range(5))
def test_a_crash_while_writing_leaves_the_old_one(saved, tiny_checkpoint, monkeypatch, files_before):
    synced = []

    def crash(descriptor: int) -> None:
        if len(synced) == files_before:
            raise Crash
        synced.append(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(Crash):
            replace(tiny_checkpoint, metrics={"kl": 9.0}).save(saved)
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


def test_what_a_killed_process_left_is_no_hindrance(saved, tiny_checkpoint):
    (saved.parent / ".best.new").mkdir()
    (saved.parent / ".best.new" / WEIGHTS).write_bytes(b"half of it")
    shutil.copytree(saved, saved.parent / ".best.previous")
    newer = replace(tiny_checkpoint, metrics={"kl": 9.0})
    newer.save(saved)
    assert_same(Checkpoint.load(saved), newer)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]


def test_what_a_link_points_to_is_replaced_and_the_link_stays(saved, tiny_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "mine"
    link.symlink_to(saved)
    rename = Path.rename
    for kl in (9.0, 8.0, 7.0):
        newer = replace(tiny_checkpoint, metrics={"kl": kl})
        newer.save(link)
        assert link.is_symlink()
        assert_same(Checkpoint.load(link), newer)
        assert_same(Checkpoint.load(saved), newer)

    def crash_at_the_second(self: Path, target: Path) -> Path:
        if Path(target).name == "best":
            raise Crash
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash_at_the_second)
        with pytest.raises(Crash):
            tiny_checkpoint.save(link)
    assert_same(Checkpoint.load(link), newer)  # under its previous name, beside the folder and not the link
    tiny_checkpoint.save(link)
    assert_same(Checkpoint.load(link), tiny_checkpoint)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["best", "links"]
    assert [p.name for p in link.parent.iterdir()] == ["mine"]


def test_a_link_to_a_missing_folder_is_filled(tiny_checkpoint, tmp_path):
    (tmp_path / "mine").symlink_to(tmp_path / "disk" / "best")
    tiny_checkpoint.save(tmp_path / "mine")
    assert_same(Checkpoint.load(tmp_path / "disk" / "best"), tiny_checkpoint)


def test_a_previous_folder_that_is_a_link_is_no_hindrance(saved, tiny_checkpoint, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (saved.parent / ".best.previous").symlink_to(tmp_path / "elsewhere")
    newer = replace(tiny_checkpoint, metrics={"kl": 9.0})
    newer.save(saved)
    assert_same(Checkpoint.load(saved), newer)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["best", "elsewhere"]


def test_a_full_disk_is_an_error_of_one_line_and_leaves_the_old_one(saved, tiny_checkpoint, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DialogCvaeError, match=r"best: cannot be written \(No space left on device\)"):
            replace(tiny_checkpoint, metrics={"kl": 9.0}).save(saved)
        with pytest.raises(DialogCvaeError, match=r"metrics\.json: cannot be written \(No space left on device\)"):
            write_atomically(saved / METRICS, b"{}")
    assert_same(Checkpoint.load(saved), tiny_checkpoint)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]
    assert sorted(p.name for p in saved.iterdir()) == sorted(PARTS)


def test_a_file_is_not_replaced_by_a_checkpoint(tiny_checkpoint, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(CheckpointError, match=r"notes: is a file; a checkpoint is a folder"):
        tiny_checkpoint.save(tmp_path / "notes")
    with pytest.raises(DialogCvaeError, match=r"best: cannot be written"):
        tiny_checkpoint.save(tmp_path / "notes" / "best")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "the path has no final name"),
        ("/", "the path has no final name"),
        ("..", "busy"),
        ("a\0b", "null byte"),
    ],
)
def test_what_names_nothing_is_not_written(tiny_checkpoint, tmp_path, monkeypatch, path, reason):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for write in (tiny_checkpoint.save, lambda place: write_atomically(place, b"x")):
        with pytest.raises(DialogCvaeError) as refused:
            write(Path(path))
        assert str(refused.value).startswith(f"{path}: cannot be written (")
        assert reason in str(refused.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]


def test_readers_meet_a_whole_checkpoint_while_it_is_replaced(saved, tiny_checkpoint):
    versions = [
        replace(
            tiny_checkpoint, metrics={"kl": value}, weights={n: a + value for n, a in tiny_checkpoint.weights.items()}
        )
        for value in (1.0, 2.0)
    ]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for version in versions:
                version.save(saved)

    versions[0].save(saved)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            found = Checkpoint.load(saved)
            assert_same(found, versions[int(found.metrics["kl"]) - 1])
    finally:
        stop.set()
        writer.join()
