"""The experiments' command line, at the size smoke on tiny corpora: from the fit to the page."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers import ptb, toy
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model_config import SentenceModelConfig, SviConfig
from dialog_cvae.text.tokenizer import Tokenizer
from eval.latent.likelihood import importance_weighted_nll
from experiments import __main__ as experiments
from experiments import cycles, lesson, measures
from experiments.framework import fitting
from experiments.framework.rows import Result, Row
from experiments.framework.tables import compact_effects_table
from experiments.ptb import EXPERIMENT as PTB
from experiments.ptb import least_products, main_effects
from experiments.remedies import EXPERIMENT as REMEDIES
from experiments.toy import FLOOR, _met, exact_nll, shown_steps
from training.recipes import RECIPES

WORDS = ["the", "dog", "cat", "eats", "sleeps", "here", "now", "N"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny corpora in the files of the real ones."""
    folder = tmp_path_factory.mktemp("sentences")
    rng = random.Random(0)

    def line() -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))

    (folder / "ptb").mkdir()
    for name in ptb.FILES.values():
        (folder / "ptb" / name).write_text("".join(f"{line()}\n" for _ in range(40)))
    (folder / "yelp").mkdir()
    for split in ("train", "dev", "test"):
        rows = [f"{label}\t{('bad', 'good')[label]} {line()}\n" for label in (0, 1) for _ in range(40)]
        (folder / "yelp" / f"short_s10.{split}.tsv").write_text("".join(rows))
    return folder


@pytest.fixture
def run(corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """An experiment at the size smoke; gives its JSON."""
    monkeypatch.setattr("training.fit.draw_learning_curves", lambda *_: None)

    def start(name: str, *options: object) -> dict[str, Any]:
        arguments = [name, "--size=smoke", f"--out={tmp_path / name}", f"--data-dir={corpora}", *options]
        status = experiments.main([str(each) for each in arguments])
        said = capsys.readouterr()
        assert status == 0, said
        content: dict[str, Any] = json.loads((tmp_path / name / f"{name}.json").read_bytes())
        page = (tmp_path / name / f"{name}.md").read_text()
        assert all((tmp_path / name / file).is_file() for file in _images(page))
        assert content["seeds"] == [0]
        rows = {row["key"]: row for row in content["rows"]}
        figures = {key: row["seeds"] for key, row in rows.items()}
        paper = {key: row["paper"] for key, row in rows.items() if row["paper"]}
        return content | {"figures": figures, "paper": paper, "page": page, "said": said.out}

    return start


def _images(page: str) -> list[str]:
    return [part.split(")")[0] for part in page.split("](")[1:]]


def test_toy(run: Run, tmp_path: Path) -> None:
    found = run("toy")
    for key in ("constant", "monotonic", "cyclical"):
        figures = found["figures"][key]["0"]
        assert figures["posterior_gap"] > -0.02  # the ELBO is a bound of the integral
        assert figures["exact_nll"] > FLOOR - 1e-3  # the entropy of the data
        assert figures["elbo"] == pytest.approx(-figures["reconstruction"] - figures["kl"])
    assert "| – the paper's |  | 0.7 | 1.6 | -2.3 |" in found["page"]
    assert "| – the paper's |" in found["said"]
    with Image.open(tmp_path / "toy" / "toy-latents.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 4


def test_toy_computes_nothing_twice(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("toy")
    monkeypatch.setattr(fitting, "_fit_here", lambda task: pytest.fail("it is fitted"))
    monkeypatch.setattr(measures, "_measure", lambda *_: pytest.fail("it is measured"))
    again, without_fit = run("toy"), run("toy", "--no-fit", "--rows=cyclical,constant")
    assert {**again, "said": ""} == {**first, "said": ""}
    assert "--rows=cyclical,constant`" in without_fit["page"]
    assert without_fit["figures"] == {key: first["figures"][key] for key in ("constant", "cyclical")}


def test_changed_code_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, found = iter(range(9)), []
    for code in ("one", "one", "another", "another"):
        monkeypatch.setattr(measures, "code_digest", lambda _, code=code: code)
        found.append(measures.cached_json(tmp_path / "kept.json", {"seed": 0}, "number", lambda: next(made)))
    assert found == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("elbos", "found"),
    [
        ((-FLOOR - 0.004, -FLOOR - 0.001), "meet at the floor whatever the schedule."),
        ((-FLOOR, -2.9), "do not all end at the floor: the farthest is 0.60 nats from"),
        ((-FLOOR,), None),  # the other one has diverged
        ((), None),
    ],
)
def test_the_toys_lines_meet_only_if_they_do(elbos: tuple[float, ...], found: str | None) -> None:
    figures = [{"kl": 0.1, "elbo": elbo} for elbo in elbos] + [{"kl": 0.1}] * (1 if len(elbos) == 1 else 0)
    text = _met([Result(Row("a", "a"), figures={0: each}) for each in figures])
    assert text == "." if found is None else found in text


def test_what_is_said_of_a_size_is_of_the_experiments_own_rows() -> None:
    assert all("SA-VAE" not in budget.about for budget in REMEDIES.budgets.values())
    assert [size for size, budget in PTB.budgets.items() if "SA-VAE" in budget.about] == ["small", "medium"]


def diverged(*_: object, draws: int = 3, **__: object) -> Any:
    """What is measured of a model whose weights are not finite."""
    report = ElboReport(2, 8, math.nan, math.inf, -math.inf, math.inf, math.inf, 0, math.nan, math.nan, None, 5.0)
    weighted = SimpleNamespace(nats={1: math.inf, draws: math.inf}, perplexity={draws: math.inf})
    return SimpleNamespace(elbo=report, weighted=weighted, figures=report.figures, **vars(weighted))


def test_figures_of_a_diverged_seed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("evaluate_elbo", "importance_weighted_nll", "score_once"):
        monkeypatch.setattr(measures, name, diverged)
    model: Any = SimpleNamespace(config=SimpleNamespace(latent_size=0))
    examples: Any = SimpleNamespace(windows=2)
    known = {"windows": 2, "tokens": 8, "active_units": 0, "without_z": 5.0, "mi": 0, "mi_cap": math.log(2)}
    assert measures._measure_replies(model, examples, 3, 0) == known
    assert measures._measure(model, examples, 3, 2, 0, SviConfig()) == known
    results = Result(Row("a", "a"), figures={0: known, 1: {**known, "iw_nll": 2.0}})
    assert "iw_nll" not in results.estimates


def test_what_is_missing_is_named(run: Run, tmp_path: Path) -> None:
    run("toy")
    shutil.rmtree(tmp_path / "toy" / "fits" / "row=cyclical,seed=0")
    found = run("toy", "--no-fit")
    assert found["notes"] == ["Not finished: cyclical, seed 0"]
    assert "- Not finished: cyclical, seed 0" in found["page"]
    assert "| cyclical | 0 of 1 | – |" in found["page"]
    assert found["figures"]["cyclical"] == {}


def test_ptb(run: Run) -> None:
    found = run("ptb", "--max-steps=6", "--train.validate-every=3")
    assert "- Over that, in every row: `train.max_steps` 6, `train.validate_every` 3." in found["page"]
    assert "`python -m experiments ptb --size=smoke --seeds=1 --max-steps=6" in found["page"]
    rows = {row.key for row in PTB.rows}
    assert set(found["figures"]) == rows
    lm = found["figures"]["lm"]["0"]
    assert (lm["kl"], lm["mi"], lm["active_units"]) == (0, 0, 0)
    assert lm["nats_by_iw"] == pytest.approx(0, abs=1e-6)  # exact
    assert found["paper"]["vae-c"] == {
        "reconstruction": 100.51,
        "kl": 1.955,
        "elbo": -102.46,
        "perplexity_bound": 107.25,
    }
    assert "times as long as one of VAE M" in found["page"]
    assert "cyclical instead of monotonic beta" in found["page"]


def test_remedies(run: Run) -> None:
    found = run("remedies")
    assert len(found["figures"]) == len(REMEDIES.rows) == 13
    assert all(math.isfinite(row["0"]["iw_nll"]) for row in found["figures"].values())


@pytest.mark.slow
def test_cycles(run: Run) -> None:
    found = run("cycles")
    assert len(found["figures"]) == 4 * 4 + 2


def test_yelp(run: Run) -> None:
    found = run("yelp")
    assert set(found["accuracy"]) == {"ae", "vae-m", "vae-c", "vae-c-constant-rate"}
    assert set(found["accuracy"]["ae"]) == {"10", "40"}
    assert found["probes"]["ae"]["0"][0]["chance"] == 0.5
    assert found["accuracy"]["ae"]["10"]["n"] == 2  # draws of labels, with one seed


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("toy", "--seed", 3), "seed: an experiment has several; give --seeds"),
        (("toy", "--seeds", "0,0"), "seeds: duplicate seed"),
        (("toy", "--train.dropout", 2), "train.dropout: Input should be less than 1"),
        (("toy", "--rows=a"), "rows: there is no row 'a', only constant, monotonic, cyclical"),
        (("toy", "--no-fit"), "out: none of the 3 cells in"),
        (
            ("toy", "--schedule=constant"),
            "schedule: some rows have values of their own (constant, monotonic, cyclical), but one",
        ),
        (("cycles", "--rows=m4-r50-linear", "--beta.cycles=1"), "beta.cycles: some rows have values of their own (m4"),
        (("ptb", "--rows=sa-m-best", "--no-fit"), "out: none of the 1 cells in"),
        (
            ("toy", "--sentence.latent-size=3"),
            "sentence.latent_size: must be 2, because z is drawn as a plane, but is 3",
        ),
        (
            ("yelp", "--sentence.latent-size=0"),
            "latent_size must be at least 1 with train.autoencoder_share 1.0, but is 0",
        ),
        (("ptb", "--data-dir", "nowhere"), "no such folder"),
        (("toy", "--jobs=2"), "jobs: runs of this size are fitted one after the other; leave --jobs out"),
        (("toy", "--device=tpu"), "device: must be auto, cpu or cuda, but is 'tpu'"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[object, ...], complaint: str
) -> None:
    assert experiments.main([*map(str, options), "--size=smoke", f"--out={tmp_path}"]) == 2
    assert complaint in capsys.readouterr().err


def test_if_all_cells_fail_the_reason_is_given(run: Run, tmp_path: Path, capsys: Any) -> None:
    options = ["toy", "--size=smoke", f"--out={tmp_path}", "--learning-rate.peak=1e30"]
    assert experiments.main(options) == 2  # all three
    assert "none of the 3 cells" in capsys.readouterr().err


def test_the_grid_integrates_what_importance_sampling_estimates() -> None:
    corpus = toy.read()
    tokenizer = Tokenizer.train((each.utterances[0].text for each in corpus.train), RECIPES["toy"]().tokenizer)
    sentences = Sentences.of(encode_corpus(corpus.train, tokenizer, (), 128))
    torch.manual_seed(0)
    sizes = SentenceModelConfig(embedding_size=4, encoder_size=4, decoder_size=6, latent_size=2, initial_range=0.3)
    model = SentenceVAE(sizes, len(tokenizer)).eval()
    exact = exact_nll(model, sentences, 41)
    assert exact == pytest.approx(exact_nll(model, sentences, 31), abs=1e-4)
    sampled = importance_weighted_nll(model, sentences, sentences.responses, [1_000])
    assert exact == pytest.approx(sampled.nats[1_000], abs=0.01)


def test_shown_steps_are_the_middle_of_each_rise_and_the_end_of_each_cycle() -> None:
    recorded = range(500, 40_001, 500)
    assert shown_steps(recorded) == [2_500, 10_000, 12_500, 20_000, 22_500, 30_000, 32_500, 40_000]


def test_main_effects_of_the_two_by_two() -> None:
    figures = {"vae-m": 1.0, "vae-c": 10.0, "vae-m-cyclical-rate": 3.0, "vae-c-constant-rate": 6.0}
    names = ("reconstruction", "kl", "elbo", "iw_nll")
    results = [
        Result(Row(key, key), figures={seed: dict.fromkeys(names, value + seed) for seed in (0, 1)})
        for key, value in figures.items()
    ]
    lines = compact_effects_table(main_effects(results))
    # of beta: (6 - 1 + 10 - 3) / 2, of the rate: (3 - 1 + 10 - 6) / 2, together 10 - 1; equal in both seeds
    assert lines[2] == "| Rec | 6.00 ± 0.00 | 3.00 ± 0.00 | 9.00 ± 0.00 |"
    assert len(lines) == 2 + 4
    assert [contrast.name for contrast, _ in main_effects(results[:2])] == ["C instead of M"]
    assert main_effects(results[:1]) == []


def test_products_of_the_refinement() -> None:
    sizes = SentenceModelConfig(embedding_size=1, encoder_size=1, decoder_size=1, latent_size=1)
    encoder, decoder = 4 * (1 + 1), 4 * (1 + 1 + 1) + 100
    assert least_products(sizes, 100, 0) == 1
    expected = (3 * encoder + 3 * decoder + 6 * 2 * decoder) / (3 * (encoder + decoder))
    assert least_products(sizes, 100, 2) == pytest.approx(expected)
    assert least_products(SentenceModelConfig(), 10_005, 10) == pytest.approx(18.1, abs=0.1)


def test_the_heat_map_has_a_place_for_every_cell() -> None:
    matrix = np.array(cycles.matrix([Result(Row("m4-r50-linear", ""), figures={0: {"kl": 1.5}})], "kl"))
    assert matrix.shape == (4, 4)
    assert matrix[2, 1] == 1.5
    assert np.isnan(matrix).sum() == 15


@pytest.mark.parametrize("exercise", [1, 2, 3, 5])
def test_an_answer_of_the_lesson(exercise: int, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(lesson, "POINTS", 50)
    assert lesson.main([str(exercise), "--answer"]) == 0
    text = capsys.readouterr().out
    expected = {
        1: "| 12,501 | 0.2500 | 0.5000 | 0.5000 |",
        2: "| 5 | 0.693 | 1.609 | 2.303 |",
        3: "from 2.3026 to 2.3026 nats; ln 10 = 2.3026",
        5: "| 0.1 | 4.605 | 2.30",
    }
    assert expected[exercise] in text


@pytest.mark.slow
def test_the_fit_of_the_lesson_shows_a_loss_below_the_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    assert lesson.main(["4", "--answer"]) == 0
    assert "The loss falls below the entropy of the data, 2.303 nats" in capsys.readouterr().out


def test_questions_come_without_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert lesson.main([]) == 0
    text = capsys.readouterr().out
    assert text.count("Exercise") == 5
    assert "2.303" not in text
