"""The runs of the table: their names and configurations, and how far each is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.errors import ConfigError
from eval.measures import MAIN
from experiments.framework.effects import Square
from experiments.framework.fitting import run_states
from experiments.framework.rows import Run
from experiments.table3.cells import ALL, DIAGONAL, VARIANTS, Variant, plan, rows_of, square
from experiments.table3.measures import PAPER
from experiments.table3.page import questions
from tests.training.tiny_runs import write_corpus
from training.arguments import flat
from training.state import STATE_FILE
from training.sweep.cells import Axis, grid

OUT = Path("t3")


def variant_of(run: Run) -> Variant | None:
    return VARIANTS.get(run.row.key)


@pytest.fixture
def layer(tmp_path: Path) -> dict[str, object]:
    corpus = write_corpus(tmp_path / "mine.jsonl", [{"utterances": [{"speaker": "A", "text": "hm"}]}] * 3)
    return {"corpus": {"name": str(corpus)}, "train": {"max_steps": 9}}


def test_eight_cells_and_one_without_z_for_each_seed(layer):
    planned = plan("small", (0, 7), [layer], OUT)
    cells = [variant for one in planned if (variant := variant_of(one)) is not None]
    assert len(cells) == 16
    assert set(cells) == {
        Variant(bow, schedule, rate)
        for bow in (False, True)
        for schedule in ("monotonic", "cyclical")
        for rate in ("constant", "cosine_restarts")
    }
    assert [one.cell.seed for one in planned if variant_of(one) is None] == [0, 7]
    assert len({one.name for one in planned}) == 18
    assert len({one.folder for one in planned}) == 18


def test_a_cell_is_where_a_sweep_would_put_it(layer):
    first = plan("small", (3,), [layer], OUT)[0]
    assert first.folder == OUT / "fits" / "bow=false,learning-rate.kind=constant,schedule=monotonic,seed=3"
    layers = [{"train": {"early_stopping": False}}, layer]
    axes = [
        Axis("beta.kind", ("monotonic",)),
        Axis("learning_rate.kind", ("constant",)),
        Axis("model.bow", ("false",)),
    ]
    assert [first.cell] == grid("small", axes, (3,), *layers)
    without_z = plan("small", (3,), [layer], OUT)[-1]
    assert without_z.folder == OUT / "fits-without-z" / "seed=3"
    assert variant_of(first) == Variant(False, "monotonic", "constant")


def test_the_diagonal_is_the_papers_four(layer):
    planned = plan("small", (0,), [layer], OUT, DIAGONAL)
    variants = [variant for one in planned if (variant := variant_of(one)) is not None]
    assert len(variants) == 4
    assert {(v.schedule, v.rate) for v in variants} == {("monotonic", "constant"), ("cyclical", "cosine_restarts")}
    assert all(v.on_diagonal for v in variants)
    every = plan("small", (0,), [layer], OUT)
    assert sum(variant is not None and variant.on_diagonal for variant in map(variant_of, every)) == 4
    assert variant_of(planned[-1]) is None


@pytest.mark.parametrize("recipe", ["paper", "released", "small"])
def test_cells_differ_in_what_their_variant_says_alone(layer, recipe):
    planned = plan(recipe, (0,), [layer], OUT)
    for one in planned:
        assert not one.cell.config.train.early_stopping
        if (variant := variant_of(one)) is not None:
            config = one.cell.config
            assert (config.model.bow, config.beta.kind, config.learning_rate.kind) == tuple(variant)
        else:
            assert one.cell.config.model.latent_size == 0
            assert one.cell.config.learning_rate.kind == "constant"
    configs = [flat(one.cell.config.model_dump(mode="json")) for one in planned]
    differing = {name for config in configs for name in config if config[name] != configs[0][name]}
    assert differing == {"model.bow", "model.latent_size", "beta.kind", "learning_rate.kind"}


def test_cells_may_be_named(layer):
    chosen = plan("small", (0, 7), [layer], OUT, "without-z,cvae-bow-monotonic-cyclical")
    assert [run.row.key for run in chosen] == ["cvae-bow-monotonic-cyclical", "without-z"] * 2
    assert [run for run in plan("small", (0, 7), [layer], OUT) if run in chosen] == chosen


@pytest.mark.parametrize("cells", ["cvae", "", "diagonal,without-z", "without-z,"])
def test_unknown_cells_are_refused(layer, cells):
    with pytest.raises(
        ConfigError, match=r"cells: there is no row .*, only all, diagonal, cvae-monotonic-constant, .*, without-z$"
    ):
        plan("small", (0,), [layer], OUT, cells)


def test_what_is_asked_for_holds_for_all(layer):
    asked = {"train": {"early_stopping": True, "batch_size": 7}}
    for one in plan("small", (0,), [layer, asked], OUT, DIAGONAL):
        assert one.cell.config.train.early_stopping
        assert (one.cell.config.train.batch_size, one.cell.config.train.max_steps) == (7, 9)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"beta": {"kind": "cyclical"}}, "schedule: the cells of the table have several, but one value is given"),
        ({"model": {"bow": True}}, "bow: the cells of the table have several"),
        ({"learning_rate": {"kind": "constant"}}, "learning-rate.kind: the cells of the table have several"),
        ({"model": {"latent_size": 0}}, "model.latent_size: must be at least 1, but is 0"),
        ({"train": {"batch_size": 0}}, "train.batch_size: .* but is 0"),
    ],
)
def test_contradictions_are_refused(layer, asked, message):
    with pytest.raises(ConfigError, match=message):
        plan("small", (0,), [layer, asked], OUT)


def test_a_broken_folder_is_named_and_the_rest_is_looked_at(layer, tmp_path):
    planned = plan("small", (0,), [layer], tmp_path, DIAGONAL)
    broken = planned[1].folder / STATE_FILE
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"nothing")
    found = run_states(planned).found
    assert [one.standing for one in found] == ["new", "broken", "new", "new", "new"]
    assert str(planned[1].folder) in found[1].reason
    assert [one.run for one in found] == planned


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        (Variant(False, "monotonic", "constant"), "CVAE, monotonic β, constant η"),
        (Variant(True, "cyclical", "cosine_restarts"), "CVAE+BoW, cyclical β, cyclical η"),
    ],
)
def test_names(variant, name):
    assert str(variant) == name


def test_the_papers_table_is_copied_right():
    """Against the table's text, cell by cell."""
    columns = {(False, "monotonic"): 0, (False, "cyclical"): 1, (True, "monotonic"): 2, (True, "cyclical"): 3}
    lines = {
        "paper_rec_perplexity": "36.16 29.77 18.44 16.74",
        "paper_kl": "0.265 4.104 14.06 15.55",
        "bleu_nltk_3.4.5_4.precision": "0.185 0.234 0.211 0.219",
        "bleu_nltk_3.4.5_4.recall": "0.122 0.220 0.210 0.219",
        "a_bow.precision": "0.957 0.961 0.958 0.961",
        "a_bow.recall": "0.911 0.941 0.938 0.940",
        "e_bow.precision": "0.867 0.833 0.830 0.828",
        "e_bow.recall": "0.784 0.808 0.808 0.805",
    }
    for key, figures in PAPER.items():
        assert figures == {name: float(line.split()[columns[key]]) for name, line in lines.items()}
    assert set(lines) < {measure.name for measure in MAIN}


def test_the_papers_figures_are_in_the_rows_of_the_diagonal():
    rows = {row.key: row for row in rows_of(ALL)}
    for key, variant in VARIANTS.items():
        assert rows[key].paper == (PAPER[variant.bow, variant.schedule] if variant.on_diagonal else {})
    assert (
        rows[Variant(True, "cyclical", "cosine_restarts").key].name
        == "CVAE+BoW, cyclical β, cyclical η (the paper's C)"
    )
    assert rows["without-z"].paper == {}


def test_all_six_questions_for_both_models():
    found = questions()
    assert len(found) == len({one.name for one in found}) == 12
    for contrast in found:
        assert {VARIANTS[key].bow for key in contrast.weights} == {contrast.name.startswith("CVAE+BoW")}
    diagonal = {key for key, variant in VARIANTS.items() if variant.on_diagonal}
    assert [one.name for one in found if one.weights.keys() <= diagonal] == [
        "CVAE: the paper's C - M: β and η together",
        "CVAE+BoW: the paper's C - M: β and η together",
    ]


def test_beta_is_the_first_factor_and_the_learning_rate_the_second():
    assert square(False) == Square(
        neither=Variant(False, "monotonic", "constant").key,
        first=Variant(False, "cyclical", "constant").key,
        second=Variant(False, "monotonic", "cosine_restarts").key,
        both=Variant(False, "cyclical", "cosine_restarts").key,
    )
