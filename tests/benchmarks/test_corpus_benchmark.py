"""The corpus benchmark at a tiny size: the noisy corpus, and figures from real runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import corpus as benchmark
from dialog_cvae.data.readers import jsonl, sample
from dialog_cvae.errors import DialogCvaeError
from training.check.__main__ import main as check


def test_the_noisy_corpus_repeats_the_base_with_a_tenth_of_the_words_changed(tmp_path: Path) -> None:
    base = sample.read(conversations=10).train
    length = sum(len(conversation.utterances) for conversation in base)
    benchmark.write_noisy(tmp_path / "big.jsonl", base, 20 * length)
    found = jsonl.scan(tmp_path / "big.jsonl")
    assert not found.problems
    conversations = list(found.conversations)
    assert len(conversations) == 20 * len(base)
    assert check([str(tmp_path / "big.jsonl"), "--no-timing"]) == 0
    words = changed = 0
    for index, conversation in enumerate(conversations):
        origin = base[index % len(base)]
        assert (conversation.topic, conversation.speakers) == (origin.topic, origin.speakers)
        for noisy, clean in zip(conversation.utterances, origin.utterances, strict=True):
            assert noisy.speaker == clean.speaker
            pairs = list(zip(noisy.text.split(), clean.text.split(), strict=True))
            words, changed = words + len(pairs), changed + sum(one != other for one, other in pairs)
    assert changed / words == pytest.approx(benchmark.NOISE, abs=0.01)
    assert len({conversation.utterances for conversation in conversations}) == len(conversations)


def test_a_failed_run_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(DialogCvaeError, match=r"ended with 2: error: .*gone\.jsonl"):
        benchmark.watch(tmp_path / "run", {"data": tmp_path / "gone.jsonl", "threads": 1})


@pytest.mark.slow
def test_prints_and_writes_figures_of_real_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "SMALL", 300)
    monkeypatch.setattr(benchmark, "PASS", 10)
    options = ["--utterances", "3000", "--passes", "2", "--recipe", "sample"]
    assert benchmark.main([*options, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["token_ids"] > 2 * 3000
    assert figures["other_arrays"] < 16 * 3000
    assert [len(figures["mib_at_validations"][run]) for run in ("cold", "warm", "few")] == [2, 2, 2]
    for run in ("cold", "warm", "few"):
        assert 0 < figures["seconds_to_first_update"][run] < 600
        memory = figures["mib_at_first_update"][run]
        assert 50 < memory["own"] <= memory["most"] < 10_000
    printed = capsys.readouterr().out
    assert "3,000 utterances: text" in printed
    assert "from the cache" in printed
