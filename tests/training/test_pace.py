"""A run with a limit of minutes: as many steps as fit, and no trace of the measurement."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers.ptb import sentence
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model_config import SentenceModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from tests.training.tiny_runs import Fit, assert_same_run
from training import pace
from training.adam import GuardedAdam
from training.batch import Batch
from training.config import TrainConfig
from training.distributed import SINGLE_PROCESS
from training.sentence_batches import SentenceBatches
from training.state import load_progress


def let_every_measurement_take(monkeypatch: pytest.MonkeyPatch, updates: float, validation: float) -> None:
    """Seconds of all timed updates together, and of the validation."""
    seconds = itertools.cycle([updates, validation])

    def timed(run: object) -> float:
        assert callable(run)
        run()
        return next(seconds)

    monkeypatch.setattr(pace, "_timed", timed)


def test_enough_minutes_change_nothing(fit: Fit, whole_run: Path) -> None:
    assert fit("--out", "run", "--train.max-minutes", 1000).status == 0
    assert_same_run(Path("run"), whole_run)


def test_few_minutes_give_as_many_steps_as_fit(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    # An update takes 2 s and a validation, after every third, 3 s: (33 - 3) / (2 + 1) = 10.
    let_every_measurement_take(monkeypatch, 2.0 * pace.UPDATES, 3.0)
    assert fit("--out", "run", "--train.max-minutes", 33 / 60).status == 0
    assert load_progress(Path("run")).step == load_progress(Path("run")).total_steps == 10


def test_a_resumed_run_keeps_its_steps(fit: Fit, monkeypatch: pytest.MonkeyPatch, kill_at: object) -> None:
    assert callable(kill_at)
    let_every_measurement_take(monkeypatch, 2.0 * pace.UPDATES, 3.0)
    kill_at(5, "--out", "run", "--train.max-minutes", 33 / 60)
    let_every_measurement_take(monkeypatch, 20.0 * pace.UPDATES, 30.0)
    assert fit("--out", "run", "--resume").status == 0
    assert load_progress(Path("run")).step == 10


def test_too_few_minutes_are_refused(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    let_every_measurement_take(monkeypatch, 120.0 * pace.UPDATES, 3.0)
    refused = fit("--out", "run", "--train.max-minutes", 1).complaint
    assert refused.startswith("train.max_minutes: 1 minutes are too few: an update takes 120.0 s")
    assert not (Path("run") / "state").exists()


def test_updates_of_sentences_are_timed_on_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    # Batches of one length, 3 to 26 tokens; the short half has 12 batches of each length, the long half one.
    per_length = [48 if length < 15 else 4 for length in range(3, 27)]
    lengths = np.repeat(np.arange(3, 27), per_length)
    count, offsets = len(lengths), np.concatenate(([0], np.cumsum(lengths)))
    corpus = Sentences(np.ones(offsets[-1], np.uint16), offsets, np.zeros(count, np.int32), np.arange(count))
    sizes = SentenceModelConfig(embedding_size=4, encoder_size=4, decoder_size=4, latent_size=2)
    model = SentenceVAE(sizes, 16)
    clock = [0]

    def as_long_as_its_tokens(_model: object, _optimiser: object, batch: Batch, *_: object) -> torch.Tensor:
        clock[0] += sum(part.windows.tokens.numel() for part in batch.parts)
        return torch.zeros(())

    def timed(run: Callable[[], object]) -> float:
        before = clock[0]
        run()
        return clock[0] - before

    monkeypatch.setattr(pace, "update", as_long_as_its_tokens)
    monkeypatch.setattr(pace, "_timed", timed)
    optimiser = GuardedAdam(model.parameters(), lr=1.0)
    for seed in range(4):
        config = TrainConfig(batch_size=4, seed=seed)
        found = pace._update_seconds(model, optimiser, SentenceBatches(corpus, config, sizes), config, SINGLE_PROCESS)
        assert found == pytest.approx(4 * lengths.mean(), rel=0.05)


def test_a_validation_of_sentences_is_timed_on_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.train(["a b", "b c d"], TokenizerConfig(mode="space", vocab_size=16))
    texts = ["a " * (1 + number % 24) for number in range(48)]
    corpus = Sentences.of(encode_corpus([sentence(str(i), text) for i, text in enumerate(texts)], tokenizer, (), 32))
    sizes = SentenceModelConfig(embedding_size=4, encoder_size=4, decoder_size=4, latent_size=2)
    model, lengths = SentenceVAE(sizes, len(tokenizer)), []
    batch = model.batch
    monkeypatch.setattr(model, "batch", lambda *args: lengths.append(corpus.lengths[args[1]][0]) or batch(*args))
    monkeypatch.setattr(pace, "_timed", lambda run: (run(), 2.0)[1])
    assert pace._validation_seconds(model, corpus, TrainConfig(), 1) == 2.0 * 24 / 4
    assert lengths == [3 + 3, 3 + 9, 3 + 15, 3 + 21]
    lengths.clear()
    assert pace._validation_seconds(model, corpus, TrainConfig(valid_examples=2), 1) == 2.0
    assert len(lengths) == 2
    assert pace._validation_seconds(model, corpus, TrainConfig(), 5) == 2.0 * 5 / 4  # each process has a fifth
