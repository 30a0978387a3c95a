"""Drawing schedules: the figures, errors, and the old file after a failure."""

import pytest

from training.schedule_plots import draw, main
from training.schedules import BetaSchedule, LearningRateSchedule


def test_draws_the_figures(tmp_path, capsys):
    path = tmp_path / "new" / "figures.png"
    main(["--steps", "400", "--out", str(path)])
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "at least 1, but is 0"),
        (["--steps", "3"], "cycles must be at most the total number of steps, 3, but is 4"),
        (["--ratio", "1.5"], "ratio: Input should be less than or equal to 1, but is 1.5"),
        (["--start", "2"], "start must be at most stop, 1, but is 2"),
        (["--out", "figure.doc"], "'doc' is not supported"),
        (["--steps", "many"], "argument --steps: invalid int value: 'many' (see --help)"),
        (["--bogus"], "unrecognized arguments: --bogus (see --help)"),
    ],
)
def test_invalid_arguments_give_one_error_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


def test_a_failed_drawing_leaves_the_old_file(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("old")
    with pytest.raises(ValueError, match="cycles must be at most"):
        draw([[BetaSchedule()]], [LearningRateSchedule()], 3, path)
    assert path.read_text() == "old"
