"""A disk that is full, read-only or missing: the service still starts and answers."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import dialog_cvae
from api.client import Client
from benchmarks.server_process import ServerProcess, run_server
from dialog_cvae.data.cache import CACHE_VARIABLE
from dialog_cvae.types import Conversation, Utterance

SAID = ["you like cats", "we hate rain now"]
NO_CACHE: dict[str, str | None] = {CACHE_VARIABLE: None, "XDG_CACHE_HOME": None}


@pytest.fixture(scope="module")
def expected(tiny_folder: Path) -> list[str]:
    conversation = Conversation("asked", (Utterance("A", SAID[0]), Utterance("B", SAID[1])))
    return [each.text for each in dialog_cvae.load(tiny_folder).respond(conversation, respond_as="A", n=4, seed=5)]


def answers(service: ServerProcess) -> list[str]:
    with Client(f"http://127.0.0.1:{service.port}") as client:
        return [each.text for each in client.respond(SAID, num_responses=4, seed=5).responses]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A separate file system in memory; only root may mount one."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def to_a_full_disk() -> None:
    """Before a process starts: make every write to its standard error fail."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def no_file_grows() -> None:
    """Before a process starts: make every write to a file fail."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@needs_full
def test_no_home_folder_and_a_log_that_fails(tiny_folder, expected):
    environment = NO_CACHE | {"HOME": "/dev/null/nowhere"}
    with run_server(tiny_folder, {}, environment=environment, before=to_a_full_disk) as service:
        for _ in range(3):
            assert answers(service) == expected


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, pytest.param(to_a_full_disk, marks=needs_full), no_file_grows])
@pytest.mark.parametrize("place", ["home", "cache"])
def test_no_file_can_grow_or_no_folder_can_be_created(tiny_folder, expected, tmp_path, before, place):
    home = tmp_path / "home"
    home.mkdir()
    environment = NO_CACHE | {"HOME": str(home)}
    if place == "cache":
        (tmp_path / "file").touch()
        environment |= {CACHE_VARIABLE: str(tmp_path / "file" / "cache")}
    with run_server(tiny_folder, {}, environment=environment, before=before) as service:
        assert answers(service) == expected
    if before is no_file_grows:
        assert [path for path in (home / ".cache" / "dialog_cvae").rglob("*") if path.is_file()] == []


def check_cache_in(folder: Path, tiny_folder: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a checkpoint works with this cache folder, and leaves nothing in it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    conversation = Conversation("asked", (Utterance("A", SAID[0]), Utterance("B", SAID[1])))
    found = dialog_cvae.load(tiny_folder).respond(conversation, respond_as="A", n=4, seed=5)
    assert [each.text for each in found] == expected
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_cache_on_a_full_disk(tiny_folder, expected, tmp_path, monkeypatch):
    with mounted(tmp_path / "small", "size=8k") as folder:
        check_cache_in(folder, tiny_folder, expected, monkeypatch)


def test_a_cache_without_free_inodes(tiny_folder, expected, tmp_path, monkeypatch):
    with mounted(tmp_path / "small", "nr_inodes=3") as folder:
        check_cache_in(folder, tiny_folder, expected, monkeypatch)


def test_a_cache_that_is_read_only(tiny_folder, expected, tmp_path, monkeypatch):
    with mounted(tmp_path / "locked", "ro") as folder:
        check_cache_in(folder, tiny_folder, expected, monkeypatch)


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.mark.slow
def test_the_disk_fills_up_and_files_disappear_while_the_service_runs(tiny_folder, expected, tmp_path):
    with mounted(tmp_path / "small", "size=256k") as folder:
        copy, cache, log = folder / "tiny", folder / "cache", folder / "log"
        shutil.copytree(tiny_folder, copy)
        with run_server(copy, {}, environment={CACHE_VARIABLE: str(cache)}, log=log) as service:
            assert answers(service) == expected
            assert len(list(cache.iterdir())) == 1
            fill(folder)
            for _ in range(20):
                assert answers(service) == expected
            shutil.rmtree(copy)
            shutil.rmtree(cache)
            assert answers(service) == expected
