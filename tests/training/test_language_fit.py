"""Fits of adapters on a tiny language model that the test writes, through the same loop as every fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_split
from dialog_cvae.data.turns import Blocks, TurnBatch, collate_turns, encode_turns
from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.types import Conversation, Utterance
from eval import dialog
from eval.latent.likelihood import importance_weighted_nll
from tests.dialog_cvae.storage.tiny_bases import drawn, write_folder, write_gguf
from tests.training.processes import together
from tests.training.tiny_runs import Fit, Killed, assert_same_run, conversation, metrics, write_corpus
from training import export
from training.distributed import SINGLE_PROCESS
from training.language_task import DECODING, check_blocks
from training.plan import recipe_name
from training.state import STATE_FILE

SIZES: dict[str, Any] = {"rank": 2, "latent_size": 3, "z_layers": 1, "hidden_size": 5, "bow": True, "block": 3}
CONFIG: dict[str, Any] = {
    "beta": {"cycles": 2, "hold": 0.25},
    "language": SIZES | {"max_context_tokens": 30},
    "train": {
        "max_steps": 8,
        "batch_size": 7,
        "segment": 4,
        "free_bits": 0.02,
        "free_bits_in": "dimension",
        "log_every": 1,
        "save_every": 3,
        "validate_every": 4,
        "early_stopping": False,
        "threads": 1,
    },
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())


def test_blocks_longer_than_the_models_positions_are_refused(base: Path) -> None:
    turns = encode_turns(
        [Conversation(str(i), (*(Utterance("A", "we like cats") for _ in range(4)),), "PETS") for i in range(2)],
        open_backbone(base).tokenizer,
        20,
    )
    lengths = np.diff(turns.offsets)
    for block in (1, 2, 3, 9):
        naive = max(
            int(lengths[begin : min(begin + block, end)].sum())
            for first, end in zip(turns.starts, turns.starts[1:], strict=False)
            for begin in range(first, end)
        )
        assert turns.longest(block) == naive
    sizes = LanguageModelConfig(block=3, max_context_tokens=8)
    check_blocks(turns, sizes, 8 + turns.longest(3))
    with pytest.raises(
        ConfigError, match=r"^language.block: 3 utterances with 8 .* positions: give --language.block 2$"
    ):
        check_blocks(turns, sizes, 7 + turns.longest(3))
    with pytest.raises(ConfigError, match=r"give smaller --language.max-context-tokens and .*$"):
        check_blocks(turns, sizes, 8)


@pytest.fixture(scope="session")
def options(base: Path, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    path = tmp_path_factory.mktemp("language") / "tiny.json"
    path.write_text(json.dumps(CONFIG))
    return ["--data", corpus_file, "--config", path, "--language.backbone", base]


def test_a_fit_writes_adapters_and_names_their_base(
    raw_fit: Fit, options: list[object], base: Path, tmp_path: Path
) -> None:
    assert raw_fit(*options, "--out", "run").status == 0
    out = tmp_path / "run"
    train, valid = metrics(out, "train"), metrics(out, "valid")
    assert [record["step"] for record in valid] == [4, 8]
    assert all(record["without_z"] > 0 for record in (*train, *valid))
    assert [record["beta"] for record in train] == [0.0, 0.0, 0.5, 1.0] * 2
    checkpoint = Checkpoint.load(out / "best")
    assert checkpoint.config.base == open_backbone(base).facts
    assert checkpoint.config.language is not None
    assert checkpoint.config.language.backbone == "tiny.gguf"
    assert checkpoint.config.provenance.licence == "apache-2.0 and that of the user's own conversations"
    assert not any("embedding" in name for name in checkpoint.weights)
    assert str(base.parent) not in checkpoint.config.model_dump_json() + checkpoint.card
    best = max(valid, key=lambda record: float(record["elbo"]))
    assert checkpoint.metrics["without_z"] == best["without_z"]
    model = build_language_model(checkpoint, open_backbone(base))
    assert all(torch.equal(each, torch.from_numpy(checkpoint.weights[name])) for name, each in model.named_parameters())


def test_a_resumed_run_equals_an_uninterrupted_one(
    raw_fit: Fit, options: list[object], at_step: Callable[..., None], tmp_path: Path
) -> None:
    def die() -> None:
        raise Killed

    assert raw_fit(*options, "--out", "whole").status == 0
    at_step(5, die)
    with pytest.raises(Killed):
        raw_fit(*options, "--out", "stopped")
    assert raw_fit("--out", "stopped", "--resume").status == 0
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_and_parts_of_a_batch_equal_one(raw_fit: Fit, options: list[object], tmp_path: Path) -> None:
    assert raw_fit(*options, "--out", tmp_path / "one").status == 0
    assert raw_fit(*options, "--out", tmp_path / "parts", "--train.accumulation", 3).status == 0
    assert all(outcome.status == 0 for outcome in together(2, [*options, "--out", tmp_path / "two"]))
    for other in ("parts", "two"):
        for kind in ("train", "valid"):
            for found, wanted in zip(metrics(tmp_path / other, kind), metrics(tmp_path / "one", kind), strict=True):
                assert found.pop("kind") == wanted.pop("kind")
                assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_a_tiny_set_is_memorised(raw_fit: Fit, tmp_path: Path) -> None:
    weights = drawn()
    weights["final_norm"] = np.full_like(weights["final_norm"], 2.0)  # so that the frozen softmax can be sure
    base = write_gguf(tmp_path / "sure.gguf", weights)
    said = (("hello there", "who are you"), ("what is it", "a cat"), ("and now", "rain rain"))
    lines = [
        {"utterances": [{"speaker": "AB"[i % 2], "text": text} for i, text in enumerate(pair)]} for pair in said * 4
    ]
    corpus = write_corpus(Path("mine.jsonl"), lines)
    sizes = SIZES | {"rank": 16, "hidden_size": 16, "z_layers": 2, "backbone": str(base)}
    train = CONFIG["train"] | {"max_steps": 250, "batch_size": 8, "validate_every": 50, "save_every": 100}
    config = {"language": sizes, "train": train, "learning_rate": {"kind": "linear", "peak": 0.03}}
    Path("config.json").write_text(json.dumps(config))
    assert raw_fit("--data", corpus, "--config", "config.json", "--out", "run").status == 0
    first, last = metrics(Path("run"), "train")[0], metrics(Path("run"), "train")[-1]
    assert first["reconstruction"] > 30
    assert last["reconstruction"] < 2  # which of 3 openings a conversation has cannot be known
    assert last["without_z"] < 2
    assert last["bag_of_words"] < 0.7 * first["bag_of_words"]


def test_bfloat16_and_a_folder_and_no_z(raw_fit: Fit, options: list[object], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny", drawn())
    changes = ("--language.backbone", folder, "--train.precision", "bf16", "--language.latent-size", 0)
    assert raw_fit(*options, *changes, "--out", "run").status == 0
    (valid, *_) = metrics(tmp_path / "run", "valid")
    assert valid["kl"] == 0
    assert "without_z" not in valid  # it would be the reconstruction again
    state = load_file(tmp_path / "run" / STATE_FILE)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_training_goes_on_from_a_checkpoint(raw_fit: Fit, options: list[object], base: Path, tmp_path: Path) -> None:
    assert raw_fit(*options, "--out", "first").status == 0
    before = metrics(tmp_path / "first", "valid")[-1]
    more = ("--init", "first/best", "--out", "second", "--max-steps", 4, "--learning-rate.peak", 1e-9)
    assert raw_fit(*options, *more).status == 0
    assert metrics(tmp_path / "second", "valid")[-1]["without_z"] == pytest.approx(before["without_z"], rel=1e-4)
    refused = raw_fit(*options, "--init", "first/best", "--out", "third", "--language.rank", 3).complaint
    assert refused == "language.rank: the checkpoint of --init has 2, but 3 was asked for"
    refused = raw_fit(*options[:2], "--init", "first/best", "--recipe", "small").complaint
    assert "of the section language, but this run fits model" in refused


def test_without_a_recipe_a_start_on_a_language_model_takes_its_recipe() -> None:
    adapters = Checkpoint.load(Path(__file__).parents[2] / "models" / "sgd-smollm2")
    assert recipe_name(None, adapters) == "smollm2"
    assert recipe_name("small", adapters) == "small"
    assert recipe_name(None, Checkpoint.load(Path(__file__).parents[2] / "models" / "swda")) == "paper"
    assert recipe_name(None, None) == "paper"


def test_another_base_is_refused(raw_fit: Fit, options: list[object], tmp_path: Path) -> None:
    own = write_gguf(tmp_path / "own.gguf", drawn())
    options = [*options, "--language.backbone", own]
    assert raw_fit(*options, "--out", "run", "--max-steps", 4).status == 0
    write_gguf(own, drawn(seed=1))
    assert "has SHA-256" in raw_fit("--out", "run", "--resume").complaint
    found = raw_fit(*options, "--init", "run/best", "--out", "more").complaint
    assert re.search(r"own\.gguf has SHA-256 \w{12}\.\.\., but \w{12}\.\.\. is needed", found)
    with pytest.raises(CheckpointError, match=r"was fitted on the language model tiny \(SHA-256 .*but tiny"):
        build_language_model(Checkpoint.load("run/best"), open_backbone(own))


def test_a_base_that_cannot_be_used_is_one_line(raw_fit: Fit, options: list[object], base: Path) -> None:
    cut = Path("cut.gguf")
    cut.write_bytes(base.read_bytes()[:9000])
    assert "cut.gguf: not a whole GGUF file" in raw_fit(*options, "--language.backbone", cut).complaint
    assert "backbone nothing: no such file" in raw_fit(*options, "--language.backbone", "nothing").complaint
    complaint = raw_fit(*options, "--language.max-context-tokens", 513).complaint
    assert complaint.startswith("language.max_context_tokens must be at most 512, the positions of ")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--train.word-dropout", 0.1, "the reply's words are read once"),
        ("--train.dropout", 0.1, "the reply's words are read once"),
        ("--train.svi.steps", 2, "each step would read the reply again"),
        ("--vectors", "glove.6B.100d", "embeddings of its own"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    raw_fit: Fit, options: list[object], option: str, value: object, reason: str
) -> None:
    complaint = raw_fit(*options, option, value).complaint
    assert complaint.startswith("train.")
    assert f"cannot be used on a language model, but is {value}: " in complaint
    assert reason in complaint


@pytest.mark.parametrize(
    "remedy", [("--train.autoencoder-share", 0.5), ("--train.lagging-updates", 2), ("--train.kl-target", 2.0)]
)
def test_remedies_against_collapse_work(raw_fit: Fit, options: list[object], remedy: tuple[object, ...]) -> None:
    assert raw_fit(*options, *remedy, "--out", "run").status == 0


def test_an_exported_copy_is_the_model_in_half_precision(
    raw_fit: Fit, options: list[object], base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raw_fit(*options, "--out", "run", "--max-steps", 4).status == 0
    capsys.readouterr()
    assert export.main(["run", "small", "--drop-bow"]) == 0
    printed = capsys.readouterr().out
    assert f"the language model tiny is needed (SHA-256 {open_backbone(base).sha256})" in printed
    whole, small = Checkpoint.load("run/best"), Checkpoint.load("small")
    assert small.config.base == whole.config.base
    assert small.config.decoding == whole.config.decoding == DECODING
    assert small.config.language is not None
    assert not small.config.language.bow
    assert small.tokenizer.to_bytes() == whole.tokenizer.to_bytes()
    assert {name for name in whole.weights if name not in small.weights} == {
        f"bow_head.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }
    again = raw_fit(*options, "--init", "small", "--max-steps", 4, "--out", "again")
    assert "the checkpoint has no bag-of-words head: a new one is trained" in again.out
    assert Checkpoint.load("again/best").weights.keys() == whole.weights.keys()
    model = build_language_model(small, open_backbone(base))
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), whole.weights[name], rtol=2**-10, atol=1e-7)
    damaged = Checkpoint(whole.config, dict(list(whole.weights.items())[1:]), whole.tokenizer)
    damaged.save(Path("damaged"))
    assert export.main(["damaged", "copy"]) == 2
    assert re.search(r"damaged/model\.safetensors: weight \S+ is missing", capsys.readouterr().err)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_likelihoods_of_a_checkpoint_are_those_of_its_model(
    raw_fit: Fit, options: list[object], base: Path, precision: str
) -> None:
    assert raw_fit(*options, "--out", "run", "--max-steps", 4).status == 0
    checkpoint = Checkpoint.load("run/best").config.language
    assert checkpoint is not None
    Path(checkpoint.backbone).write_bytes(base.read_bytes())  # a checkpoint names the file alone
    arguments = ["run/best", "--data", str(options[1]), "--samples", "0", "--precision", precision, "--out", "test"]
    assert dialog.main([*arguments, "--importance-samples", "3", "--split", "train"]) == 0
    found = json.loads(Path("test/metrics.json").read_text())
    assert (found["base"], found["precision"], found["iw_samples"]) == ("tiny", precision, 3)
    assert found["nats_z_cost"] == pytest.approx(found["iw_nll"] - found["without_z"])
    assert found["context_exchanged_replies"] > 0
    model = build_language_model(Checkpoint.load("run/best"), open_backbone(base))
    conversations = load_split(DataConfig(name=str(options[1])), "train")[1]
    turns = encode_turns(conversations, open_backbone(base).tokenizer, checkpoint.max_reply_tokens)
    weighted = importance_weighted_nll(model, turns, turns.responses, [3])
    assert found["iw_nll"] == pytest.approx(weighted.nats[3], rel=1e-5 if precision == "fp32" else 0.02)


@given(
    replies=st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True),
    block=st.integers(1, 6),
    pieces=st.integers(1, 4),
)
def test_what_a_reply_reads_does_not_depend_on_how_a_batch_is_divided(
    replies: list[int], block: int, pieces: int
) -> None:
    turns = encode_turns((parsed(conversation(i)) for i in range(12)), _Letters(), 24)
    chosen = turns.responses[sorted(replies)]
    untitled = np.random.default_rng(0).random(len(chosen)) < 0.5
    blocks = Blocks.of(turns, chosen, block, untitled)
    whole = read(collate_turns(turns, chosen, 20, blocks))
    parts = [
        each
        for rows in SINGLE_PROCESS.shards(len(chosen), pieces)
        for each in read(collate_turns(turns, chosen[rows], 20, blocks.rows(rows)))
    ]
    assert parts == whole


class _Letters:
    """A token a letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def parsed(line: dict[str, Any]) -> Conversation:
    said = tuple(Utterance(each["speaker"], each["text"]) for each in line["utterances"])
    return Conversation("", said, line["topic"])


def read(batch: TurnBatch) -> list[str]:
    """What is read for each reply: everything before it, and it."""
    ends = batch.begin + batch.targets + 1
    return ["".join(map(chr, batch.tokens[row, :end])) for row, end in zip(batch.block, ends, strict=True)]
