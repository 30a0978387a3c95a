"""Shared by the tests of imports: convert files with options, and see what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dialog_cvae.data.readers.jsonl_line import parse_line
from dialog_cvae.imports.convert import Report, convert
from dialog_cvae.imports.message import Options
from dialog_cvae.imports.privacy import Privacy


class Result(NamedTuple):
    """What came out: objects of the file, `speaker: text` of each conversation, and the report."""

    lines: list[dict[str, Any]]
    said: list[list[str]]
    report: Report

    @property
    def left_out(self) -> dict[str, int]:
        return dict(self.report.parts[0].log.left_out)


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Result]:
    """Convert paths with options; every line of the result is valid."""

    def run(*paths: Path, privacy: Privacy | None = None, **options: Any) -> Result:
        out = tmp_path / "out" / "mine.jsonl"
        report = convert(paths, out, Options(**options), privacy)
        raw = out.read_bytes().splitlines()
        found = [parse_line(line, number).conversation for number, line in enumerate(raw, 1)]
        said = [[f"{u.speaker}: {u.text}" for u in conversation.utterances] for conversation in found]
        return Result([json.loads(line) for line in raw], said, report)

    return run


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file below a temporary folder."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
