"""The runs of the table: their names and configurations, and how far each is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.errors import ConfigError
from experiments.table3.cells import Variant, look, plan
from tests.training.tiny_runs import write_corpus
from training.arguments import flat
from training.state import STATE_FILE

OUT = Path("t3")


@pytest.fixture
def layer(tmp_path: Path) -> dict[str, object]:
    corpus = write_corpus(tmp_path / "mine.jsonl", [{"utterances": [{"speaker": "A", "text": "hm"}]}] * 3)
    return {"corpus": {"name": str(corpus)}, "train": {"max_steps": 9}}


def test_eight_cells_and_one_without_z_for_each_seed(layer):
    planned = plan("small", (0, 7), [layer], OUT, diagonal=False)
    cells = [one for one in planned if one.variant is not None]
    assert len(cells) == 16
    assert {one.variant for one in cells} == {
        Variant(bow, schedule, rate)
        for bow in (False, True)
        for schedule in ("monotonic", "cyclical")
        for rate in ("constant", "cosine_restarts")
    }
    assert [one.cell.seed for one in planned if one.variant is None] == [0, 7]
    assert len({one.name for one in planned}) == 18
    assert len({one.folder for one in planned}) == 18


def test_a_cell_is_where_a_sweep_would_put_it(layer):
    first = plan("small", (3,), [layer], OUT, diagonal=False)[0]
    assert first.folder == OUT / "fits" / "bow=false,learning-rate.kind=constant,schedule=monotonic,seed=3"
    assert first.variant == Variant(False, "monotonic", "constant")


def test_the_diagonal_is_the_papers_four(layer):
    planned = plan("small", (0,), [layer], OUT, diagonal=True)
    variants = [one.variant for one in planned if one.variant is not None]
    assert len(variants) == 4
    assert {(v.schedule, v.rate) for v in variants} == {("monotonic", "constant"), ("cyclical", "cosine_restarts")}
    assert all(v.on_diagonal for v in variants)
    every = plan("small", (0,), [layer], OUT, diagonal=False)
    assert sum(one.variant is not None and one.variant.on_diagonal for one in every) == 4
    assert planned[-1].variant is None


@pytest.mark.parametrize("recipe", ["paper", "released", "small"])
def test_cells_differ_in_what_their_variant_says_alone(layer, recipe):
    planned = plan(recipe, (0,), [layer], OUT, diagonal=False)
    for one in planned:
        assert not one.cell.config.train.early_stopping
        if one.variant is not None:
            config = one.cell.config
            assert (config.model.bow, config.beta.kind, config.learning_rate.kind) == tuple(one.variant)
        else:
            assert one.cell.config.model.latent_size == 0
            assert one.cell.config.learning_rate.kind == "constant"
    configs = [flat(one.cell.config.model_dump(mode="json")) for one in planned]
    differing = {name for config in configs for name in config if config[name] != configs[0][name]}
    assert differing == {"model.bow", "model.latent_size", "beta.kind", "learning_rate.kind"}


def test_what_is_asked_for_holds_for_all(layer):
    asked = {"train": {"early_stopping": True, "batch_size": 7}}
    for one in plan("small", (0,), [layer, asked], OUT, diagonal=True):
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
        plan("small", (0,), [layer, asked], OUT, diagonal=False)


def test_a_broken_folder_is_named_and_the_rest_is_looked_at(layer, tmp_path):
    planned = plan("small", (0,), [layer], tmp_path, diagonal=True)
    broken = planned[1].folder / STATE_FILE
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"nothing")
    found = look(planned)
    assert [one.standing for one in found] == ["new", "broken", "new", "new", "new"]
    assert str(planned[1].folder) in found[1].reason
    assert [one.planned for one in found] == planned


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        (Variant(False, "monotonic", "constant"), "CVAE, monotonic β, constant η"),
        (Variant(True, "cyclical", "cosine_restarts"), "CVAE+BoW, cyclical β, cyclical η"),
    ],
)
def test_names_for_people(variant, name):
    assert str(variant) == name
