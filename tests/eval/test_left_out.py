"""An evaluation leaves out the conversations that the model was trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation
from eval.blind.__main__ import main as blind
from eval.blind.sheet import Key
from eval.dialog import main
from tests.training.tiny_runs import conversation, write_corpus


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "grown.jsonl", [conversation(i) for i in range(40)])


@pytest.fixture
def folder(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A model that was fitted when the file had 12 conversations."""
    earlier = write_corpus(tmp_path / "earlier.jsonl", [conversation(i) for i in range(12)])
    trained = TrainedConversations.of(load_corpus(DataConfig(name=str(earlier))).train)
    replace(tiny_checkpoint, trained=trained).save(tmp_path / "best")
    return tmp_path / "best"


def of_split(file: Path, folder: Path) -> tuple[list[Conversation], list[Conversation]]:
    """The test conversations, and those of them that the model was not trained on."""
    trained = Checkpoint.load(folder).trained
    assert trained is not None
    test = list(load_corpus(DataConfig(name=str(file))).test)
    return test, [each for each, is_trained in zip(test, trained.contain(test), strict=True) if not is_trained]


def test_what_the_model_was_trained_on_is_left_out(folder, grown, tmp_path, capsys):
    test, remaining = of_split(grown, folder)
    assert 0 < len(remaining) < len(test)
    out = tmp_path / "out"
    assert main([str(folder), "--data", str(grown), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["conversations"] == len(remaining)
    assert metrics["left_out"] == len(test) - len(remaining)
    answered = {json.loads(line)["conversation"] for line in (out / "responses.jsonl").read_text().splitlines()}
    assert answered == {each.id for each in remaining}
    printed = capsys.readouterr().out
    count = f"{len(test) - len(remaining)} of the {len(test)} conversations "
    assert f"note: {count}" in printed
    assert "Left out: " in printed
    # the training split is scored as it is
    assert main([str(folder), "--data", str(grown), "--out", str(out), "--split", "train", "--limit", "3"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["conversations"] == 3
    assert "left_out" not in metrics


def test_a_sheet_for_readers_leaves_it_out_too(folder, grown, tmp_path, capsys):
    _, remaining = of_split(grown, folder)
    asked = ["--data", str(grown), "--contexts", "3", "--shown", "2", "--out", str(tmp_path / "sheet")]
    assert blind(["sheet", *asked, f"tiny={folder}", "people"]) == 0
    read = [each.conversation for each in Key.load(tmp_path / "sheet" / "key.json").contexts]
    # the same contexts as without a model, less those of conversations that it was trained on
    listed = tmp_path / "contexts.jsonl"
    assert blind(["contexts", *asked[:-1], str(listed)]) == 0
    every = [json.loads(line)["conversation"] for line in listed.read_text().splitlines()]
    assert read == [name for name in every if name in {each.id for each in remaining}]
    assert f"note: {len(every) - len(read)} of {len(every)} contexts are left out" in capsys.readouterr().err
    assert 0 < len(read) < len(every)
    # with the sources of the sheet, its own contexts
    assert blind(["contexts", *asked[:-1], str(listed), f"tiny={folder}", "mine=later.jsonl"]) == 0
    assert read == [json.loads(line)["conversation"] for line in listed.read_text().splitlines()]


def test_a_split_of_nothing_else_is_refused(folder, grown, tiny_checkpoint, tmp_path, capsys):
    trained = TrainedConversations.of(load_corpus(DataConfig(name=str(grown))).test)
    replace(tiny_checkpoint, trained=trained).save(folder)
    assert main([str(folder), "--data", str(grown), "--out", str(tmp_path / "out")]) == 2
    assert "--split test: all of its" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
