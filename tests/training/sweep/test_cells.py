"""The cells of a sweep: names, configurations, states, and errors before anything starts."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf
from tests.training.tiny_runs import CONFIG, Fit
from training import arguments
from training.recipes import RECIPES, language
from training.state import STATE_FILE
from training.sweep.cells import MAX_CELLS, Axis, Cell, grid, parse_axis, parse_seeds, seeds_option

KillAt = Callable[..., None]
VALUES = {
    "schedule": ("constant", "monotonic", "cyclical"),
    "beta.ratio": ("0.25", "1.0", "1e-05"),
    "beta.cycle-steps": ("None", "7"),
    "bow": ("true", "false"),
    "early-stopping": ("no", "yes"),
    "vectors": ("None", "glove.6B.100d", "a b,c"),
    "data": ("sample", "my talks.jsonl", "--odd.jsonl"),
    "model.latent-size": ("1", "64"),
    "learning-rate.peak": ("0.001", "3e-07"),
    "threads": ("1", "2"),
}


def axes(*texts: str) -> list[Axis]:
    return [parse_axis(text) for text in texts]


def names(cells: list[Cell]) -> list[str]:
    return [cell.name for cell in cells]


def test_a_grid_has_every_combination_for_every_seed_in_order_of_seeds() -> None:
    cells = grid("sample", axes("schedule=monotonic,cyclical", "bow=true,false"), (0, 7))
    assert names(cells) == [
        f"bow={bow},schedule={kind},seed={seed}"
        for seed, bow, kind in itertools.product((0, 7), ("true", "false"), ("monotonic", "cyclical"))
    ]
    for cell in cells:
        assert cell.variation == {"bow": str(cell.config.model.bow).lower(), "schedule": cell.config.beta.kind}
        assert cell.seed == cell.config.train.seed
        assert cell.config.learning_rate.peak == 3e-3  # the recipe's


@pytest.mark.parametrize(
    "again",
    [
        ("bow=false", "schedule=cyclical"),
        ("schedule=cyclical", "bow=no"),
        ("beta.kind=cyclical", "model.bow=0"),
        ("--schedule= cyclical ", "--bow=False"),
    ],
)
def test_the_name_does_not_depend_on_the_form_of_the_options(again: tuple[str, ...]) -> None:
    (cell,) = grid("paper", axes(*again), (3,), {"corpus": {"name": "sample"}})
    assert cell.name == "bow=false,schedule=cyclical,seed=3"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("beta.ratio=0.50", "beta.ratio=0.5"),
        ("learning_rate.peak=1e-3", "learning-rate.peak=0.001"),
        ("train.batch-size=64", "batch-size=64"),
        ("data=talks/mine.jsonl", "data=talks%2Fmine.jsonl"),
        ("data=a=b.jsonl", "data=a%3Db.jsonl"),
        ("vectors=None", "vectors=None"),
    ],
)
def test_values_in_names_are_canonical_and_valid_in_a_folder_name(text: str, name: str) -> None:
    (cell,) = grid("paper", axes(text), (0,))
    assert cell.name == f"{name},seed=0"
    assert Path(cell.name).name == cell.name


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    recipe=st.sampled_from(list(RECIPES)),
    chosen=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}),
    duration=st.sampled_from([{}, {"epochs": "2"}, {"max_steps": "9"}, {"epochs": None}]),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_options_of_a_cell_give_its_configuration(
    recipe: str, chosen: dict[str, str], duration: dict[str, Any], seed: int
) -> None:
    varied = [Axis(parse_axis(f"{name}=x").field, (value,)) for name, value in chosen.items()]
    layers = [{"corpus": {"name": "sample"}}] if "data" not in chosen else []
    (cell,) = grid(recipe, varied, (seed,), *layers, {"train": duration})
    given_options = arguments.parse(cell.options)
    assert arguments.run_options(given_options).recipe == recipe
    fields = {name: value for name, value in given_options.items() if name not in arguments.RunOptions.model_fields}
    assert arguments.layered(arguments.recipe(recipe), fields) == cell.config


@pytest.mark.parametrize("names", [("A",), ("A", "B"), ("Ann, Bo", "it's", "Zoé"), ('O"Neil', "a\\", "[x]")])
def test_the_options_of_a_cell_give_its_speakers(names: tuple[str, ...]) -> None:
    (cell,) = grid("paper", [], (0,), {"corpus": {"name": "sample", "respond_as": names}})
    assert tuple(arguments.parse(cell.options)["corpus"]["respond_as"]) == names


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())


def test_fields_of_a_language_model_can_be_varied(base: Path) -> None:
    layer = {"corpus": {"name": "sample"}, "language": {"backbone": str(base), "max_context_tokens": 30}}
    cells = grid("smollm2", axes("language.rank=8,16", "bow=true,false"), (0,), layer)
    assert names(cells) == [
        f"bow={bow},language.rank={rank},seed=0" for bow, rank in itertools.product(("true", "false"), (8, 16))
    ]
    sizes = [cell.config.language for cell in cells]
    assert [(each.bow, each.rank) for each in sizes if each] == [(True, 8), (True, 16), (False, 8), (False, 16)]
    (cell,) = grid("paper", axes("language.rank=8"), (0,), layer)  # as in a file of --config
    assert cell.name == "language.rank=8,seed=0"


def test_speakers_are_varied_by_their_names() -> None:
    sample = {"corpus": {"name": "sample"}}
    cells = grid("paper", axes("respond-as=agent,the customer,None"), (0,), sample)
    assert names(cells) == ["respond-as=agent,seed=0", "respond-as=the%20customer,seed=0", "respond-as=None,seed=0"]
    assert [cell.config.corpus.respond_as for cell in cells] == [("agent",), ("the customer",), ()]


def test_cells_have_one_thread_by_default() -> None:
    sample = {"corpus": {"name": "sample"}}
    assert grid("paper", [], (0,), sample)[0].config.train.threads == 1
    assert grid("paper", [], (0,), sample, {"train": {"threads": 3}})[0].config.train.threads == 3


def test_a_cell_keeps_its_precision_on_a_worker_with_another_processor(
    base: Path, corpus_file: Path, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = {"corpus": {"name": "sample"}, "language": {"backbone": str(base), "max_context_tokens": 30}}
    monkeypatch.setattr(language, "has_fast_matmul", lambda *_: True)
    (cell,) = grid("smollm2", [], (0,), layer)
    assert cell.config.train.precision == "bf16"
    monkeypatch.setattr(language, "has_fast_matmul", lambda *_: False)  # now on the worker
    fields = arguments.parse(cell.options)
    assert arguments.layered(arguments.recipe(fields.pop("recipe")), fields) == cell.config
    # A run in another precision is another run.
    shutil.copytree(whole_run, tmp_path / cell_of(corpus_file).name)
    other = grid("paper", [], (0,), {"corpus": {"name": str(corpus_file)}}, CONFIG, {"train": {"precision": "bf16"}})[0]
    with pytest.raises(ConfigError, match=r"^train.precision: the run in .* has 'fp32', but 'bf16' was asked for"):
        other.state(tmp_path)


def test_the_corpus_is_decided_once_for_all_cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    (cell,) = grid("paper", [], (0,))
    assert "--data=sample" in cell.options


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", (0,)), ("5", (0, 1, 2, 3, 4)), ("0,1,7", (0, 1, 7)), ("7, 3", (7, 3)), ("9,0", (9, 0)), ("7,", (7,))],
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds
    assert parse_seeds(seeds_option(seeds)) == seeds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "seeds: their number must be from 1 to 10000, but is 0"),
        ("10001", "seeds: their number must be from 1 to 10000, but is 10001"),
        ("-1", "seeds: must be a number of seeds, or seeds as in 0,1,7, but is '-1'"),
        (",", "seeds: must be a number of seeds"),
        ("1,,2", "seeds: must be a number of seeds"),
        ("2.5", "seeds: must be a number of seeds"),
        ("", "seeds: must be a number of seeds"),
        ("²", "seeds: must be a number of seeds"),
        ("9" * 5000, "seeds: must be a number of seeds"),
        ("3,1,3", "seeds: duplicate seed in '3,1,3'"),
    ],
)
def test_invalid_seeds_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_seeds(text)
    assert str(refused.value).startswith(complaint)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["schedul=cyclical"], "vary: 'schedul' is not a field of the configuration (training.fit --help lists them)"),
        (["model=1"], "vary: 'model' is not a field"),
        (["out=a,b"], "vary: 'out' is not a field"),
        (["recipe=paper,small"], "vary: 'recipe' is not a field"),
        (["language.rank=8,16"], "vary: 'language.rank' is not a field of the configuration"),
        (["schedule"], "vary: must be NAME=V1,V2,... but is 'schedule'"),
        (["=cyclical"], "vary: must be NAME=V1,V2,... but is '=cyclical'"),
        (["schedule="], "vary: schedule has an empty value in 'schedule='"),
        (["schedule=cyclical,,constant"], "vary: schedule has an empty value"),
        (["seed=0,1"], "vary: give seeds with --seeds, not with 'seed=0,1'"),
        (["train.seed=0,1"], "vary: give seeds with --seeds"),
        (["schedule=wavy"], "beta.kind: Input should be 'constant', 'monotonic' or 'cyclical', but is 'wavy'"),
        (["epochs=1,0"], "train.epochs: Input should be greater than or equal to 1, but is '0'"),
        (["bow=perhaps"], "model.bow: Input should be a valid boolean"),
        (["epochs=1", "max-steps=9"], "train: give epochs (1) or max_steps (9), not both"),
        (["bow=true", "model.bow=false"], "vary: duplicate bow; give all its values together"),
        (["beta.ratio=0.5,0.25,0.50"], "vary: duplicate cell beta.ratio=0.5,seed=0"),
        (["bow=true,yes"], "vary: duplicate cell bow=true,seed=0"),
        ([f"data={'x' * 250}.jsonl"], "vary: a cell's name must have at most 200 characters, but data=xxx"),
    ],
)
def test_invalid_axes_are_refused(texts: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        grid("sample", axes(*texts), (0,))
    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)


def test_the_number_of_cells_is_checked_before_they_are_built() -> None:
    many = ",".join(str(value) for value in range(1, MAX_CELLS + 1))
    with pytest.raises(ConfigError, match=f"at most {MAX_CELLS} cells, but this one has {MAX_CELLS**3}$"):
        grid("sample", axes(f"epochs={many}", f"batch-size={many}"), range(MAX_CELLS))


def cell_of(corpus_file: Path, *texts: str, seed: int = 0, init: Path | None = None) -> Cell:
    """A cell of the tiny runs."""
    recipe, layers = "paper", ({"corpus": {"name": str(corpus_file)}}, CONFIG)
    return grid(recipe, axes(*texts), (seed,), *layers, init=init)[0]


def test_states_of_a_cell(fit: Fit, kill_at: KillAt, corpus_file: Path, whole_run: Path) -> None:
    cell = cell_of(corpus_file, "schedule=cyclical")
    assert cell.state(Path("sweep")) == "new"
    Path("sweep", cell.name).mkdir(parents=True)
    assert cell.state(Path("sweep")) == "new"
    kill_at(6, "--out", Path("sweep", cell.name))
    assert cell.state(Path("sweep")) == "started"
    assert fit("--out", Path("sweep", cell.name), "--resume").status == 0
    assert cell.state(Path("sweep")) == "finished"
    shutil.rmtree(Path("sweep", cell.name, "best"))
    assert cell.state(Path("sweep")) == "started"


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (("model.latent-size=5",), "model.latent_size: the run in {} has 4, but 5 was asked for"),
        (("schedule=monotonic",), "beta.kind: the run in {} has 'cyclical', but 'monotonic' was asked for"),
        (("max-steps=13",), "train.max_steps: the run in {} has 12, but 13 was asked for"),
    ],
)
def test_a_folder_with_another_configuration_is_refused(
    corpus_file: Path, whole_run: Path, tmp_path: Path, texts: tuple[str, ...], complaint: str
) -> None:
    cell = cell_of(corpus_file, *texts)
    shutil.copytree(whole_run, tmp_path / cell.name)
    with pytest.raises(ConfigError) as refused:
        cell.state(tmp_path)
    assert str(refused.value).startswith(complaint.format(tmp_path / cell.name))


def test_a_finished_run_on_another_file_is_started_because_only_the_fit_compares_conversations(
    corpus_file: Path, whole_run: Path, tmp_path: Path
) -> None:
    cell = cell_of(tmp_path / "other.jsonl")
    shutil.copytree(whole_run, tmp_path / cell.name)
    assert cell.state(tmp_path) == "started"
    assert cell_of(corpus_file).state(tmp_path) == "finished"


def test_a_run_from_another_checkpoint_is_refused(
    raw_fit: Fit, corpus_file: Path, config_file: Path, whole_run: Path
) -> None:
    base = whole_run / "best"
    plain, tuned = cell_of(corpus_file), cell_of(corpus_file, init=base)
    assert tuned.options[-1] == f"--init={base}"
    out = Path(tuned.name)
    assert raw_fit("--data", corpus_file, "--config", config_file, "--init", base, "--out", out).status == 0
    assert tuned.state(Path()) == "finished"
    with pytest.raises(
        ConfigError, match=r"^init: the run in seed=0 was started from a checkpoint of .*, step \d+, but"
    ):
        plain.state(Path())
    other = Checkpoint.load(base)
    origin = other.config.provenance.model_copy(update={"step": 99})
    Checkpoint(other.config.model_copy(update={"provenance": origin}), other.weights, other.tokenizer).save(
        Path("base")
    )
    with pytest.raises(ConfigError, match=r"but one from a checkpoint of .*, step 99 was asked for$"):
        cell_of(corpus_file, init=Path("base")).state(Path())


def test_sizes_come_from_the_checkpoint_to_start_from(corpus_file: Path, whole_run: Path) -> None:
    layers = ({"corpus": {"name": str(corpus_file)}},)
    (cell,) = grid("paper", axes("schedule=constant"), (0,), *layers, init=whole_run / "best")
    assert cell.config.model.latent_size == 4
    with pytest.raises(ConfigError, match=r"^model.latent_size: the checkpoint of --init has 4, but 9 was asked for"):
        grid("paper", axes("model.latent-size=9"), (0,), *layers, init=whole_run / "best")


def test_broken_folders_are_refused_with_their_path(corpus_file: Path, whole_run: Path, tmp_path: Path) -> None:
    cell = cell_of(corpus_file)
    (tmp_path / cell.name).write_text("mine")
    with pytest.raises(ConfigError, match=r"is not a folder$"):
        cell.state(tmp_path)
    (tmp_path / cell.name).unlink()
    shutil.copytree(whole_run, tmp_path / cell.name)
    state = tmp_path / cell.name / STATE_FILE
    state.write_bytes(state.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"training.safetensors: truncated or broken"):
        cell.state(tmp_path)
    state.unlink()
    with pytest.raises(CheckpointError, match="no saved run there to resume"):
        cell.state(tmp_path)
