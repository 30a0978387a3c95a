"""The end of a fit: the finished model is measured in a process of its own, and nothing of that fails the run."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval.dialog_arguments import dialog_parser
from tests.training.processes import together
from tests.training.tiny_runs import Fit, Outcome
from training import final_report
from training import fit as command_line
from training.distributed import SINGLE_PROCESS
from training.final_report import Extent, command, extent, is_wanted
from training.folder import Start
from training.plan import Plan
from training.recipes import RECIPES

CALLS = Path("calls")  # a line for each evaluation: its arguments
ENVIRONMENT = Path("environment")
Stub = Callable[[str], None]


def write_stub(ending: str) -> str:
    """A program in the place of Python: it notes its arguments and the variables that it gets, then does `ending`."""
    path = Path("stub.sh").resolve()
    here = path.parent
    path.write_text(f'#!/bin/sh\necho "$@" >> {here / CALLS}\nenv > {here / ENVIRONMENT}\n{ending}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stub:
    """Replaces the evaluation by a program that ends as a line of shell says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIALOG_CVAE_CACHE", raising=False)
    return lambda ending: monkeypatch.setattr(final_report.sys, "executable", write_stub(ending))


@pytest.fixture
def own_fit(
    stub: Stub,
    corpus_file: Path,
    config_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Fit:
    """`training.fit` on the user's own conversations with exactly the given options; the evaluation does nothing."""
    stub("exit 0")
    monkeypatch.setattr(command_line, "draw_learning_curves", lambda *_: None)

    def run(*options: object) -> Outcome:
        capsys.readouterr()
        words = ["--data", corpus_file, "--config", config_file, "--out", "run", *options]
        status = command_line.main([str(word) for word in words])
        return Outcome(status, *capsys.readouterr())

    return run


def calls() -> list[list[str]]:
    return [line.split() for line in CALLS.read_text().splitlines()] if CALLS.exists() else []


def test_a_fit_on_own_conversations_ends_with_what_an_evaluation_finds(
    corpus_file: Path,
    config_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eval").mkdir()  # a folder of the user, which is not the package
    Path("eval/__init__.py").write_text("raise SystemExit(7)")
    options = ["--data", corpus_file, "--config", config_file, "--out", "run"]
    assert command_line.main([str(option) for option in options]) == 0
    out = Path("run/test")
    assert {"report.html", "samples.md", "metrics.json"} <= {path.name for path in out.iterdir()}
    printed = capfd.readouterr().out.splitlines()
    begin = next(index for index, line in enumerate(printed) if line.startswith("how good it is, by held-out"))
    # the tiny corpus has a single test conversation
    assert [line.split(":")[0] for line in printed[begin + 1 :]] == [
        "- Likelihood",
        "- Latent code",
        "- Replies",
        "- Copies",
        "- Personal data",
        "- Choosing min_score",
        "- Against replies without a model",
        "- Limits",
        "samples, plots and all figures",
        "serve it",
    ]
    assert printed[-2].endswith(": run/test/report.html")
    assert "data:image/png;base64" in (out / "report.html").read_text()  # the learning curves


def test_the_evaluation_gets_the_run_and_the_rest_of_the_output_frames_it(own_fit: Fit, corpus_file: Path) -> None:
    done = own_fit("--threads", 1)
    (words,) = calls()
    assert words[:3] == ["-P", "-m", "eval.dialog"]
    asked = dialog_parser().parse_args(words[3:])
    assert (asked.checkpoint, asked.data, asked.out) == (Path("run/best"), str(corpus_file), Path("run/test"))
    assert (asked.own_decoding, asked.baselines, asked.brief, asked.threads) == (True, True, True, 1)
    assert (asked.precision, asked.device) == ("fp32", "cpu")
    assert asked.contexts in range(final_report.FEWEST, final_report.MOST + 1)
    assert done.status == 0
    assert "at the end the model is measured for up to about 90 s (--no-report leaves it out)" in done.out
    assert done.out.index("best model: ") < done.out.index("how good it is, by held-out conversations")
    assert done.out.endswith("serve it: dialog-cvae serve run/best\n")
    assert f"PYTHONPATH={Path(final_report.__file__).parents[1]}" in ENVIRONMENT.read_text()


def plan(task: str = "small", **changes: object) -> Plan:
    made = Plan(
        config=RECIPES[task](),
        out=Path("run"),
        start=Start(command=""),
        resume=False,
        init=None,
        cache=None,
        report=None,
        device=torch.device("cpu"),
        world=SINGLE_PROCESS,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("exit 2", "the evaluation ended with status 2"), ("kill -9 $$", "the evaluation ended by SIGKILL")],
)
def test_a_failed_evaluation_is_a_warning_with_the_command_to_repeat(
    own_fit: Fit, stub: Stub, ending: str, reason: str
) -> None:
    stub(ending)
    done = own_fit()
    assert done.status == 0
    (warning,) = (line for line in done.out.splitlines() if line.startswith(f"warning: {reason}"))
    assert "; the model is finished. To measure it: dialog-cvae eval run/best --data " in warning
    shown = shlex.split(warning.partition("dialog-cvae eval ")[2])
    assert [*shown, "--brief"] == calls()[0][3:]
    assert done.out.endswith("serve it: dialog-cvae serve run/best\n")


def test_a_python_that_is_gone_is_a_warning(own_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_report.sys, "executable", "/nowhere/python")
    done = own_fit()
    assert done.status == 0
    assert "warning: the evaluation could not be started (No such file or directory)" in done.out


@pytest.mark.parametrize(
    "sent", ["kill -INT $PPID", "kill -TERM $PPID", "trap '' TERM; kill -INT $PPID; sleep 0.5; kill -INT $PPID"]
)
def test_a_signal_ends_the_evaluation_alone(own_fit: Fit, stub: Stub, sent: str) -> None:
    stub(f"echo $$ > process\n{sent}\nexec sleep 60")
    began, handler = time.monotonic(), signal.getsignal(signal.SIGINT)  # a background job of a shell ignores it
    done = own_fit()
    assert done.status == 0
    assert "warning: the evaluation was interrupted; the model is finished" in done.out
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("process").read_text()), 0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_evaluation_has_a_time_limit(own_fit: Fit, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_report, "LIMIT", 0.1)
    monkeypatch.setattr(final_report, "TIMES", 0)
    stub("exec sleep 60")
    assert "warning: the evaluation was ended because it took longer than 1 s" in own_fit().out


def test_an_evaluation_that_ignores_sigterm_is_killed(
    own_fit: Fit, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_report, "LIMIT", 0.5)
    monkeypatch.setattr(final_report, "TIMES", 0)
    monkeypatch.setattr(final_report, "GRACE_SECONDS", 0.1)
    stub("trap '' TERM\nwhile true; do sleep 0.1; done")
    assert "took longer" in own_fit().out


@pytest.mark.parametrize(
    ("options", "variable", "runs"),
    [
        ((), None, 1),
        (("--no-report",), None, 0),
        (("--cache", "off"), None, 0),
        ((), "off", 0),
        (("--cache", "here"), "off", 1),
        (("--cache", "off", "--report"), None, 1),
    ],
)
def test_what_is_measured_follows_the_options(
    own_fit: Fit, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], variable: str | None, runs: int
) -> None:
    if variable is not None:
        monkeypatch.setenv("DIALOG_CVAE_CACHE", variable)
    done = own_fit(*options)
    assert (done.status, len(calls())) == (0, runs)
    assert ("how good it is: dialog-cvae eval run/best" in done.out) == (not runs)
    assert ("at the end the model is measured" in done.out) == bool(runs)
    if runs and options:
        assert f"DIALOG_CVAE_CACHE={options[1]}" in ENVIRONMENT.read_text().splitlines()


@pytest.mark.parametrize(("minutes", "promised"), [(0.5, "18 s"), (5, "45 s"), (1000, "90 s")])
def test_the_promised_time_includes_the_start(own_fit: Fit, minutes: float, promised: str) -> None:
    done = own_fit("--max-minutes", minutes)
    assert f"at the end the model is measured for up to about {promised} (--no-report leaves it out)" in done.out


def test_published_corpora_and_sentences_are_measured_only_where_an_option_says_so(own_fit: Fit) -> None:
    def of(name: str) -> Plan:
        config = plan().config
        return plan(config=config.model_copy(update={"corpus": config.corpus.model_copy(update={"name": name})}))

    assert [is_wanted(of(name)) for name in ("sample", "mine.jsonl", "chat.txt")] == [True] * 3
    assert [is_wanted(of(name)) for name in ("swda", "zhao2017", "toy", "ptb", "yelp")] == [False] * 5
    assert is_wanted(replace(of("swda"), report=True))
    assert command_line.main(["--recipe", "toy", "--report", "--out", "other"]) == 2


def test_sentences_have_no_replies_to_measure(raw_fit: Fit) -> None:
    complaint = raw_fit("--recipe", "toy", "--report", "--out", "run").complaint
    assert complaint == "report: measures replies, but corpus toy holds sentences"
    assert not Path("run").exists()


def test_a_finished_run_is_measured_once(own_fit: Fit) -> None:
    own_fit()
    Path("run/test").mkdir()
    Path("run/test/report.html").touch()
    again = own_fit("--resume")
    assert len(calls()) == 1
    assert "how good it is: run/test/report.html\nserve it: " in again.out
    assert "at the end the model is measured" not in again.out
    own_fit("--resume", "--report")  # asked for
    assert len(calls()) == 2
    Path("run/test/report.html").unlink()  # it was interrupted
    own_fit("--resume")
    assert len(calls()) == 3


def test_a_run_that_stops_early_is_not_measured(own_fit: Fit, at_step: Callable[..., None]) -> None:
    at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert own_fit().status == 143
    assert calls() == []
    own_fit("--resume")
    assert len(calls()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_during_the_last_validation_leaves_the_evaluation_out(
    own_fit: Fit, at_step: Callable[..., None], number: signal.Signals
) -> None:
    at_step(12, lambda: os.kill(os.getpid(), number))
    done = own_fit()
    assert done.status == 0
    assert "done after step 12" in done.out
    assert calls() == []
    assert "how good it is: dialog-cvae eval run/best --data " in done.out
    own_fit("--resume")
    assert len(calls()) == 1


def _replace_python(_: int) -> None:
    final_report.sys.executable = str(Path("stub.sh").resolve())


def test_of_several_processes_the_first_one_measures(stub: Stub, corpus_file: Path, config_file: Path) -> None:
    write_stub("exit 3")
    options = ["--data", corpus_file, "--config", config_file, "--out", "run", "--report"]
    first, second = together(2, options, _replace_python)
    assert (first.status, second.status, len(calls())) == (0, 0, 1)
    assert "warning: the evaluation ended with status 3" in first.out
    assert second.out == ""


@pytest.mark.parametrize(
    ("recipe", "seconds_per_update", "minutes", "expected"),
    [
        # a context costs as much as 8 replies of a batch of 16, 1 s: 90 - 15 of them
        ("smollm2", 2.0, None, Extent(75, 90.0)),
        ("smollm2", 2.0, 20, Extent(75, 90.0)),
        # 15 s to start, and a tenth of 5 minutes
        ("smollm2", 2.0, 5, Extent(30, 45.0)),
        ("smollm2", 2.0, 1, Extent(10, 25.0)),
        ("smollm2", 0.02, None, Extent(400, 19.0)),
    ],
)
def test_how_much_is_measured_follows_the_speed_of_the_training(
    tmp_path: Path, recipe: str, seconds_per_update: float, minutes: float | None, expected: Extent
) -> None:
    config = RECIPES[recipe]()
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_minutes": minutes})})
    assert config.train.batch_size == 16
    assert extent(config, tmp_path) == Extent(10, final_report.SECONDS)  # nothing is known
    (tmp_path / "speed.jsonl").write_text(
        f'{{"kind": "speed", "step": 1, "seconds_per_update": 99}}\n'
        f'{{"kind": "speed", "step": 2, "seconds_per_update": {seconds_per_update}}}\n'
    )
    assert extent(config, tmp_path) == pytest.approx(expected)


def test_a_language_model_is_found_and_read_as_it_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIALOG_CVAE_BACKBONE", raising=False)
    config = RECIPES["smollm2"]()
    assert config.language is not None
    of_default = command(plan(config=config))
    assert of_default.startswith("dialog-cvae eval run/best ")
    assert ("--precision bf16" in of_default) == (config.train.precision == "bf16")
    other = config.model_copy(update={"language": config.language.model_copy(update={"backbone": "a b.gguf"})})
    assert command(plan(config=other)).startswith("DIALOG_CVAE_BACKBONE='a b.gguf' dialog-cvae eval run/best ")
    monkeypatch.setenv("DIALOG_CVAE_BACKBONE", "other.gguf")  # as the user chose
    assert command(plan(config=other)).startswith("dialog-cvae eval run/best ")
    assert command(plan(device=torch.device("cuda:1"))).count("--device cuda:1") == 1
