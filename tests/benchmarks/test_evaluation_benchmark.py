"""The evaluation benchmark at a tiny size: its figures, and its errors if two implementations differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import evaluation
from benchmarks.naive_replies import NaiveReplies, differences, naive_replies
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.engines.gru_states import GRUStates
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.generate.decoding import Draw, SpecialIds
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.tokenizer import Tokenizer
from tests.conftest import make_model


@pytest.fixture
def corpus_file(tmp_path: Path, conversations) -> Path:
    path = tmp_path / "talk.jsonl"
    lines = [
        json.dumps({"utterances": [{"speaker": u.speaker, "text": u.text} for u in c.utterances]}) + "\n"
        for c in conversations * 4
    ]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def arguments(tiny_checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> list[str]:
    tiny_checkpoint.save(tmp_path / "best")
    return [str(tmp_path / "best"), "--data", str(corpus_file), "--naive-contexts", "4", "--samples", "3"]


def test_prints_and_writes_consistent_figures(arguments, tmp_path, capsys):
    assert evaluation.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    printed = capsys.readouterr().out
    assert f"ratio: {report['ratio']:.1f}" in printed
    assert f"{report['mean_reply_tokens']:.1f} tokens on average" in printed
    assert report["contexts_per_second"] == pytest.approx(report["contexts"] / sum(report["seconds"].values()))
    assert report["ratio"] == pytest.approx(report["contexts_per_second"] / report["naive_contexts_per_second"])
    assert report["naive_contexts"] == 4
    assert report["naive_replies_differing_by_a_tie"] == 0
    cores = sum(report["core_seconds_of_sampling"].values())
    assert cores == pytest.approx(report["threads"] * report["seconds"]["sampling"])


def test_a_reply_that_depends_on_other_replies_is_an_error(arguments, capsys, monkeypatch):
    start = TorchEngine.start

    def mixed(engine: TorchEngine, contexts: Sequence[np.ndarray], z: np.ndarray) -> tuple[np.ndarray, GRUStates]:
        tokens, states = start(engine, contexts, z)
        return tokens, states._replace(state=states.state + 5 * z.mean())

    monkeypatch.setattr(TorchEngine, "start", mixed)
    assert evaluation.main(arguments) == 2
    assert "gets different replies when it is answered alone" in capsys.readouterr().err


def test_a_reply_that_differs_from_the_naive_one_is_an_error(arguments, capsys, monkeypatch):
    start = TorchEngine.start
    monkeypatch.setattr(TorchEngine, "start", lambda engine, condition, z: start(engine, condition, -z))
    assert evaluation.main(arguments) == 2
    assert "below that of the naive reply's" in capsys.readouterr().err


def test_a_missing_checkpoint_is_refused(tmp_path, capsys):
    assert evaluation.main([str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("skip", [False, True])
def test_naive_logits_equal_the_engines(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus, skip: bool
):
    model = make_model(tiny_config.model_copy(update={"skip": skip}), tokenizer)
    batch = collate(encoded, encoded.responses[5:6], 4)
    engine, rng = TorchEngine(model), np.random.default_rng(0)
    noise = rng.standard_normal((3, model.config.latent_size), dtype=np.float32)
    naive = naive_replies(model, batch, noise, 6, SpecialIds(3, 1, (0, 2, 4)))
    condition = engine.condition(batch)
    z = condition.prior_mean + np.exp(0.5 * condition.prior_logvar) * noise
    tokens, states = engine.start([condition.contexts[0]] * 3, z)
    for step, expected in enumerate(naive.logits):
        logits, states, *_ = engine.step(tokens, states, np.ones(3, np.float32), 1)
        finite = np.isfinite(expected.numpy())
        assert finite.sum(axis=1).tolist() == [logits.shape[1] - (5 if step == 0 else 4)] * 3
        np.testing.assert_allclose(logits[finite], expected.numpy()[finite], atol=1e-4)
        tokens = naive.tokens[:, step].numpy()


def test_differences_are_the_margins_at_the_first_different_token():
    logits = [torch.tensor([[0.0, 5.0, 4.5, 1.0]] * 3), torch.tensor([[0.0, 1.0, 2.0, 7.0]] * 3)]
    naive = NaiveReplies(torch.tensor([[1, 3]] * 3), logits)
    draws = [Draw((1,), -1.0, 2), Draw((2,), -1.0, 2), Draw((1, 2), -1.0, 2)]
    assert differences(draws, naive, end=3) == [0.5, 5.0]
