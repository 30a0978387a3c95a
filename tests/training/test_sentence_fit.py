"""Fits of the sentence VAE: exact resume, remedies, a recipe's values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dialog_cvae.data.readers import ptb
from dialog_cvae.model.build import build_model
from dialog_cvae.model_config import SentenceModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from tests.training.tiny_runs import Fit, assert_same_run, metrics
from training.adam import GuardedAdam
from training.recipes import RECIPES
from training.state import load_progress, load_state, save_state

TINY = ("--recipe", "toy", "--max-steps", 12, "--train.save-every", 4, "--train.log-every", 1, "--threads", 1)
TINY = (*TINY, "--train.validate-every", 3, "--sentence.decoder-size", 8, "--sentence.encoder-size", 8)
REMEDIES = ("--train.dropout", 0.3, "--train.word-dropout", 0.3, "--train.free-bits", 0.1)
REMEDIES = (*REMEDIES, "--sentence.posterior-norm", 0.5, "--sentence.skip", "--train.batch-size", 3)


def test_a_killed_run_resumes_bit_for_bit(raw_fit: Fit, at_step: Callable[..., None]) -> None:
    from tests.training.tiny_runs import Killed

    assert raw_fit(*TINY, *REMEDIES, "--out", "whole").status == 0

    def die() -> None:
        raise Killed

    at_step(7, die)
    with pytest.raises(Killed):
        raw_fit(*TINY, *REMEDIES, "--out", "run")
    assert load_progress(Path("run")).step == 4
    assert raw_fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), Path("whole"))


def test_parts_of_a_batch_make_the_same_update(raw_fit: Fit) -> None:
    for out, parts in (("one", 1), ("three", 3)):
        assert raw_fit(*TINY, "--train.dropout", 0.2, "--train.accumulation", parts, "--out", out).status == 0
    losses = [[record["loss"] for record in metrics(Path(out), "train")] for out in ("one", "three")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_toy_model_learns_and_its_checkpoint_is_a_sentence_vae(raw_fit: Fit) -> None:
    done = raw_fit(*TINY, "--max-steps", 60, "--learning-rate.peak", 0.02, "--out", "run")
    assert done.status == 0
    assert "serve it" not in done.out
    elbo = [record["elbo"] for record in metrics(Path("run"), "valid")]
    assert elbo[-1] > elbo[0] + 1
    checkpoint = Checkpoint.load("run/best")
    assert build_model(checkpoint).config.decoder_size == 8
    assert "VAE of sentences" in checkpoint.card
    again = raw_fit(*TINY, "--init", "run/best", "--out", "more")
    assert again.status == 0
    assert metrics(Path("more"), "valid")[0]["elbo"] > elbo[0] + 1
    refused = raw_fit("--data", "sample", "--init", "run/best", "--out", "other")
    assert "init: the checkpoint was fitted on sentences, but corpus sample holds conversations" in refused.complaint


def test_an_autoencoder_reports_its_reconstruction_and_no_bound(raw_fit: Fit) -> None:
    done = raw_fit(*TINY, "--train.autoencoder-share", 1, "--out", "run")
    assert done.status == 0
    records = metrics(Path("run"), "valid")
    best = min(record["reconstruction"] for record in records)
    assert {record["elbo"] for record in records} == {record["kl"] for record in records} == {None}
    assert f"done after step 12; validation reconstruction {best:.3f}\n" in done.out
    assert "ELBO" not in done.out.partition("done after")[2].splitlines()[0]
    stored = Checkpoint.load("run/best").metrics
    assert stored["reconstruction"] == best
    assert stored["elbo"] is None


def test_word_vectors_fill_the_embeddings_of_decoder_and_encoder(raw_fit: Fit) -> None:
    Path("vectors.txt").write_text("0 1 2 3\n1 4 5 6\n")
    options = ("--sentence.embedding-size", 3, "--train.vectors", "vectors.txt")
    assert raw_fit(*TINY, *options, "--max-steps", 4, "--learning-rate.peak", 1e-9, "--out", "run").status == 0
    weights = Checkpoint.load("run/best").weights
    filled = [weights[name] for name in ("embedding.weight", "encoder_embedding.weight")]
    known = [np.abs(each[:, None] - [[1, 2, 3], [4, 5, 6]]).max(-1).min(0) for each in filled]
    assert np.max(known) < 1e-3
    Path("vectors.txt").write_text("0 1 2\n")
    refused = raw_fit(*TINY, *options, "--out", "other").complaint
    assert "vectors.txt has 2 dimensions, but sentence.embedding_size is 3" in refused


def test_the_language_model_is_latent_size_0(raw_fit: Fit) -> None:
    assert raw_fit(*TINY, "--sentence.latent-size", 0).status == 0
    (out,) = Path("runs").iterdir()
    assert out.name == "toy-lm-cyclical-seed0"
    assert {record["kl"] for record in metrics(out, "train")} == {0.0}


def test_passes_count_batches_of_one_length(raw_fit: Fit, tmp_path: Path) -> None:
    for name in ptb.FILES.values():
        (tmp_path / name).write_text("a b\nb a\na\nb\na b a\n" * 2)
    config = {"sentence": {"embedding_size": 4, "encoder_size": 4, "decoder_size": 4, "latent_size": 2}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    options = ("--recipe", "ptb", "--config", tmp_path / "config.json", "--data-dir", tmp_path, "--batch-size", 3)
    assert raw_fit(*options, "--epochs", 2, "--threads", 1, "--out", "run").status == 0
    assert load_progress(Path("run")).total_steps == 2 * (2 + 2 + 1)  # 4 of one word, 4 of two, 2 of three


def test_a_weight_that_some_updates_skipped_keeps_its_count(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(2, 1), "c": torch.nn.Linear(2, 1)})
    optimiser = GuardedAdam(model.parameters(), lr=0.1)
    from training.state import Progress
    from training.stopping import Stopping

    def step(*names: str) -> None:
        optimiser.zero_grad(set_to_none=True)
        sum(model[name](torch.ones(2)).square().sum() for name in names).backward()
        optimiser.step()

    step("a", "b")
    step("a")
    save_state(tmp_path, model, optimiser, Progress(2, 9, "data", 0, 1, Stopping(10)))
    step("a", "b", "c")
    expected = [each.clone() for each in model.parameters()]
    fresh = torch.nn.ModuleDict({name: torch.nn.Linear(2, 1) for name in "abc"})
    other = GuardedAdam(fresh.parameters(), lr=0.1)
    load_state(tmp_path, fresh, other)
    maps = Path("/proc/self/maps")  # Windows would not let the next save replace a file that is mapped
    assert not maps.exists() or str(tmp_path) not in maps.read_text(encoding="utf-8")
    model, optimiser = fresh, other
    step("a", "b", "c")
    for one, two in zip(expected, fresh.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_penn_treebank_recipe_has_the_released_codes_values() -> None:
    from training.schedules import beta

    config = RECIPES["ptb"]()
    assert config.sentence == SentenceModelConfig()
    total = 40 * 1_000
    reached = {  # the first update at which beta is 1
        kind: next(t for t in range(1, total) if beta(schedule, t, total) == 1)
        for kind, schedule in {
            "cyclical": config.beta,
            "monotonic": config.beta.model_copy(update={"kind": "monotonic", "ratio": 9 / 40}),
        }.items()
    }
    assert reached["cyclical"] == pytest.approx(4_500, abs=1)
    assert reached["monotonic"] == pytest.approx(9_000, abs=1)
    assert beta(config.beta, 10_001, total) == pytest.approx(0.1)
    assert np.isclose(beta(config.beta, 12_251, total), 0.55)  # half-way
