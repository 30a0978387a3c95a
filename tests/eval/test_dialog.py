"""`python -m eval.dialog` from end to end on the synthetic corpus and an untrained model."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dialog_cvae.config import MAX_CANDIDATES, Decoding, TokenizerConfig
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers import sample
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from eval import generation, vector_coverage
from eval.dialog import main
from eval.dialog_arguments import dialog_parser
from eval.dialog_data import data_config
from eval.in_words import RETRIEVED, sentences
from eval.metrics.bleu import context_bleu
from eval.metrics.diversity import distinct
from eval.metrics.embedding import context_embedding
from eval.metrics.matching import mean_over_contexts
from eval.metrics.tokens import metric_tokens

FIELDS = {"conversation", "position", "topic", "context", "reference", "speaker", "responses"}
CORPUS = sample.read()


@pytest.fixture(autouse=True)
def _no_data_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    texts = [utterance.text for conversation in CORPUS.train for utterance in conversation.utterances]
    tokenizer = Tokenizer.train(texts, TokenizerConfig())
    topics = tuple(sorted({str(conversation.topic) for conversation in CORPUS.train}))
    sizes = dict.fromkeys(("embedding", "utterance", "context", "latent", "decoder", "topic", "prior", "bow"), 8)
    model = ModelConfig(**{f"{name}_size": size for name, size in sizes.items()}, bow=True)
    torch.manual_seed(0)
    network = CVAE(model, len(tokenizer), len(topics))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.4)
    provenance = Provenance(data=CORPUS.name, step=3, fit={"corpus": {"name": "sample"}})
    config = CheckpointConfig(model=model, vocab_size=len(tokenizer), topics=topics, provenance=provenance)
    return Checkpoint(config, weights_of(network), tokenizer)


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best"
    checkpoint.save(path)
    return path


@pytest.fixture
def evaluate(folder: Path, tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Run the command line; returns the lines of responses.jsonl and metrics.json."""

    def run(*arguments: str, out: str = "out") -> tuple[list[dict[str, Any]], dict[str, Any]]:
        target = tmp_path / out
        assert main([str(folder), "--max-tokens", "8", "--out", str(target), *arguments]) == 0
        lines = (target / "responses.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines], json.loads((target / "metrics.json").read_text())

    return run


def test_one_line_for_each_context(evaluate, checkpoint):
    lines, metrics = evaluate("--limit", "6")
    window = checkpoint.config.model.max_context
    expected = [
        {
            "conversation": conversation.id,
            "position": position,
            "topic": conversation.topic,
            "context": [
                {"speaker": u.speaker, "text": u.text}
                for u in conversation.utterances[max(0, position - window) : position]
            ],
            "reference": conversation.utterances[position].text,
            "speaker": conversation.utterances[position].speaker,
        }
        for conversation in CORPUS.test[:6]
        for position in range(1, len(conversation.utterances))
    ]
    assert [{name: line[name] for name in line if name != "responses"} for line in lines] == expected
    assert all(line.keys() == FIELDS and len(line["responses"]) == 5 and all(line["responses"]) for line in lines)
    assert metrics["contexts"] == len(lines)
    assert metrics["windows"] == sum(len(conversation.utterances) for conversation in CORPUS.test[:6])
    assert (metrics["data"], metrics["split"], metrics["conversations"]) == ("sample (synthetic)", "test", 6)
    assert (metrics["samples"], metrics["seed"], metrics["temperature"], metrics["top_p"]) == (5, 0, 0.0, 1.0)
    assert (metrics["step"], metrics["max_tokens"], metrics["allow_unknown"]) == (3, 8, False)


def test_a_limited_number_of_contexts_and_only_words(evaluate, capsys):
    lines, metrics = evaluate("--contexts", "30", "--brief", "--baselines", "--own-decoding")
    assert metrics["contexts"] == len(lines) == 30
    assert max(Counter(line["conversation"] for line in lines).values()) == 3  # a tenth of 30
    ahead = metrics["baselines"]["one reply"]["model_ahead"]["bleu_nltk_3.6_4"]
    assert ahead["low"] <= ahead["mean"] <= ahead["high"]
    recalls = (metrics, metrics["baselines"]["one reply"])
    assert ahead["mean"] == pytest.approx(np.subtract(*(row["bleu_nltk_3.6_4"]["recall"] for row in recalls)))
    *words, last = capsys.readouterr().out.splitlines()
    words = [line for line in words if line != vector_coverage.WITHOUT]
    assert words == [f"- {sentence}" for sentence in sentences(metrics)]
    assert last.startswith("samples, plots and all figures: ")
    assert last.endswith("report.html")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A small GloVe file of two thirds of the words."""
    words = sorted({token for c in CORPUS.test for u in c.utterances for token in metric_tokens(u.text)})
    rng = np.random.default_rng(0)
    rows = (f"{word} {' '.join(f'{x:.4f}' for x in rng.standard_normal(6))}\n" for i, word in enumerate(words) if i % 3)
    path = tmp_path / "glove.tiny.6d.txt"
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_the_metrics_follow_from_the_responses(evaluate, vectors):
    lines, metrics = evaluate("--limit", "8", "--samples", "3", "--temperature", "1", "--vectors", str(vectors))
    contexts = [([metric_tokens(t) for t in line["responses"]], [metric_tokens(line["reference"])]) for line in lines]
    for smoothing, name in (("method7-3.4", "bleu_nltk_3.4.5"), ("method7-3.6", "bleu_nltk_3.6")):
        scores = [context_bleu(*context)[smoothing] for context in contexts]
        for n, of_order in enumerate(zip(*scores, strict=True), start=1):
            score = mean_over_contexts(of_order)
            assert metrics[f"{name}_{n}"] == {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    known = load_vectors(vectors)
    compared = [found for context in contexts if (found := context_embedding(*context, known)) is not None]
    means = map(mean_over_contexts, zip(*compared, strict=True))
    for name, score in zip(("a_bow", "e_bow", "g_bow"), means, strict=True):
        assert metrics[name] == {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    assert metrics["contexts_without_word_vectors"] == len(contexts) - len(compared)
    replies = [reply for hypotheses, _ in contexts for reply in hypotheses]
    for n in (1, 2):
        assert metrics[f"distinct_{n}"] == distinct(replies, n).ratio
    assert metrics["mean_reply_tokens"] == pytest.approx(np.mean([len(reply) for reply in replies]))
    assert metrics["vectors"] == "glove.tiny.6d.txt"


def test_references_as_ids_of_the_vocabulary(evaluate, checkpoint):
    lines, metrics = evaluate("--limit", "3", "--importance-samples", "0", "--references-as", "ids")
    tokenizer = checkpoint.word_tokenizer
    contexts = [
        ([metric_tokens(t) for t in line["responses"]], [tokenizer.tokens(tokenizer.encode(line["reference"])[:38])])
        for line in lines
    ]
    score = mean_over_contexts(context_bleu(*context)["method7-3.4"][0] for context in contexts)
    found = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    assert (metrics["bleu_nltk_3.4.5_1"], metrics["references_as"]) == (found, "ids")


@torch.no_grad()
def test_perplexity_is_that_of_all_pairs_together(evaluate, checkpoint):
    """One window at a time, with the noise of a generator of the same seed."""
    _, metrics = evaluate("--limit", "4", "--seed", "11")
    model = build_model(checkpoint)
    config = checkpoint.config
    corpus = encode_corpus(CORPUS.test[:4], checkpoint.tokenizer, config.topics, config.model.max_utterance_tokens)
    rng = np.random.default_rng(11)
    reconstruction = kl = 0.0
    tokens = 0
    for response in corpus.responses:
        batch = TensorBatch.from_arrays(collate(corpus, np.array([response]), config.model.max_context))
        noise = torch.from_numpy(rng.standard_normal((1, 2, config.model.latent_size), dtype=np.float32))
        encoded = model.encode(batch)
        q, p = model.posterior(encoded), model.prior(encoded.condition)
        z = q.mean + (0.5 * q.logvar).exp() * noise[:, 0]
        reconstruction += float(model.reconstruction(batch, encoded, z))
        spread = [torch.distributions.Normal(g.mean, (0.5 * g.logvar).exp()) for g in (q, p)]
        kl += float(torch.distributions.kl_divergence(*spread).sum())
        tokens += int(batch.target_lengths.sum())
    count = len(corpus.responses)
    assert (metrics["tokens"], metrics["windows"]) == (tokens, count)
    assert metrics["rec_perplexity"] == pytest.approx(math.exp(reconstruction / tokens), rel=1e-5)
    assert metrics["kl"] == pytest.approx(kl / count, rel=1e-5)
    assert metrics["elbo"] == pytest.approx(-(reconstruction + kl) / count, rel=1e-5)
    assert metrics["perplexity_bound"] == pytest.approx(math.exp((reconstruction + kl) / tokens), rel=1e-5)


def test_a_figure_that_is_not_finite_is_null(evaluate, monkeypatch):
    def overflowing(*args, **kwargs):
        return evaluate_elbo(*args, **kwargs)._replace(rec_perplexity=math.inf, kl=math.nan)

    monkeypatch.setattr("eval.latent.model_scores.evaluate_elbo", overflowing)
    _, metrics = evaluate("--limit", "2")
    assert (metrics["rec_perplexity"], metrics["kl"]) == (None, None)


def test_equal_seeds_write_equal_bytes(evaluate, tmp_path):
    common = ("--limit", "5", "--temperature", "1", "--top-p", "0.9")
    for out, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        evaluate(*common, "--seed", seed, out=out)
    first, again, other = ([tmp_path / out / f for f in ("responses.jsonl", "metrics.json")] for out in "abc")
    for one, two, three in zip(first, again, other, strict=True):
        assert one.read_bytes() == two.read_bytes() != three.read_bytes()


@pytest.mark.parametrize("temperature", ["0", "1"])
def test_the_size_of_a_batch_changes_no_reply(evaluate, temperature, monkeypatch):
    arguments = ("--limit", "6", "--temperature", temperature)
    expected, _ = evaluate(*arguments)
    monkeypatch.setattr(generation, "BATCH", 7)
    found, _ = evaluate(*arguments, out="other")
    assert found == expected


def test_a_limit_takes_the_first_conversations(evaluate):
    few, _ = evaluate("--limit", "2")
    more, _ = evaluate("--limit", "4", out="more")
    assert more[: len(few)] == few
    assert {line["conversation"] for line in few} == {conversation.id for conversation in CORPUS.test[:2]}


def test_other_splits(evaluate):
    for split in ("train", "valid"):
        lines, metrics = evaluate("--limit", "1", "--split", split, out=split)
        assert {line["conversation"] for line in lines} == {getattr(CORPUS, split)[0].id}
        assert metrics["split"] == split


def test_without_vectors_the_embedding_scores_are_left_out(evaluate, capsys):
    _, metrics = evaluate("--limit", "1")
    assert not {"a_bow", "e_bow", "g_bow"} & metrics.keys()
    assert metrics["vectors"] is None
    out = capsys.readouterr().out
    assert "no word vectors: A-bow, E-bow and G-bow are left out. pip install 'dialog-cvae[vectors]' brings" in out


def test_vectors_in_the_folder_of_the_corpora_are_found(evaluate, vectors, tmp_path):
    (tmp_path / "data" / "glove").mkdir(parents=True)
    for name in ("glove.tiny.6d", "glove.6B.50d"):
        with gzip.open(tmp_path / "data" / "glove" / f"{name}.txt.gz", "wb") as file:
            file.write(vectors.read_bytes())
    (tmp_path / "data" / "glove" / "README.md").write_text("Where these come from.")
    expected = evaluate("--limit", "2", "--vectors", str(vectors))[1]["a_bow"]
    data = ("--data-dir", str(tmp_path / "data"))
    metrics = evaluate("--limit", "2", *data)[1]
    assert (metrics["a_bow"], metrics["vectors"]) == (expected, "glove.6B.50d.txt.gz")
    assert evaluate("--limit", "2", *data, "--vectors", "glove.tiny.6d")[1]["a_bow"] == expected


def test_the_package_of_vectors_is_the_default(evaluate, vectors, monkeypatch):
    words = [line.split() for line in vectors.read_text().splitlines()]
    read = {line[0]: index for index, line in enumerate(words)}, np.array([line[1:] for line in words], np.float32)
    expected = evaluate("--limit", "2", "--vectors", str(vectors))[1]["a_bow"]
    monkeypatch.setattr("dialog_cvae.data.packaged_vectors.is_installed", lambda: True)
    monkeypatch.setattr("dialog_cvae.data.packaged_vectors.read_packaged", lambda _: read)
    metrics = evaluate("--limit", "2")[1]
    assert (metrics["a_bow"], metrics["vectors"]) == (expected, "glove.6B.50d")


def test_vectors_without_any_of_the_words_give_no_scores(evaluate, tmp_path):
    (tmp_path / "strange.txt").write_text("zzz 1 2\nyyy 3 4\n")
    lines, metrics = evaluate("--limit", "2", "--vectors", str(tmp_path / "strange.txt"))
    assert "a_bow" not in metrics
    assert metrics["contexts_without_word_vectors"] == len(lines)


def load_columns(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_every_score_of_every_context_is_written(evaluate, vectors, tmp_path):
    lines, metrics = evaluate("--limit", "6", "--samples", "2", "--vectors", str(vectors))
    columns = load_columns(tmp_path / "out" / "contexts.npz")
    places = [(line["conversation"], line["position"]) for line in lines]
    assert list(zip(columns["conversation"].tolist(), columns["position"].tolist(), strict=True)) == places
    assert {column.shape for column in columns.values()} == {(len(lines),)}
    for name in ("bleu_nltk_3.4.5_4", "bleu_nltk_3.6_1", "a_bow", "g_bow"):
        for part in ("precision", "recall"):
            assert np.nanmean(columns[f"{name}.{part}"]) == pytest.approx(metrics[name][part])
    assert columns["distinct_replies"].mean() == metrics["distinct_replies_per_context"]
    assert {"kl", "iw_nll", "floor_change"} <= columns.keys()


def references_file(path: Path, count: int = 6) -> Path:
    """Two more references for the contexts of the first conversations, in the project's form."""
    items = [
        {
            "conversation": conversation.id,
            "position": position,
            "responses": [conversation.utterances[position].text, "yes , i do", "i don't know"],
            "resp_dialog_acts": [None] * 3,
        }
        for conversation in CORPUS.test[:count]
        for position in range(1, len(conversation.utterances))
    ]
    path.write_text(json.dumps(items), encoding="utf-8")
    return path


def test_several_references(evaluate, tmp_path):
    file = references_file(tmp_path / "refs.json")
    lines, metrics = evaluate("--limit", "7", "--references", str(file))
    said = [([metric_tokens(t) for t in line["responses"]], metric_tokens(line["reference"])) for line in lines]
    covered = {conversation.id for conversation in CORPUS.test[:6]}
    more = [metric_tokens("yes , i do"), metric_tokens("i don't know")]
    contexts = [(h, [r, *more]) for (h, r), line in zip(said, lines, strict=True) if line["conversation"] in covered]
    expected = mean_over_contexts(context_bleu(*context)["method7-3.4"][3] for context in contexts)
    assert metrics["bleu_nltk_3.4.5_4"] == {
        "precision": expected.precision,
        "recall": expected.recall,
        "f1": expected.f1,
    }
    assert (metrics["references"], metrics["references_per_context"]) == ("refs.json", 3.0)
    assert metrics["contexts_with_references"] == len(contexts) < len(lines) == metrics["contexts"]
    _, plain = evaluate("--limit", "7", "--references", "none", out="plain")
    assert metrics["gold"]["bleu_nltk_3.4.5_4"] == plain["bleu_nltk_3.4.5_4"]
    assert plain["references"] is None


def test_conversations_without_references_can_be_left_out(evaluate, tmp_path, capsys):
    file = references_file(tmp_path / "refs.json", count=2)
    arguments = ("--importance-samples", "0", "--samples", "1", "--references", str(file))
    assert len({line["conversation"] for line in evaluate("--limit", "3", *arguments)[0]}) == 3
    assert f"note: only 2 of {len(CORPUS.test)} conversations have references; " in capsys.readouterr().out
    lines, metrics = evaluate(*arguments, "--only-referenced", out="few")
    assert {line["conversation"] for line in lines} == {conversation.id for conversation in CORPUS.test[:2]}
    assert metrics["conversations"] == 2


def test_references_of_other_conversations_are_refused(folder, tmp_path, capsys):
    file = references_file(tmp_path / "refs.json")
    arguments = ["--split", "valid", "--references", str(file), "--out", str(tmp_path / "out")]
    assert status([str(folder), *arguments]) == 2
    assert_refusal(capsys, "refs.json: item 1: conversation is")
    assert not (tmp_path / "out").exists()


def test_baselines_are_rows_next_to_the_model(evaluate, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eval.margins.FEW", 2)
    file = references_file(tmp_path / "refs.json", len(CORPUS.test))
    _, metrics = evaluate("--limit", "3", "--samples", "2", "--baselines", "--references", str(file))
    assert {"random utterances", "one reply", "nearest neighbours"} < metrics["baselines"].keys()
    assert sum(name == "the other references" for name in metrics["baselines"]) == 1
    for figures in (metrics, *metrics["baselines"].values()):
        assert {"bleu_nltk_3.4.5_4", "distinct_replies_per_context", "verbatim_from_training"} <= figures.keys()
    assert all(name.startswith("gold.") for name in metrics["baselines"]["nearest neighbours"]["model_ahead"])
    assert not any(name.startswith("gold.") for name in metrics["baselines"]["one reply"]["model_ahead"])
    assert metrics["baselines"]["nearest neighbours"]["model_ahead"]
    assert metrics["baselines"]["one reply"]["distinct_replies_per_context"] == 1.0
    assert metrics["baselines"]["random utterances"]["verbatim_from_training"] == 1.0
    printed = capsys.readouterr().out
    assert "| the model |" in printed
    assert "| one reply |" in printed
    assert RETRIEVED in printed


def test_ten_replies_by_dialogwaes_protocol(evaluate):
    lines, metrics = evaluate("--limit", "2", "--samples", "2", "--single-reference")
    assert {len(line["responses"]) for line in lines} == {2}
    assert metrics["single_reference"]["contexts"] == len(lines)
    assert "bleu3_end_nltk_3_4_5_f1" in metrics["single_reference"]


def test_importance_samples_may_be_left_out(evaluate):
    _, some = evaluate("--limit", "2", "--importance-samples", "3")
    _, none = evaluate("--limit", "2", "--importance-samples", "0", out="none")
    assert (some["iw_samples"], none.get("iw_samples")) == (3, None)
    assert some["iw_nll"] < -some["elbo"] + 0.5
    assert {name: some[name] for name in none if name != "iw_nll"} == none
    assert {"nats_context_exchanged", "nats_context_exchanged_se"} <= some.keys() - none.keys()


def test_rows_without_a_model_do_not_reply_to_their_own_conversations(folder, tmp_path, capsys):
    assert status([str(folder), "--baselines", "--split", "train", "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "--baselines: their replies come from the training split: choose --split valid or test")


def test_likelihoods_alone(evaluate, folder, tmp_path, capsys):
    _, full = evaluate("--limit", "3")
    out = tmp_path / "nats"
    out.mkdir()
    (out / "samples.md").write_text("of an earlier evaluation")
    assert main([str(folder), "--samples", "0", "--limit", "3", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert not (out / "responses.jsonl").exists()
    assert not (out / "samples.md").exists()
    for name in ("iw_nll", "elbo", "kl", "nats_context_exchanged", "paper_kl"):
        assert metrics[name] == full[name]
    assert {"contexts", "distinct_greedy"} <= full.keys() - metrics.keys()
    columns, all_columns = (load_columns(tmp_path / name / "contexts.npz") for name in ("nats", "out"))
    assert columns.keys() == {"conversation", "position", "kl", "iw_nll"}
    assert all(np.array_equal(columns[name], all_columns[name]) for name in columns)
    printed = capsys.readouterr().out
    assert "no replies (--samples 0): likelihoods only" in printed
    assert "can be compared between models whose vocabularies differ" in printed


@pytest.mark.parametrize(
    "option",
    [
        ["--baselines"],
        ["--single-reference"],
        ["--own-decoding"],
        ["--references", "r.json"],
        ["--references-as", "ids"],
        ["--vectors", "v.txt"],
        ["--temperature", "0.5"],
        ["--candidates", "8"],
        ["--allow-unknown"],
    ],
)
def test_options_on_replies_are_refused_without_replies(folder, tmp_path, capsys, option):
    assert status([str(folder), "--samples", "0", *option, "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, f"{option[0]}: has no effect with --samples 0, which draws no replies")


def test_the_same_command_again_computes_nothing(evaluate, tmp_path, monkeypatch):
    first = evaluate("--limit", "3", "--samples", "2")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    for name in ("checkpoint_scores.model_scores", "checkpoint_replies.draw_replies", "scoring.reply_scores"):
        monkeypatch.setattr(f"eval.{name}", lambda *_, **__: pytest.fail("computed again"))
    assert evaluate("--limit", "3", "--samples", "2") == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()} == before


def test_own_decoding_uses_the_checkpoints_decoding(checkpoint, tmp_path):
    own = checkpoint.config.model_copy(update={"decoding": Decoding(temperature=0.7, candidates=6, max_tokens=7)})
    replace(checkpoint, config=own).save(tmp_path / "best")

    def drawn(*options: str) -> dict[str, Any]:
        assert main([str(tmp_path / "best"), "--limit", "1", "--out", str(tmp_path / "out"), *options]) == 0
        metrics: dict[str, Any] = json.loads((tmp_path / "out" / "metrics.json").read_text())
        return {name: metrics[name] for name in ("temperature", "candidates", "max_tokens", "top_p")}

    assert drawn() == {"temperature": 0.0, "candidates": 0, "max_tokens": 40, "top_p": 1.0}
    assert drawn("--own-decoding") == {"temperature": 0.7, "candidates": 6, "max_tokens": 7, "top_p": 1.0}
    over = drawn("--own-decoding", "--temperature", "0.5", "--top-p", "0.5")
    assert over == {"temperature": 0.5, "candidates": 6, "max_tokens": 7, "top_p": 0.5}
    assert drawn("--own-decoding", "--top-p", "0.5")["top_p"] == 0.5


# Other data.


def own_conversations(path: Path, count: int = 12) -> Path:
    """A file of three speakers, without topics."""
    lines = (
        {
            "utterances": [
                {"speaker": "ABC"[(i + j) % 3], "text": f"tell me more about {i} and {j} 😀"} for j in range(4)
            ]
        }
        for i in range(count)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_users_own_conversations(evaluate, tmp_path):
    lines, metrics = evaluate("--data", str(own_conversations(tmp_path / "mine.jsonl", 30)))
    assert metrics["data"] == "mine"
    assert metrics["conversations"] == 3  # a tenth
    assert {(line["topic"], len(line["responses"])) for line in lines} == {(None, 5)}
    assert "😀" in lines[0]["reference"]


def test_a_checkpoint_of_a_users_own_file(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = checkpoint.config.model_copy(
        update={"provenance": Provenance(data="mine", fit={"corpus": {"name": "mine.jsonl", "test_share": 0.5}})}
    )
    replace(checkpoint, config=config).save(tmp_path / "best")
    assert main(["best", "--out", "out", "--max-tokens", "4"]) == 2
    assert_refusal(capsys, "error: --data: best was fitted on a file mine.jsonl, which is not in this folder; give its")
    own_conversations(tmp_path / "mine.jsonl", 10)
    assert main(["best", "--out", "out", "--max-tokens", "4"]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["conversations"] == 5


def test_replies_of_one_speaker_are_evaluated_as_in_training_unless_others_are_named(checkpoint, tmp_path, capsys):
    config = checkpoint.config.model_copy(
        update={"provenance": Provenance(data="sample", fit={"corpus": {"name": "sample", "respond_as": ["b"]}})}
    )
    replace(checkpoint, config=config).save(tmp_path / "best")

    def evaluated(*options: str) -> dict[str, Any]:
        out = tmp_path / "out"
        common = ("--max-tokens", "4", "--limit", "4", "--importance-samples", "2", "--out", str(out))
        assert main([str(tmp_path / "best"), *common, *options]) == 0
        return json.loads((out / "metrics.json").read_text()) | {
            "rows": len((out / "responses.jsonl").read_text().splitlines())
        }

    said = [u.speaker for c in CORPUS.test[:4] for u in c.utterances]
    later = [u.speaker for c in CORPUS.test[:4] for u in c.utterances[1:]]
    for options, wanted in (((), "B"), (("--respond-as", "A"), "A")):
        metrics = evaluated(*options)
        assert (metrics["respond_as"], metrics["windows"], metrics["rows"]) == (
            wanted,
            said.count(wanted),
            later.count(wanted),
        )
        assert "paper_kl" not in metrics
    metrics = evaluated("--respond-as", "")
    assert ("respond_as" in metrics, metrics["windows"], metrics["rows"]) == (False, len(said), len(later))
    assert main([str(tmp_path / "best"), "--respond-as", "C", "--out", str(tmp_path / "no")]) == 2
    assert "no speaker of sample (synthetic) is 'C'; it has B 2,058, A 2,027" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_say_what_it_was_fitted_on(checkpoint, tmp_path, capsys):
    unsaid = checkpoint.config.model_copy(update={"provenance": Provenance(data="x")})
    replace(checkpoint, config=unsaid).save(tmp_path / "unsaid")
    assert main([str(tmp_path / "unsaid"), "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "does not say what it was fitted on; name a corpus")
    broken = unsaid.model_copy(update={"provenance": Provenance(data="x", fit={"corpus": {"name": ["sample"]}})})
    replace(checkpoint, config=broken).save(tmp_path / "broken")
    assert main([str(tmp_path / "broken"), "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "config.json: field provenance.fit.corpus is broken")


def test_zhao2017_with_only_one_split(evaluate, data_folder_variable, tmp_path, folder, capsys):
    original = data_folder_variable / "zhao2017" / "valid.jsonl"
    if not original.is_file():
        pytest.skip("DIALOG_CVAE_DATA has no zhao2017/valid.jsonl")
    (tmp_path / "data" / "zhao2017").mkdir(parents=True)
    shutil.copy(original, tmp_path / "data" / "zhao2017")
    data = ("--data", "zhao2017", "--data-dir", str(tmp_path / "data"))
    lines, metrics = evaluate(*data, "--split", "valid", "--limit", "1", "--samples", "1")
    assert metrics["conversations"] == 1
    assert len(lines) > 10
    assert main([str(folder), *data, "--out", str(tmp_path / "test")]) == 2
    assert_refusal(capsys, "test.jsonl")


@pytest.fixture(scope="session")
def data_folder_variable(data_folder: Path) -> Path:
    """The folder of real corpora, asked for before a test hides its variable."""
    return data_folder


@pytest.mark.parametrize(
    ("stored", "reading"),
    [({"reading": 2}, 2), ({"reading": 1}, 1), ({}, 1)],
    ids=["of today", "kept since reading 1", "from before there were two"],
)
def test_a_corpus_is_split_by_the_rules_of_its_fit(checkpoint, stored, reading):
    fit = {"corpus": {"name": "mine.jsonl", **stored}}
    provenance = checkpoint.config.provenance.model_copy(update={"fit": fit})
    old = replace(checkpoint, config=checkpoint.config.model_copy(update={"provenance": provenance}))
    arguments = dialog_parser().parse_args(["run/best", "--data", "here/mine.jsonl", "--out", "out"])
    config = data_config(arguments, old)
    assert (config.name, config.reading) == ("here/mine.jsonl", reading)


# Refusals.


def assert_refusal(capsys: pytest.CaptureFixture[str], message: str) -> None:
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-p", "0.9"], "--top-p 0.9: has no effect at temperature 0; give --temperature too"),
        (["--data", "nothing"], "nothing: unknown corpus; known are swda, zhao2017, sample"),
        (["--data", "nothing.jsonl"], "nothing.jsonl: cannot be read"),
        (["--data", "zhao2017"], "zhao2017: not found"),
        (["--data-dir", "nowhere"], "nowhere: no such folder (--data-dir)"),
        (["--vectors", "nothing.txt"], "nothing.txt: no such file"),
        (["--device", "gpu"], "device"),
        (["--out", "taken"], "--out: taken cannot be created (File exists)"),
        (["--out", "taken/out"], "--out: taken/out cannot be created (Not a directory)"),
        (["--samples", "-1"], "argument --samples: must be a whole number from 0 to 1000, but is -1"),
        (["--samples", "2.5"], "argument --samples: must be a whole number from 0 to 1000, but is 2.5"),
        (["--samples", "many"], "but is many"),
        (["--seed", "-1"], "argument --seed: must be a whole number from 0"),
        (["--seed", "9" * 5000], "argument --seed: must be a whole number from 0"),
        (["--temperature", "-1"], "argument --temperature: must be 0 or from 0.01 to 10, but is -1"),
        (["--temperature", "0.001"], "argument --temperature: must be 0 or from 0.01 to 10, but is 0.001"),
        (["--temperature", "warm"], "argument --temperature: must be 0 or from 0.01 to 10, but is warm"),
        (["--temperature", "nan"], "but is nan"),
        (["--top-p", "0"], "argument --top-p: must be from 0.001 to 1, but is 0"),
        (["--top-p", "1.5"], "argument --top-p: must be from 0.001 to 1, but is 1.5"),
        (["--max-tokens", "0"], "argument --max-tokens: must be a whole number from 1 to 1000, but is 0"),
        (["--importance-samples", "-1"], "argument --importance-samples: must be a whole number from 0"),
        (["--prior-temperature", "11"], "argument --prior-temperature: must be from 0 to 10, but is 11"),
        (
            ["--candidates", "5000"],
            f"argument --candidates: must be a whole number from 0 to {MAX_CANDIDATES}, but is 5000",
        ),
        (["--references", "nothing.json"], "nothing.json: cannot be read"),
        (["--only-referenced"], "--only-referenced: needs a file of --references"),
        (["--threads", "0"], "argument --threads: must be a whole number from 1 to 1024, but is 0"),
        (["--limit", "0"], "argument --limit: must be a whole number"),
        (["--split", "dev"], "argument --split: invalid choice: 'dev'"),
        (["--style", "loud"], "argument --style: invalid choice: 'loud'"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    assert status([str(folder), "--out", "out", *arguments]) == 2
    assert_refusal(capsys, message)
    assert not (tmp_path / "out" / "responses.jsonl").exists()


def status(argv: list[str]) -> int:
    """The exit status, whether it is returned or raised."""
    try:
        return main(argv)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_a_missing_checkpoint_and_a_missing_out_are_refused(tmp_path, folder, capsys):
    assert status([str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "nothing: no checkpoint folder there")
    assert status([str(folder)]) == 2
    assert_refusal(capsys, "the following arguments are required: --out")
    assert status([]) == 2
    assert_refusal(capsys, "the following arguments are required: checkpoint, --out")


def test_the_checkpoint_is_never_overwritten(folder, capsys):
    before = (folder / "metrics.json").read_bytes()
    assert status([str(folder), "--out", f"{folder}/../best"]) == 2
    assert_refusal(capsys, "is the checkpoint itself, whose metrics.json would be overwritten")
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_gpu_is_refused(folder, tmp_path, capsys):
    assert status([str(folder), "--device", "cuda", "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "error: device cuda can't be used here: ")


def test_a_folder_without_write_permission_is_refused(folder, tmp_path, monkeypatch, capsys):
    # root may write anywhere, so the permission is refused here
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert status([str(folder), "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "out is not writable")


def test_a_full_disk_is_reported_in_one_line(folder, tmp_path, monkeypatch, capsys):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert status([str(folder), "--limit", "1", "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "responses.jsonl: cannot be written (No space left on device)")


def test_broken_vectors_are_refused_before_the_sampling(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.txt").write_text("a 1 2\nb 1 2 3\nc 1 2\n")
    monkeypatch.setattr("eval.checkpoint_replies.draw_replies", lambda *_: pytest.fail("sampled"))
    assert status([str(folder), "--vectors", str(tmp_path / "broken.txt"), "--out", str(tmp_path / "out")]) == 2
    assert_refusal(capsys, "broken.txt, line 2: expected 2 numbers after the word, got 3")


def test_an_interruption_prints_no_traceback(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.checkpoint_replies.draw_replies", interrupt)
    assert status([str(folder), "--limit", "1", "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_has_examples_and_explains_the_scores():
    run = subprocess.run([sys.executable, "-m", "eval.dialog", "--help"], capture_output=True, text=True, check=True)
    for word in (
        "python -m eval.dialog runs/mine/best",
        "--temperature",
        "nats_context_exchanged",
        "vocabularies",
        "precision",
        "Departures",
        "NLTK",
        "default",
    ):
        assert word in run.stdout
    assert run.stderr == ""
