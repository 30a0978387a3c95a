"""Damaged checkpoints and cached graphs: refused with the name of the part, or without effect on replies."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

import dialog_cvae
from benchmarks.server_process import ROOT
from dialog_cvae.data.cache import CACHE_VARIABLE
from dialog_cvae.errors import CheckpointError
from dialog_cvae.generate.question import Reply
from dialog_cvae.storage.checkpoint_files import CARD, CONFIG, METRICS, TOKENIZER, WEIGHTS
from dialog_cvae.types import Conversation, Utterance

PARTS = (CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD)
ASKED = Conversation("asked", (Utterance("A", "you like cats"), Utterance("B", "we hate rain now")), "PETS")


def replies(folder: Path) -> list[Reply]:
    return dialog_cvae.load(folder, engine="onnx").respond(ASKED, respond_as="A", n=4, seed=5)


@pytest.fixture(scope="module")
def expected(tiny_folder: Path) -> list[Reply]:
    found = replies(tiny_folder)
    assert len({each.text for each in found}) == 4
    return found


@pytest.fixture
def folder(tmp_path: Path, tiny_folder: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "spoilt"))


def judge(folder: Path, part: str, expected: list[Reply]) -> bool:
    """Whether the checkpoint is refused with the name of the part; if not, it must reply like the intact one."""
    message = ""
    try:
        found = replies(folder)
    except CheckpointError as error:
        message = str(error)
    if not message:
        assert found == expected
        return False
    assert str(folder / part) in message
    assert "\n" not in message
    return True


def damages(data: bytes, places: int) -> Iterator[bytes]:
    """The content with one byte changed, one byte removed, and cut off, at each of several places."""
    rng = random.Random(len(data))
    for place in sorted(rng.sample(range(len(data)), min(len(data), places))):
        # One bit, all bits, and white space, which may not matter in a text.
        for other in {data[place] ^ (1 << rng.randrange(8)), data[place] ^ 0xFF, 0x20} - {data[place]}:
            yield data[:place] + bytes([other]) + data[place + 1 :]
        yield data[:place]
        yield data[:place] + data[place + 1 :]
    yield data + b"\0"
    yield data + data


def content(data: bytes) -> object:
    """The parsed configuration; None if it is invalid."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def spoil(folder: Path, part: str, expected: list[Reply], places: int) -> None:
    path = folder / part
    intact = path.read_bytes()
    for damaged in damages(intact, places):
        path.write_bytes(damaged)
        refused = judge(folder, part, expected)
        # Only the values of the configuration count, not their spelling; the model card may have any content.
        same = part == CARD or (part == CONFIG and content(damaged) == content(intact))
        assert refused != same, damaged
    path.write_bytes(intact)
    assert not judge(folder, part, expected)


@pytest.mark.parametrize("part", PARTS)
def test_some_changed_bytes(folder, part, expected):
    spoil(folder, part, expected, places=1 if part == CARD else 25)


@pytest.mark.endurance
@pytest.mark.parametrize("part", PARTS)
def test_every_changed_byte(folder, part, expected):
    spoil(folder, part, expected, places=10**9)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_missing_or_not_a_file(folder, part, expected, tmp_path):
    path = folder / part
    intact = path.read_bytes()

    def link() -> None:
        path.symlink_to(tmp_path / "nowhere")

    def circle() -> None:
        path.symlink_to(path)

    for damage in (lambda: None, path.mkdir, link, circle):
        path.unlink()
        damage()
        assert judge(folder, part, expected)
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(intact)


def test_two_swapped_parts(folder, expected):
    contents = {part: (folder / part).read_bytes() for part in PARTS}
    for first, second in permutations(PARTS, 2):
        (folder / first).write_bytes(contents[second])
        # One part in place of another, then both swapped.
        assert judge(folder, first, expected) != (first == CARD)
        (folder / second).write_bytes(contents[first])
        with pytest.raises(CheckpointError, match=f"{folder}/({first}|{second}): "):
            replies(folder)
        for part in (first, second):
            (folder / part).write_bytes(contents[part])
    assert replies(folder) == expected


def spoil_graphs(folder: Path, cache: Path, expected: list[Reply], places: int) -> None:
    assert replies(folder) == expected
    (entry,) = cache.iterdir()
    intact = {path: path.read_bytes() for path in sorted(entry.iterdir())}
    assert len(intact) == 5
    rng = random.Random(3)

    def check(damage: Callable[[], object]) -> None:
        damage()
        assert replies(folder) == expected
        assert {path: path.read_bytes() for path in sorted(entry.iterdir())} == intact, "it was not rebuilt"
        assert [path.name for path in cache.iterdir()] == [entry.name]

    for path, data in intact.items():
        for _ in range(places):
            place = rng.randrange(len(data))
            check(lambda: path.write_bytes(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :]))  # noqa: B023
        cut = len(data) // 2
        check(lambda: path.write_bytes(data[:cut]))  # noqa: B023
    check(lambda: next(iter(intact)).write_bytes(b""))
    check(next(iter(intact)).unlink)
    first, second = list(intact)[:2]
    check(lambda: (first.write_bytes(intact[second]), second.write_bytes(intact[first])))
    check(lambda: (shutil.rmtree(entry), entry.write_bytes(b"a file")))


@pytest.mark.parametrize("places", [0, pytest.param(60, marks=pytest.mark.endurance)])
def test_damaged_cached_graphs_are_rebuilt(tiny_folder, tmp_path, expected, places, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    spoil_graphs(tiny_folder, tmp_path / "cache", expected, places)


def start(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
    return subprocess.run(
        [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0", *options],
        env=clean | {"DIALOG_CVAE_CHECKPOINT": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (WEIGHTS, ()),
        *(pytest.param(part, (), marks=pytest.mark.slow) for part in (CONFIG, TOKENIZER, METRICS)),
        pytest.param(WEIGHTS, ("--workers", "2"), marks=pytest.mark.slow),
    ],
)
def test_a_service_does_not_start_with_a_damaged_checkpoint_and_names_the_part(folder, part, options):
    data = bytearray((folder / part).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / part).write_bytes(data)
    ended = start(folder, *options)
    assert ended.returncode != 0 or options  # with several workers, uvicorn's parent process may end with 0
    lines = {line for line in ended.stderr.splitlines() if str(folder / part) in line}
    assert lines
    assert all("error: " in line for line in lines)
    assert "Traceback" not in ended.stderr
