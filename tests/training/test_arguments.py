"""Configuration from recipe, file and options; errors give the field, its limit and its value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dialog_cvae.errors import ConfigError
from tests.training.tiny_runs import Fit
from training import arguments, fit
from training.config import FitConfig
from training.recipes import RECIPES


def _options(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """The long option of every field, with its description."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        option = prefix + name.replace("_", "-")
        kinds = [kind for kind in (*get_args(field.annotation), field.annotation) if isinstance(kind, type)]
        sections = [kind for kind in kinds if issubclass(kind, BaseModel)]
        if sections:
            found |= _options(sections[0], f"{option}.")
        else:
            found[option] = field.description or ""
    return found


OPTIONS = _options(FitConfig) | _options(arguments.RunOptions)


def test_help_describes_every_field(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as stopped:
        fit.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert len(OPTIONS) > 40
    for option, description in OPTIONS.items():
        assert f"--{option}" in text, option
        assert description, f"{option} has no description"
        assert " ".join(description.split()) in " ".join(text.split()), option
    for example in ("--schedule cyclical --bow", "--data mine.jsonl", "--resume"):
        assert example in text


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        (["--schedule", "monotonic"], "beta.kind", "monotonic"),
        (["--bow"], "model.bow", True),
        (["--no-bow"], "model.bow", False),
        (["--data", "mine.jsonl"], "corpus.name", "mine.jsonl"),
        (["--data-dir", "corpora"], "corpus.dir", "corpora"),
        (["--style", "fluent"], "corpus.style", "fluent"),
        (["--seed", "7"], "train.seed", 7),
        (["--epochs", "3"], "train.epochs", 3),
        (["--max-steps", "50"], "train.max_steps", 50),
        (["--vectors", "glove.6B.100d"], "train.vectors", "glove.6B.100d"),
        (["--threads", "2"], "train.threads", 2),
        (["--no-train.early-stopping"], "train.early_stopping", False),
        (["--model.latent-size=3"], "model.latent_size", 3),
        (["--learning-rate.peak", "2e-4"], "learning_rate.peak", 2e-4),
        (["--seed", "7", "--seed", "8"], "train.seed", 8),
    ],
)
def test_options_set_their_fields_and_no_others(given: list[str], field: str, value: object) -> None:
    default = FitConfig()
    config = arguments.layered(default, arguments.parse(given))
    assert _at(config, field) == value
    assert set(arguments.differences(default, config)) <= {field}


def _at(config: FitConfig, field: str) -> object:
    found: Any = config.model_dump(mode="json")
    for name in field.split("."):
        found = found[name]
    return found


def test_a_field_of_another_model_is_noted(raw_fit: Fit) -> None:
    toy = raw_fit("--recipe", "toy", "--bow", "--max-steps", 4, "--out", "toy")
    assert toy.status == 0
    assert "note: model.bow has no effect on toy, a corpus of sentences: see sentence.*\n" in toy.out
    talk = raw_fit("--recipe", "sample", "--data", "sample", "--sentence.skip", "--max-steps", 4, "--out", "talk")
    assert "note: sentence.skip has no effect on sample, a corpus of conversations: see model.*\n" in talk.out
    assert "no effect" not in raw_fit("--out", "toy", "--resume").out


@pytest.mark.parametrize(("given", "bow"), [([], True), (["--no-bow"], False), (["--bow", "--no-language.bow"], False)])
def test_bow_is_of_the_model_that_is_fitted(given: list[str], bow: bool) -> None:
    config = arguments.layered(RECIPES["smollm2"](), arguments.parse(given))
    assert config.language is not None
    assert config.sizes.bow is bow
    assert arguments.layered(FitConfig(), config.model_dump(mode="json")) == config


def test_later_layers_win(raw_fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[train]\nmax_steps = 40\nseed = 5\n[beta]\nkind = "monotonic"\n')
    config = arguments.layered(
        RECIPES["small"](), arguments.read_config_file(path), arguments.parse(["--seed", "6", "--epochs", "2"])
    )
    assert (config.train.seed, config.beta.kind) == (6, "monotonic")  # option over file; file over recipe
    assert config.model.embedding_size == 100  # the recipe's value
    assert (config.train.epochs, config.train.max_steps) == (2, None)  # a duration replaces one of the other kind


def test_json_and_toml_give_the_same_configuration(tmp_path: Path) -> None:
    fields = {"train": {"epochs": 2}, "model": {"bow": True}, "learning_rate": {"peak": 0.5}}
    (tmp_path / "a.json").write_text(json.dumps(fields))
    (tmp_path / "a.toml").write_text("[train]\nepochs = 2\n[model]\nbow = true\n[learning_rate]\npeak = 0.5\n")
    assert arguments.read_config_file(tmp_path / "a.json") == arguments.read_config_file(tmp_path / "a.toml") == fields


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--epochs", "0"], "train.epochs: Input should be greater than or equal to 1, but is '0'"),
        (["--epochs", "2", "--max-steps", "9"], "train: give epochs (2) or max_steps (9), not both"),
        (["--train.batch-size", "many"], "train.batch_size: Input should be a valid integer"),
        (["--train.condition-dropout", "1.5"], "train.condition_dropout: Input should be less than or equal to 1, but"),
        (["--train.clip-norm", "inf"], "train.clip_norm: Input should be a finite number, but is 'inf'"),
        (["--train.bow-weight", "nan"], "train.bow_weight: Input should be a finite number, but is 'nan'"),
        (["--threads", "100000"], "train.threads: Input should be less than or equal to 1024, but is '100000'"),
        (["--train.segment", "9" * 30], "train.segment: Input should be less than or equal to 1000000000000"),
        (["--seed", "-1"], "train.seed: Input should be greater than or equal to 0, but is '-1'"),
        (["--schedule", "wavy"], "beta.kind: Input should be 'constant', 'monotonic' or 'cyclical', but is 'wavy'"),
        (["--beta.start", "2"], "beta: start must be at most stop, 1, but is 2"),
        (["--model.max-context", "0"], "model.max_context: Input should be greater than or equal to 1, but is '0'"),
        (["--recipe", "mine"], "recipe: Input should be 'paper', 'released'"),
        (["--device", "tpu"], "device: must be auto, cpu or cuda, but is 'tpu'"),
        (["--config", "nowhere.json"], "nowhere.json: cannot be read (No such file or directory)"),
        (["--config", "."], ".: cannot be read (Is a directory)"),
        (["--data", "swdaa"], "swdaa: unknown corpus; known are swda, zhao2017, sample and the path of a .jsonl file"),
        (
            ["--data", "sample", "--max-steps", "3"],
            "beta: cycles must be at most the total number of steps, 3, but is 4 "
            "(give --beta.cycles, --learning-rate.cycles or more steps)",
        ),
    ],
)
def test_refused_options(raw_fit: Fit, given: list[str], complaint: str) -> None:
    assert raw_fit(*given, "--out", "run").complaint.startswith(complaint)
    assert not Path("run").exists()


@pytest.mark.parametrize("given", [["--bogus", "1"], ["stray"], ["--seed"]])
def test_unknown_options_exit_with_2(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        fit.main(given)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert error.endswith(" (see --help)\n")
    assert error.count("\n") == 1
    assert given[0] in error


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1]", "f.json: must hold an object of configuration fields, not list"),
        ("{nearly", "f.json: not valid JSON (Expecting property name"),
        ('{"train": 5}', "train: must hold fields, but is 5"),
        ('{"corpus": "swda"}', "corpus: must hold fields, but is 'swda'"),
        ('{"train": {"epoch": 3}}', "train.epoch: there is no such field"),
        ('{"trian": {"epochs": 3}}', "trian: there is no such field"),
        ('{"out": "elsewhere"}', "out: there is no such field"),
        ('{"train": {"epochs": 3, "max_steps": 4}}', "train: give epochs (3) or max_steps (4), not both"),
        ('{"beta": {"stop": NaN}}', "beta.stop: Input should be a finite number, but is nan"),
        ('{"model": {"bow": "perhaps"}, "train": {"seed": 0.5}}', "model.bow: Input should be a valid boolean"),
    ],
)
def test_refused_files(raw_fit: Fit, content: str, complaint: str) -> None:
    Path("f.json").write_text(content)
    assert raw_fit("--config", "f.json", "--data", "sample", "--out", "run").complaint.startswith(complaint)


def test_all_problems_of_a_file_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^model\.bow: .*; train\.seed: ") as refused:
        arguments.layered(FitConfig(), {"model": {"bow": "perhaps"}, "train": {"seed": -5}})
    assert "-5" in str(refused.value)


def test_text_that_is_not_toml_or_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("train = ")
    (tmp_path / "f.json").write_bytes(b"\xff\xfe")
    for name, form in (("f.toml", "TOML"), ("f.json", "JSON")):
        with pytest.raises(ConfigError, match=rf"{name}: not valid {form} \("):
            arguments.read_config_file(tmp_path / name)


@pytest.mark.parametrize("name", ["f.json", "f.toml"])
def test_a_file_nested_too_deeply_is_refused(tmp_path: Path, name: str) -> None:
    start = "" if name == "f.json" else "train = "
    (tmp_path / name).write_text(start + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(ConfigError, match=rf"{name}: not valid (JSON|TOML) \(maximum recursion depth exceeded"):
        arguments.read_config_file(tmp_path / name)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_complete_and_survive_json(name: str) -> None:
    config = arguments.recipe(name)
    assert FitConfig.model_validate_json(config.model_dump_json()) == config
    assert FitConfig.model_validate(config.model_dump(mode="json")) == config
    assert arguments.differences(config, config) == {}
    total = config.train.total_steps(config.train.steps_per_epoch(200_000))
    config.beta.check(total)
    config.learning_rate.check(total)


def test_recipes_are_the_choices_of_the_option() -> None:
    assert sorted(RECIPES) == sorted(name for name in RECIPES if arguments.run_options({"recipe": name}).recipe == name)
    with pytest.raises(ConfigError, match="recipe: "):
        arguments.run_options({"recipe": "unheard of"})


def test_the_paper_recipe_is_the_default_and_has_the_papers_values() -> None:
    paper = arguments.recipe("paper")
    assert paper == arguments.layered(FitConfig(), {"train": {"patience_at_full_beta": True}})
    assert (paper.beta.kind, paper.beta.cycles, paper.beta.ratio) == ("cyclical", 4, 0.5)
    assert paper.learning_rate.kind == "constant"
    sizes = paper.model.model_dump()
    assert {name: sizes[f"{name}_size"] for name in ("embedding", "utterance", "context", "latent", "decoder")} == {
        "embedding": 200,
        "utterance": 300,
        "context": 600,
        "latent": 200,
        "decoder": 400,
    }
    assert (paper.train.batch_size, paper.train.clip_norm, paper.train.patience) == (30, 5.0, 10)


def test_recipes_that_stop_early_count_validations_at_full_beta_but_the_released_code_counts_all() -> None:
    early = {name: RECIPES[name]().train for name in RECIPES if RECIPES[name]().train.early_stopping}
    assert early.keys() == {"paper", "released", "small", "glove100", "sample"}
    assert [name for name in early if not early[name].patience_at_full_beta] == ["released"]
    assert not FitConfig().train.patience_at_full_beta


@pytest.mark.parametrize(
    ("train", "windows", "total", "interval"),
    [
        ({}, 100, 15 * 4, 1),
        ({"epochs": 2}, 91, 8, 1),
        ({"epochs": 2}, 90, 6, 1),
        ({"max_steps": 7}, 100_000, 7, 833),
        ({"max_steps": 7, "validate_every": 5}, 100_000, 7, 5),
        ({"epochs": 1, "batch_size": 1}, 1, 1, 1),
    ],
)
def test_durations(train: dict[str, int], windows: int, total: int, interval: int) -> None:
    config = arguments.layered(FitConfig(), {"train": train}).train
    per_epoch = config.steps_per_epoch(windows)
    assert config.total_steps(per_epoch) == total
    assert config.validation_interval(per_epoch) == interval


@pytest.mark.parametrize("second", [("--data", "b.jsonl"), ("--data=b.jsonl",), ("--corpus.name", "b.jsonl")])
def test_a_second_corpus_is_refused(second: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        arguments.parse(["--data", "a.jsonl", *second])
    assert "a command takes one corpus" in capsys.readouterr().err
    assert arguments.parse(["--data", "a.jsonl"]) == {"corpus": {"name": "a.jsonl"}}
