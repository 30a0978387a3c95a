"""What was made once comes back equal, and nothing that lies in the folder can do harm."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from numpy.typing import NDArray

from dialog_cvae.data import cache as cache_module
from dialog_cvae.data.cache import CACHE_VARIABLE, MANIFEST, Cache, Kind, open_cache

Numbers = NDArray[np.int64]
ORIGIN = {"of": "numbers", "settings": {"share": 0.1, "names": ["a", "ü"]}}
NUMBERS = np.arange(1000)


def _unpacked(arrays: cache_module.Arrays) -> Numbers:
    (values,) = arrays.values()
    if values.ndim != 1:
        raise ValueError("numbers have one dimension")
    return values


KIND = Kind("numbers", lambda values: {"values": values}, _unpacked)


class Maker:
    """Makes numbers and counts how often."""

    def __init__(self, values: Numbers = NUMBERS) -> None:
        self.values, self.calls = values, 0

    def __call__(self) -> Numbers:
        self.calls += 1
        return self.values


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "below" / "corpora"


@pytest.fixture
def cache(folder: Path, said: list[str]) -> Cache:
    return Cache(folder, said.append)


def _entry(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_an_entry_is_made_once_and_comes_back_from_the_disk(cache: Cache, folder: Path, said: list[str]) -> None:
    make = Maker()
    for _ in range(3):
        found = cache.get(KIND, ORIGIN, make)
        assert np.array_equal(found, NUMBERS)
        assert not found.flags.writeable  # it is the file itself
    assert make.calls == 1
    assert np.array_equal(Cache(folder, said.append).get(KIND, dict(reversed(ORIGIN.items())), make), NUMBERS)
    assert (make.calls, said) == (1, [])
    assert sorted(path.name for path in _entry(folder).iterdir()) == [MANIFEST, "values.npy"]
    assert json.loads((_entry(folder) / MANIFEST).read_text())["origin"] == ORIGIN
    shutil.rmtree(folder)
    assert np.array_equal(found, NUMBERS)  # what is open stays
    assert np.array_equal(cache.get(KIND, ORIGIN, make), NUMBERS)
    assert make.calls == 2


@pytest.mark.parametrize(
    "origin", [{}, {"of": "numbers"}, ORIGIN | {"of": "others"}, ORIGIN | {"settings": {"share": 0.2}}]
)
def test_of_another_origin_it_is_another_entry(cache: Cache, origin: dict[str, object]) -> None:
    cache.get(KIND, ORIGIN, Maker())
    others = np.arange(7)
    assert cache.get(KIND, origin, Maker(others)).tolist() == others.tolist()
    assert cache.get(Kind("other", KIND.pack, KIND.unpack), ORIGIN, Maker(others)).tolist() == others.tolist()
    assert np.array_equal(cache.get(KIND, ORIGIN, Maker(others)), NUMBERS)


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def edit(entry: Path) -> None:
        manifest = json.loads((entry / MANIFEST).read_text())
        change(manifest)
        (entry / MANIFEST).write_text(json.dumps(manifest))

    return edit


def _flip(entry: Path) -> None:
    data = bytearray((entry / "values.npy").read_bytes())
    data[-1] ^= 1
    (entry / "values.npy").write_bytes(data)


def _truncate(entry: Path) -> None:
    (entry / "values.npy").write_bytes((entry / "values.npy").read_bytes()[:-1])


def _replace(values: NDArray[np.generic], *, pickled: bool = False) -> Callable[[Path], None]:
    """Put in other values with the right hash, as only somebody who means it can."""

    def replace(entry: Path) -> None:
        np.save(entry / "values.npy", values, allow_pickle=pickled)
        _edit(lambda m: m["sha256"].update(values=cache_module._sha256(entry / "values.npy")))(entry)

    return replace


def _become(kind: str) -> Callable[[Path], None]:
    def become(entry: Path) -> None:
        shutil.rmtree(entry)
        if kind == "file":
            entry.write_text("x")
        elif kind == "folder":
            entry.mkdir()

    return become


class Dangerous:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pickle_was_loaded",)


BROKEN: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip,
    "cut short": _truncate,
    "an empty array": lambda entry: (entry / "values.npy").write_bytes(b""),
    "no array": lambda entry: (entry / "values.npy").unlink(),
    "no manifest": lambda entry: (entry / MANIFEST).unlink(),
    "an empty manifest": lambda entry: (entry / MANIFEST).write_bytes(b""),
    "a manifest that is no JSON": lambda entry: (entry / MANIFEST).write_bytes(b"\xff{"),
    "a deep manifest": lambda entry: (entry / MANIFEST).write_text("[" * 100_000),
    "a list": lambda entry: (entry / MANIFEST).write_text("[]"),
    "hashes in a list": _edit(lambda m: m.update(sha256=[1])),
    "no hashes": _edit(lambda m: m.pop("sha256")),
    "an empty list of files": _edit(lambda m: m.update(sha256={})),
    "another format": _edit(lambda m: m.update(format=99)),
    "another origin": _edit(lambda m: m.update(origin={})),
    "a path out of the entry": _edit(lambda m: m.update(sha256={"../../secret": "0"})),
    "what does not unpack": _replace(np.zeros((2, 2))),
    "a pickle": _replace(np.array([Dangerous()], dtype=object), pickled=True),
    "a file": _become("file"),
    "an empty folder": _become("folder"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_made_anew(
    cache: Cache, folder: Path, said: list[str], case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cache.get(KIND, ORIGIN, Maker())
    BROKEN[case](_entry(folder))
    make = Maker()
    assert np.array_equal(cache.get(KIND, ORIGIN, make), NUMBERS)
    assert make.calls == 1
    assert len(said) == 1
    assert said[0].startswith(f"cache: {_entry(folder)} is invalid and is rebuilt (")
    assert said[0].isprintable()
    assert np.array_equal(cache.get(KIND, ORIGIN, make), NUMBERS)
    assert (make.calls, len(said)) == (1, 1)  # it is whole again, and nothing lies beside it
    assert not Path("pickle_was_loaded").exists()


def test_a_folder_that_cannot_be_made_is_told_of_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    cache = Cache(tmp_path / "file" / "corpora", said.append)
    make = Maker()
    for origin in (ORIGIN, {}, ORIGIN):
        assert np.array_equal(cache.get(KIND, origin, make), NUMBERS)
    assert make.calls == 3
    assert said == [f"cache: {tmp_path}/file/corpora cannot be written to (Not a directory); going on without it"]


def test_a_full_disk_leaves_nothing_behind(
    cache: Cache, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.get(KIND, ORIGIN, Maker())

    def full(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(np, "save", full)
    assert np.array_equal(cache.get(KIND, {}, Maker()), NUMBERS)
    assert said == [f"cache: {folder} cannot be written to (No space left on device); going on without it"]
    assert len(list(folder.iterdir())) == 1
    make = Maker()
    assert np.array_equal(cache.get(KIND, ORIGIN, make), NUMBERS)  # what is there can still be read
    assert make.calls == 0


@pytest.mark.parametrize("found", ["nothing", "broken"])
def test_two_processes_that_make_the_same_entry(folder: Path, said: list[str], found: str) -> None:
    first, second = Cache(folder, said.append), Cache(folder, said.append)
    if found == "broken":
        first.get(KIND, ORIGIN, Maker())
        _flip(_entry(folder))
    kept: list[Numbers] = []

    def overtaken() -> Numbers:
        kept.append(second.get(KIND, ORIGIN, Maker()))
        return NUMBERS

    kept.append(first.get(KIND, ORIGIN, overtaken))
    assert all(np.array_equal(values, NUMBERS) for values in kept)
    make = Maker()
    assert np.array_equal(Cache(folder, said.append).get(KIND, ORIGIN, make), NUMBERS)
    assert make.calls == 0
    assert len(list(folder.iterdir())) == 1
    assert len(said) == 2 * (found == "broken")


@pytest.mark.parametrize("broken", [False, True])
def test_many_at_the_same_time(folder: Path, said: list[str], broken: bool) -> None:
    for round_number in range(5):
        origin = {"round": round_number}
        if broken:
            Cache(folder, said.append).get(KIND, origin, Maker())
            for entry in folder.iterdir():
                _flip(entry)
        barrier = Barrier(8)

        def get(_: int, origin: dict[str, int] = origin, barrier: Barrier = barrier) -> Numbers:
            barrier.wait()
            return Cache(folder, said.append).get(KIND, origin, Maker())

        with ThreadPoolExecutor(8) as threads:
            assert all(np.array_equal(values, NUMBERS) for values in threads.map(get, range(8)))
        assert not list(folder.glob(".*"))
    assert all("rebuilt" in line for line in said)
    assert bool(said) == broken


def test_where_open_files_keep_a_folder_in_its_place_none_is_open_when_it_is_renamed(
    cache: Cache, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where the entry could not be moved otherwise."""
    renamed, rename = [], Path.rename

    def closed_rename(path: Path, target: Path) -> Path:
        maps = Path("/proc/self/maps")
        assert not maps.exists() or str(path) not in maps.read_text(encoding="utf-8")
        renamed.append(path)
        return rename(path, target)

    monkeypatch.setattr(cache_module, "_MOVES_OPEN_FILES", False)
    monkeypatch.setattr(Path, "rename", closed_rename)
    make = Maker()
    for _ in range(2):
        found = cache.get(KIND, ORIGIN, make)
        assert np.array_equal(found, NUMBERS)
        assert not found.flags.writeable  # it is the file's
    assert (make.calls, len(renamed), said) == (1, 1, [])


def test_what_a_killed_process_left_goes_after_a_day_and_nothing_else(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "_publish", killed)
        patch.setattr(cache_module, "_remove", lambda path: None)
        for index in range(2):
            with pytest.raises(KeyboardInterrupt):
                cache.get(KIND, {"left by": index}, Maker())
    old, new = folder.iterdir()
    (folder / f"{old.name}.old").mkdir()
    foreign = [folder / name for name in (".config", ".my-files", "numbers-0", ".numbers-0.old")]
    for path in foreign:
        path.mkdir()
    for path in (old, folder / f"{old.name}.old", *foreign):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    cache.get(KIND, ORIGIN, Maker())
    assert {path.name for path in folder.iterdir()} > {path.name for path in (new, *foreign)}
    assert len(list(folder.iterdir())) == 1 + 1 + len(foreign)


@pytest.mark.parametrize(
    ("setting", "variable", "expected"),
    [
        (None, None, "home/dialog_cvae/corpora"),
        (None, "", "home/dialog_cvae/corpora"),
        ("", "there", "there"),
        (None, "there", "there"),
        ("here", "there", "here"),
        ("here", "off", "here"),
        ("off", "there", None),
        (None, "off", None),
        ("./off", None, "off"),
    ],
)
def test_where_entries_are(
    setting: str | None, variable: str | None, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if variable is None:
        monkeypatch.delenv(CACHE_VARIABLE)
    else:
        monkeypatch.setenv(CACHE_VARIABLE, variable)
    open_cache(setting, pytest.fail).get(KIND, ORIGIN, Maker())
    assert [path.parent.parent for path in tmp_path.rglob(MANIFEST)] == ([tmp_path / expected] if expected else [])


def test_an_account_without_a_home_has_no_cache(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr(cache_module, "cache_dir", homeless)
    make = Maker()
    cache = open_cache(None, said.append)
    assert [cache.get(KIND, ORIGIN, make) is NUMBERS for _ in range(2)] == [True, True]
    assert len(said) == 1
    assert "Could not determine home directory" in said[0]
