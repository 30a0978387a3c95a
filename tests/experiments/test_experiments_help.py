"""`python -m experiments`: one command line that lists and teaches all experiments."""

from __future__ import annotations

import pytest

from experiments import __main__ as experiments
from experiments.experiment import ABOUT_SIZES


def said_by(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        status = experiments.main(words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    return status, *capsys.readouterr()


def test_help_lists_every_experiment_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said_by(capsys, "--help")
    assert status == 0
    for name, command in experiments.COMMANDS.items():
        assert f"  {name:<10} {command.about}\n" in out
    for word in ("--size smoke", "ptb --help", "--no-fit", "continues", "Ctrl-C"):
        assert word in out


@pytest.mark.parametrize("name", experiments.COMMANDS)
def test_each_experiment_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = said_by(capsys, name, "--help")
    assert (status, err) == (0, "")
    assert f"python -m experiments {name}" in out
    if name != "lesson":
        for word in ("--out", "--seeds", "--no-fit", "--jobs", "--max-steps", "Exit status: 0 all is done"):
            assert word in out


@pytest.mark.parametrize(
    ("name", "sizes"), [("toy", ("smoke", "small", "paper")), ("yelp", ("smoke", "small", "medium", "paper"))]
)
def test_the_help_describes_the_sizes_that_an_experiment_has(
    capsys: pytest.CaptureFixture[str], name: str, sizes: tuple[str, ...]
) -> None:
    _, out, _ = said_by(capsys, name, "--help")
    assert f"--size {{{','.join(sizes)}}}" in out
    assert [size for size in ABOUT_SIZES if f"  {size:<8}{ABOUT_SIZES[size]}\n" in out] == list(sizes)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "the following arguments are required: EXPERIMENT"),
        (("table4",), "argument EXPERIMENT: invalid choice: 'table4' (choose from table3, toy,"),
        (("toy", "--size", "huge"), "argument --size: invalid choice: 'huge'"),
        (("toy", "--size", "medium"), "argument --size: invalid choice: 'medium'"),
    ],
)
def test_a_bad_command_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    status, _, err = said_by(capsys, *words)
    assert status == 2
    assert complaint in err.replace("'table3', 'toy'", "table3, toy")
    assert err.count("\n") == 1
