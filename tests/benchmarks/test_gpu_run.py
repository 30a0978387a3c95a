"""A run of all that needs a GPU keeps to its time, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu import STEPS, Step, run
from training import arguments

QUICK = Step("quick", "-c print('{device}')")
FAILING = Step("failing", "-c raise(SystemExit(3))")
LONG = Step("long", "-c __import__('time').sleep(600)")


def test_steps_that_have_finished_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, 60, dry=True, steps=(QUICK, FAILING)) == 1
    assert (tmp_path / "dry/quick.log").read_text() == "cpu\n"
    assert run(tmp_path, 60, dry=True, steps=(QUICK,)) == 0
    assert (tmp_path / "dry/quick.log").read_text() == "cpu\n"
    said = capsys.readouterr().out
    assert "failing: exit status 3" in said
    assert "quick: has finished before" in said
    assert run(tmp_path, 60, dry=False, steps=(QUICK,)) == 0
    assert (tmp_path / "quick.log").read_text() == "cuda\n"


def test_a_step_is_interrupted_at_the_end_of_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, 0.2, dry=False, steps=(LONG, QUICK)) == 1
    said = capsys.readouterr().out
    assert "long: interrupted at the end of the time" in said
    assert "quick: no time is left" in said


def test_the_fits_of_a_run_have_options_that_exist() -> None:
    table3 = next(step for step in STEPS if step.name == "table3")
    for options in (table3.full, table3.small):
        own = options.split("--train")[1].split()[:2]
        assert arguments.parse([f"--train{own[0]}", own[1]])["train"]
