"""A killed or interrupted run resumes exactly; options or conversations that differ from the run's are an error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_cvae.errors import ConfigError
from tests.training.tiny_runs import Fit, assert_same_run, conversation, metrics, write_corpus
from training import arguments, loop
from training.folder import stored_config
from training.resume import stored_run
from training.state import load_progress

AtStep = Callable[[int, Callable[[], object]], None]
KillAt = Callable[..., None]


@pytest.mark.parametrize(("step", "saved"), [(1, 0), (4, 0), (6, 4), (9, 8), (12, 8)])
def test_a_killed_run_loses_only_the_steps_since_the_last_save(
    fit: Fit, kill_at: KillAt, whole_run: Path, step: int, saved: int
) -> None:
    kill_at(step, "--out", "run")
    assert load_progress(Path("run")).step == saved
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), whole_run)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_saves_and_prints_how_to_continue(
    fit: Fit, at_step: AtStep, whole_run: Path, number: signal.Signals, status: int
) -> None:
    before = signal.getsignal(number)
    at_step(6, lambda: os.kill(os.getpid(), number))
    stopped = fit("--out", "my run")
    assert stopped.status == status
    assert stopped.out.endswith("stopped after step 6; continue with: python -m training.fit --out 'my run' --resume\n")
    assert load_progress(Path("my run")).step == 6
    assert signal.getsignal(number) is before
    assert fit("--out", "my run", "--resume").status == 0
    assert_same_run(Path("my run"), whole_run)


def test_records_continue_in_the_middle_of_a_mean(fit: Fit, at_step: AtStep) -> None:
    often = ("--train.log-every", 5, "--train.save-every", 1000)
    assert fit("--out", "whole", *often).status == 0
    for step in (2, 3, 9):
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert fit("--out", "parts", *often, *(["--resume"] if step > 2 else [])).status == 130
    assert fit("--out", "parts", *often, "--resume").status == 0
    assert [record["step"] for record in metrics(Path("parts"), "train")] == [5, 10, 12]
    assert_same_run(Path("parts"), Path("whole"))


def test_a_second_interrupt_stops_at_once_without_a_traceback(fit: Fit, at_step: AtStep) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(6, twice)
    stopped = fit("--out", "run")
    assert (stopped.status, stopped.error.count("\n")) == (130, 1)
    assert load_progress(Path("run")).step == 4


def test_kill_9_of_a_real_process(fit: Fit, corpus_file: Path, config_file: Path, whole_run: Path) -> None:
    script = (
        "import os, signal, sys; from training import fit; from training.metrics_log import MetricsLog; "
        "trained = MetricsLog.trained; "
        "MetricsLog.trained = lambda self, step, *rest: "
        "(trained(self, step, *rest), step == 10 and os.kill(os.getpid(), signal.SIGKILL)); "
        "sys.exit(fit.main())"
    )
    options = ["--data", corpus_file, "--config", config_file, "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[1])}
    process = subprocess.run(
        [sys.executable, "-c", script, *options], env=environment, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert load_progress(Path("run")).step == 8
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), whole_run)


@pytest.mark.parametrize("early", [False, True])
def test_resuming_a_finished_run_changes_nothing(fit: Fit, early: bool) -> None:
    options = ("--train.early-stopping", "--train.patience", 1) if early else ()
    first = fit("--out", "run", *options)
    assert ("stopped early" in first.out) == early
    step = load_progress(Path("run")).step
    assert (step < 12) == early
    shutil.copytree("run", "before")
    again = fit("--out", "run", *options, "--resume")
    assert again.status == 0
    assert f"done after step {step}" in again.out
    assert_same_run(Path("run"), Path("before"))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--recipe", "released", "--learning-rate.cycle-steps", 5, "--beta.cycle-steps", 5),
        ("--bow", "--schedule", "constant", "--seed", 3, "--epochs", 2),
        ("--tokenizer.mode", "unigram", "--threads", 1, "--device", "cpu"),
    ],
)
def test_the_first_command_with_resume_continues(fit: Fit, kill_at: KillAt, options: tuple[object, ...]) -> None:
    assert fit(*options, "--out", "whole").status == 0
    kill_at(5, *options)
    (out,) = Path("runs").iterdir()  # named by data, model, schedule and seed
    assert fit(*options, "--resume").status == 0
    assert_same_run(out, Path("whole"))


def test_auto_corpus_is_decided_once(
    raw_fit: Fit, config_file: Path, at_step: AtStep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    options = ("--config", config_file, "--schedule", "monotonic")
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    started = raw_fit(*options)
    assert started.status == 143
    assert started.out.startswith("Switchboard was not found (--data-dir, $DIALOG_CVAE_DATA)")
    assert load_progress(Path("runs/sample-cvae-monotonic-seed0")).step == 2
    assert raw_fit(*options, "--resume", "--max-steps", 12).status == 0


def test_fields_that_do_not_affect_the_result_may_change(fit: Fit, at_step: AtStep, whole_run: Path) -> None:
    at_step(11, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit("--out", "run").status == 130
    free = (
        "--train.save-every",
        3,
        "--train.log-every",
        1,
        "--threads",
        2,
        "--data-dir",
        ".",
        "--train.accumulation",
        2,
    )
    assert fit("--out", "run", "--resume", *free, "--device", "cpu").status == 0
    assert load_progress(Path("run")).step == 12
    assert metrics(Path("run"), "valid")[-1]["step"] == metrics(whole_run, "valid")[-1]["step"]


@pytest.mark.parametrize(
    ("options", "field", "old", "new"),
    [
        (("--max-steps", 13), "train.max_steps", "12", "13"),
        (("--epochs", 3), "train.epochs", "None", "3"),
        (("--seed", 1), "train.seed", "0", "1"),
        (("--bow",), "model.bow", "False", "True"),
        (("--model.latent-size", 5), "model.latent_size", "4", "5"),
        (("--schedule", "constant"), "beta.kind", "'cyclical'", "'constant'"),
        (("--learning-rate.peak", 0.5), "learning_rate.peak", "0.001", "0.5"),
        (("--train.batch-size", 3), "train.batch_size", "7", "3"),
        (("--tokenizer.vocab-size", 99), "tokenizer.vocab_size", "10000", "99"),
        (("--data", "sample"), "corpus.name", "mine.jsonl'", "'sample'"),
        (("--recipe", "small"), "tokenizer.vocab_size", "10000", "5000"),
    ],
)
def test_fields_that_affect_the_result_may_not_change(
    fit: Fit, whole_run: Path, options: tuple[object, ...], field: str, old: str, new: str
) -> None:
    complaint = fit("--out", whole_run, "--resume", *options).complaint
    assert complaint.startswith(f"{field}: the run in {whole_run} has ")
    assert f"{old}, but {new} was asked for; a resumed run keeps it" in complaint


def test_a_file_may_move_but_not_change(
    raw_fit: Fit, kill_at: KillAt, corpus_file: Path, config_file: Path, whole_run: Path
) -> None:
    kill_at(6, "--out", "run")
    shutil.copy(corpus_file, "moved.jsonl")
    other = write_corpus(Path("other.jsonl"), [conversation(i) for i in range(20, 32)])
    common = ("--config", config_file, "--out", "run", "--resume")
    assert raw_fit("--data", other, *common).complaint.startswith("run: the conversations are not those")
    assert raw_fit("--data", "gone.jsonl", *common).complaint.startswith("gone.jsonl: cannot be read")
    assert raw_fit("--data", "moved.jsonl", *common).status == 0
    assert_same_run(Path("run"), whole_run)


@pytest.mark.parametrize("change", ["text", "order", "profile", "speaker", "fewer"])
def test_changed_conversations_are_refused(raw_fit: Fit, config_file: Path, change: str) -> None:
    lines = [conversation(i) | {"split": ("train", "valid", "test")[max(0, i - 9)]} for i in range(12)]
    path = write_corpus(Path("mine.jsonl"), lines)
    assert raw_fit("--data", path, "--config", config_file, "--out", "run").status == 0
    if change == "text":
        lines[10]["utterances"][0]["text"] = "sun rain"  # validation decides which checkpoint is the best
    elif change == "order":
        lines[0], lines[1] = lines[1], lines[0]
    elif change == "profile":
        lines[1]["speakers"]["A"]["age"] = 77
    elif change == "speaker":
        lines[0]["utterances"][1]["speaker"] = "A"
    else:
        del lines[3]
    write_corpus(path, lines)
    complaint = raw_fit("--out", "run", "--resume").complaint
    assert complaint == "run: the conversations are not those that this run was started on"


def test_a_run_started_without_init_is_not_resumed_with_init(fit: Fit, whole_run: Path) -> None:
    best = whole_run / "best"
    complaint = fit("--out", whole_run, "--resume", "--init", best).complaint
    assert complaint.startswith(f"resume, init: the run in {whole_run} was started without --init, but --init is given")
    assert fit("--out", "none", "--resume", "--init", best).complaint.startswith("none: no saved run there to resume")
    assert fit("--out", "tuned", "--init", best).status == 0
    assert fit("--out", "tuned", "--init", best, "--resume").status == 0
    assert fit("--out", "other", "--seed", 9).status == 0
    complaint = fit("--out", "tuned", "--init", "other/best", "--resume").complaint
    assert complaint.startswith("resume, init: the run in tuned was started from another checkpoint (of mine, step ")


def test_no_new_run_starts_in_a_folder_with_a_run(fit: Fit, whole_run: Path) -> None:
    before = {path: path.read_bytes() for path in whole_run.rglob("*") if path.is_file()}
    complaint = fit("--out", whole_run).complaint
    assert complaint == f"out: {whole_run} already holds a run; continue it with --resume, or choose another --out"
    assert {path: path.read_bytes() for path in whole_run.rglob("*") if path.is_file()} == before


def test_no_new_run_replaces_a_checkpoint_or_a_file_of_the_user(fit: Fit, whole_run: Path) -> None:
    shutil.copytree(whole_run / "best", "model")
    Path("mine").mkdir()
    Path("mine/config.json").write_text('{"mine": 1}')
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for out in ("model", "mine"):
        complaint = fit("--init", "model", "--out", out).complaint
        held = "holds a checkpoint or other files, which a run would replace"
        assert complaint == f"out: {out} {held}; choose another --out"
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_run_that_stopped_before_its_first_state_is_started_again(fit: Fit, whole_run: Path) -> None:
    Path("run").mkdir()
    shutil.copy(whole_run / "config.json", "run")
    assert fit("--out", "run").status == 0
    assert_same_run(Path("run"), whole_run)


@pytest.mark.parametrize("name", ["run", "run/deep/er"])
def test_a_folder_without_a_run_is_not_resumed(fit: Fit, name: str) -> None:
    assert fit("--out", name, "--resume").complaint.startswith(f"{name}: no saved run there to resume")


def test_a_run_from_before_the_second_reading_goes_on_as_it_began(fit: Fit, at_step: AtStep, tmp_path: Path) -> None:
    lines = [conversation(i) for i in range(12)]
    for line in lines[:6]:
        line["utterances"][0]["text"] = "you and me " * 20  # too long
    lines += [lines[7]] * 10  # copies
    data = write_corpus(tmp_path / "own.jsonl", [line | {"id": str(i)} for i, line in enumerate(lines)])
    first = ("--data", data, "--corpus.reading", 1)
    assert fit("--out", "whole", *first).status == 0
    at_step(6, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit("--out", "run", *first).status == 130
    path = Path("run/config.json")
    config = json.loads(path.read_text())
    del config["corpus"]["reading"]
    path.write_text(json.dumps(config))
    complaint = fit("--out", "run", "--resume", "--data", data, "--corpus.reading", 2).complaint
    assert complaint.startswith("corpus.reading: the run in run has 1, but 2 was asked for")
    assert fit("--out", "run", "--resume", "--data", data).status == 0
    assert_same_run(Path("run"), Path("whole"))
    assert fit("--out", "new", "--data", data).status == 0
    assert load_progress(Path("new")).data != load_progress(Path("run")).data


def test_the_same_command_resumes_on_a_processor_for_which_the_recipe_has_another_precision(whole_run: Path) -> None:
    elsewhere = arguments.layered(stored_config(whole_run), {"train": {"precision": "bf16"}})
    assert stored_run(whole_run, elsewhere, []).train.precision == "fp32"
    with pytest.raises(ConfigError, match=r"^train.precision: the run in .* has 'fp32', but 'bf16' was asked for"):
        stored_run(whole_run, elsewhere, [{"train": {"precision": "bf16"}}])


def test_a_run_from_before_patience_at_full_beta_goes_on_counting_all_validations(
    whole_run: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(whole_run, tmp_path / "run")
    path = out / "config.json"
    config = json.loads(path.read_text())
    assert config["train"].pop("patience_at_full_beta") is True
    path.write_text(json.dumps(config))
    paper = arguments.layered(stored_config(out), {"train": {"patience_at_full_beta": True}})
    assert not stored_run(out, paper, []).train.patience_at_full_beta
    with pytest.raises(ConfigError, match=r"^train.patience_at_full_beta: the run in .* has False, but True was asked"):
        stored_run(out, paper, [{"train": {"patience_at_full_beta": True}}])


def test_a_run_from_before_roles_goes_on_without_them(fit: Fit, at_step: AtStep) -> None:
    at_step(6, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit("--out", "run").status == 130
    path = Path("run/config.json")
    config = json.loads(path.read_text())
    del config["model"]["role_size"]
    path.write_text(json.dumps(config))
    Path("run/roles.json").unlink()
    complaint = fit("--out", "run", "--resume", "--model.role-size", 8).complaint
    assert complaint.startswith("model.role_size: the run in run has 0, but 8 was asked for")
    stored = stored_run(Path("run"), arguments.layered(stored_config(Path("run")), {"model": {"role_size": 16}}), [])
    assert stored.model.role_size == 0  # a recipe has sizes that are newer than the run
    assert fit("--out", "run", "--resume").status == 0
