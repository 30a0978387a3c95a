"""The plan of a run: how options, files, `--init` and stored runs combine before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from dialog_cvae.storage.checkpoint import Checkpoint
from training.distributed import SINGLE_PROCESS
from training.folder import Start
from training.plan import Decision, Plan, _command, like_checkpoint, resolve
from training.recipes import RECIPES

Resolve = Callable[..., Plan]


@pytest.fixture
def resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_file: Path, config_file: Path) -> Resolve:
    """`resolve` for the tiny run, with further options, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*options: object) -> Plan:
        words = ["--data", corpus_file, "--config", config_file, "--device", "cpu", *options]
        return resolve([str(word) for word in words], SINGLE_PROCESS)

    return call


def test_a_new_run_has_its_own_folder_and_command(resolved: Resolve, corpus_file: Path) -> None:
    plan = resolved("--schedule", "monotonic", "--seed", 3, "--cache", "off")
    assert (plan.config.beta.kind, plan.config.train.seed, plan.config.train.max_steps) == ("monotonic", 3, 12)
    assert plan.out == Path("runs/mine-cvae-monotonic-seed3")
    assert (plan.resume, plan.init, plan.cache, plan.device.type) == (False, None, "off", "cpu")
    assert plan.start.origin is None
    assert "--seed 3" in plan.start.command
    assert str(corpus_file.parent) not in plan.start.command  # folders are private
    assert not plan.out.exists()  # a plan writes nothing


def test_options_override_the_file_which_overrides_the_recipe(resolved: Resolve) -> None:
    plan = resolved("--recipe", "small", "--train.batch-size", 9)
    assert plan.config.train.batch_size == 9  # option
    assert plan.config.model.latent_size == 4  # file; the recipe has 64
    assert plan.config.tokenizer == RECIPES["small"]().tokenizer


def test_init_gives_sizes_tokenizer_and_provenance(resolved: Resolve, whole_run: Path, corpus_file: Path) -> None:
    best = whole_run / "best"
    plan = resolve(["--data", str(corpus_file), "--init", str(best), "--device", "cpu"], SINGLE_PROCESS)
    stored = Checkpoint.load(best)
    assert plan.config.model == stored.config.model
    assert plan.config.model != RECIPES["paper"]().model
    assert plan.config.tokenizer.model_dump() == stored.config.provenance.fit["tokenizer"]
    assert plan.start.origin == stored.config.provenance
    assert plan.init is not None
    assert not plan.resume


@pytest.mark.parametrize("recipe", ["toy", "ptb", "yelp"])
def test_a_dialog_checkpoint_is_refused_for_sentences(recipe: str, whole_run: Path) -> None:
    checkpoint = Checkpoint.load(whole_run / "best")
    message = f"^init: the checkpoint was fitted on conversations, but corpus {recipe} holds sentences$"
    with pytest.raises(ConfigError, match=message):
        like_checkpoint(RECIPES[recipe](), checkpoint, [])


def test_a_field_equal_to_the_checkpoints_is_accepted(whole_run: Path) -> None:
    checkpoint = Checkpoint.load(whole_run / "best")
    config = RECIPES["sample"]()
    same = config.model_copy(update={"model": checkpoint.config.model})
    assert like_checkpoint(same, checkpoint, [{"model": {"latent_size": 4}}]).model == checkpoint.config.model
    with pytest.raises(ConfigError, match=r"^model.latent_size: the checkpoint of --init has 4, but 64 was asked for$"):
        like_checkpoint(config, checkpoint, [{"model": {"latent_size": 64}}])


def test_a_limit_without_weights_may_differ_from_the_checkpoints(resolved: Resolve, whole_run: Path) -> None:
    best = str(whole_run / "best")
    assert resolved("--init", best).config.model == Checkpoint.load(best).config.model
    assert resolved("--init", best, "--model.max-utterance-tokens", 50).config.model.max_utterance_tokens == 50


@pytest.mark.parametrize(
    "path", ["/home/ann/{}", "../ann/secret/{}", "C:\\Users\\ann\\{}", "chats/{}", "{}"], ids=range(5)
)
def test_a_command_has_no_folders(path: str) -> None:
    out = "schedule=cyclical,seed=3"
    words = ["--data", path.format("mine.jsonl"), f"--out={path.format(out)}", "--init", path.format(out)]
    words += ["--respond-as", "sales/eu", "--learning-rate.peak=1e-3"]
    assert _command(words) == (
        f"python -m training.fit --data mine.jsonl --out={out} --init {out} --respond-as sales/eu "
        "--learning-rate.peak=1e-3"
    )


def test_a_resumed_run_keeps_its_configuration_and_start(resolved: Resolve, whole_run: Path) -> None:
    plan = resolve(["--out", str(whole_run), "--resume", "--device", "cpu"], SINGLE_PROCESS)
    stored = json.loads((whole_run / "config.json").read_text())
    assert plan.config.model_dump(mode="json") == stored
    assert plan.resume
    assert plan.start == Start.model_validate_json((whole_run / "start.json").read_bytes())


def test_a_resumed_run_may_change_only_fields_that_do_not_affect_the_result(resolved: Resolve, whole_run: Path) -> None:
    free = resolved("--out", whole_run, "--resume", "--train.save-every", 5, "--threads", 2)
    assert (free.config.train.save_every, free.config.train.threads) == (5, 2)
    with pytest.raises(ConfigError, match=r"^train.batch_size: the run in .* has 7, but 8 was asked for"):
        resolved("--out", whole_run, "--resume", "--train.batch-size", 8)
    # A recipe on the command line requests all its fields.
    with pytest.raises(ConfigError, match=r"^tokenizer.vocab_size: the run in .* but 5000 was asked for"):
        resolved("--out", whole_run, "--resume", "--recipe", "small")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--out", "{run}"), ConfigError, "^out: .* already holds a run; continue it with --resume"),
        (("--out", "none", "--resume"), CheckpointError, "^none: no saved run there to resume"),
        (("--out", "{run}", "--resume", "--init", "{run}/best"), ConfigError, "^resume, init: the run in .* without"),
        (("--init", "none"), CheckpointError, "^none: no checkpoint folder there"),
        (("--device", "tpu"), ConfigError, "^device: must be auto, cpu or cuda, but is 'tpu'$"),
    ],
)
def test_invalid_combinations_are_refused_before_anything_is_written(
    resolved: Resolve, whole_run: Path, options: tuple[str, ...], error: type[DialogCvaeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolved(*(option.format(run=whole_run) for option in options))
    assert list(Path.cwd().iterdir()) == []


def test_a_decision_survives_its_broadcast(resolved: Resolve, whole_run: Path) -> None:
    start = Start(command="python -m training.fit", origin=Checkpoint.load(whole_run / "best").config.provenance)
    decision = Decision(RECIPES["yelp-small"](), Path("runs/a b"), start)
    assert Decision.from_json(decision.to_json()) == decision
