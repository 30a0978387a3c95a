"""`training.export`: half the size, the same model, and its changes in the provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dialog_cvae
from dialog_cvae.config import Decoding
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.readers import sample
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import CONFIG, TRAINED, WEIGHTS
from dialog_cvae.types import Conversation, Utterance
from eval import dialog
from tests.conftest import make_model
from tests.training.tiny_runs import Fit, Outcome
from training import export
from training.state import STATE_FILE

ROUNDED, HEADLESS = "weights rounded to fp16", "bag-of-words head left out"
Export = Callable[..., Outcome]


@pytest.fixture
def run_export(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """`training.export` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object) -> Outcome:
        capsys.readouterr()
        status = export.main([str(option) for option in options])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def best(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    fit = {"corpus": {"name": "sample"}, "model": {"bow": True}}
    provenance = tiny_checkpoint.config.provenance.model_copy(update={"fit": fit})
    config = tiny_checkpoint.config.model_copy(update={"provenance": provenance})
    replace(tiny_checkpoint, config=config).save(tmp_path / "run" / "best")
    return tmp_path / "run" / "best"


def changed(folder: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    checkpoint = Checkpoint.load(folder)
    weights = {**checkpoint.weights, name: change(checkpoint.weights[name])}
    replace(checkpoint, weights=weights).save(folder)


@pytest.mark.parametrize("source", ["run", "run/best"])
def test_half_precision(run_export: Export, best: Path, source: str) -> None:
    done = run_export(source, "models/tiny")
    assert (done.status, done.error) == (0, "")
    before, after = Checkpoint.load(best), Checkpoint.load("models/tiny")
    assert {weight.dtype for weight in after.weights.values()} == {np.dtype(np.float16)}
    for name, weight in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], weight.astype(np.float16))
    assert after.config.provenance.changes == (ROUNDED,)
    assert after.config.model == before.config.model
    assert (after.metrics, after.card) == (before.metrics, before.card)
    errors: dict[str, float] = {}
    for name, weight in before.weights.items():
        matrix = weight.ndim > 1
        exact, half = (
            w.astype(np.float64) if matrix else w.astype(np.float64)[None] for w in (weight, after.weights[name])
        )
        for i, (row, rounded) in enumerate(zip(exact, half, strict=True)):
            label = f"row {i} of weight {name}" if matrix else f"weight {name}"
            errors[label] = float(np.linalg.norm(row - rounded) / np.linalg.norm(row))
    worst = max(errors, key=errors.__getitem__)
    weights = sum(weight.size for weight in before.weights.values())
    assert f"{weights:,} weights in fp16" in done.out
    assert f"largest relative change {errors[worst]:.2g} ({worst})" in done.out


def test_a_normalised_posterior_survives_half_precision(
    run_export: Export, best: Path, tiny_config: ModelConfig, encoded: EncodedCorpus
) -> None:
    config, checkpoint = tiny_config.model_copy(update={"posterior_norm": 0.6}), Checkpoint.load(best)
    network = make_model(config, checkpoint.tokenizer).train()
    state = network.encode(network.batch(encoded, encoded.responses))
    with torch.no_grad():
        network.recognition_network.weight[1] *= 1e-4  # the normalisation makes it as large as the others
        for _ in range(100):
            network.posterior(state)
    sized = checkpoint.config.model_copy(update={"model": config})
    replace(checkpoint, config=sized, weights=weights_of(network)).save(best)
    assert run_export(best, "out").status == 0
    exact, half = (evaluate_elbo(build_model(Checkpoint.load(folder)), encoded) for folder in (best, Path("out")))
    assert half.kl == pytest.approx(exact.kl, rel=1e-3)
    assert half.elbo == pytest.approx(exact.elbo, rel=1e-3)
    kinds = {name: weight.dtype for name, weight in Checkpoint.load("out").weights.items()}
    single = {name for name, kind in kinds.items() if kind == np.float32}
    assert single == {name for name in kinds if name.startswith(("recognition_network.", "mean_norm."))}


def test_half_precision_halves_the_size(run_export: Export, best: Path, tiny_checkpoint: Checkpoint) -> None:
    config = ModelConfig(latent_size=20)
    network = CVAE(config, tiny_checkpoint.config.vocab_size, 2)
    sized = tiny_checkpoint.config.model_copy(update={"model": config})
    replace(tiny_checkpoint, config=sized, weights=weights_of(network)).save(best)
    assert run_export(best, "out").status == 0
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (best, Path("out"))]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)


def test_dropping_the_head_changes_no_likelihood_and_no_reply(
    run_export: Export, best: Path, encoded: EncodedCorpus
) -> None:
    done = run_export(best, "out", "--drop-bow", "--precision", "fp32")
    assert "largest relative change 0\n" in done.out
    before, after = Checkpoint.load(best), Checkpoint.load("out")
    assert before.config.model.bow
    assert not after.config.model.bow
    assert after.config.provenance.changes == (HEADLESS,)
    assert after.config.provenance.fit["model"]["bow"]  # how it was fitted
    assert before.weights.keys() - after.weights.keys() == {n for n in before.weights if n.startswith("bow_head.")}
    reports = [evaluate_elbo(build_model(checkpoint), encoded) for checkpoint in (before, after)]
    assert reports[0].bag_of_words is not None
    assert reports[0]._replace(bag_of_words=None) == reports[1]
    talk = Conversation("talk", (Utterance("A", "we like cats"),))
    replies = [dialog_cvae.load(folder).respond(talk, respond_as="B") for folder in (best, "out")]
    assert replies[0] == replies[1]


def test_the_hashes_of_training_conversations_stay_unless_they_are_dropped(
    run_export: Export, best: Path, conversations: list[Conversation]
) -> None:
    trained = TrainedConversations.of(conversations)
    replace(Checkpoint.load(best), trained=trained).save(Path("own"))
    assert run_export("own", "copy").status == 0
    kept = Checkpoint.load("copy").trained
    assert kept is not None
    assert kept.to_bytes() == trained.to_bytes()
    assert run_export("own", "out", "--drop-trained").status == 0
    dropped = Checkpoint.load("out")
    assert dropped.trained is None
    assert dropped.config.provenance.changes[0] == "hashes of the training conversations left out"
    assert not (Path("out") / TRAINED).exists()
    assert "--drop-trained: the checkpoint has no hashes" in run_export("out", "again", "--drop-trained").error


def test_export_with_both_options_and_again(run_export: Export, best: Path) -> None:
    assert run_export(best, "first", "--drop-bow").status == 0
    assert Checkpoint.load("first").config.provenance.changes == (HEADLESS, ROUNDED)
    again = run_export("first", "second")
    assert "largest relative change 0\n" in again.out
    assert (Path("first") / WEIGHTS).read_bytes() == (Path("second") / WEIGHTS).read_bytes()
    assert (Path("first") / CONFIG).read_bytes() == (Path("second") / CONFIG).read_bytes()
    assert run_export("first", "single", "--precision", "fp32").status == 0
    assert {weight.dtype for weight in Checkpoint.load("single").weights.values()} == {np.dtype(np.float32)}


def test_an_export_evaluates_like_the_original(run_export: Export, best: Path) -> None:
    assert run_export(best, "half", "--drop-bow").status == 0
    figures = []
    for folder in (best, Path("half")):
        options = ("--limit", 3, "--samples", 2, "--max-tokens", 6, "--out", f"of-{folder.name}")
        assert dialog.main([str(option) for option in (folder, *options)]) == 0
        figures.append(json.loads(Path(f"of-{folder.name}/metrics.json").read_text()))
    for name in ("elbo", "kl", "reconstruction", "rec_perplexity"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=2e-3), name
        assert figures[1][name] != figures[0][name]


def test_training_can_start_from_an_export(run_export: Export, fit: Fit, whole_run: Path) -> None:
    assert run_export(whole_run, "half").status == 0
    assert fit("--init", "half", "--out", "more").status == 0
    assert Checkpoint.load("more/best").weights["decoder.output.weight"].dtype == np.float32


def test_a_decoder_without_z_can_be_exported(run_export: Export, best: Path, tiny_checkpoint: Checkpoint) -> None:
    config = tiny_checkpoint.config.model.model_copy(update={"latent_size": 0})
    torch.manual_seed(0)
    weights = weights_of(CVAE(config, tiny_checkpoint.config.vocab_size, 2))
    replace(tiny_checkpoint, config=tiny_checkpoint.config.model_copy(update={"model": config}), weights=weights).save(
        best
    )
    assert run_export(best, "out", "--drop-bow").status == 0
    assert build_model(Checkpoint.load("out")).config.latent_size == 0
    options = ("--limit", "3", "--samples", "2", "--max-tokens", "6", "--temperature", "1", "--out", "scores")
    assert dialog.main(["out", *options]) == 0
    figures = json.loads(Path("scores/metrics.json").read_text())
    assert (figures["kl"], figures["active_units"], figures["paper_kl"]) == (0.0, 0, 0.0)
    assert figures["iw_nll"] == pytest.approx(-figures["elbo"], rel=1e-6)


def test_card_and_metrics_are_replaced(run_export: Export, best: Path) -> None:
    Path("card.md").write_text("# Shipped\n")
    Path("measured.json").write_text('{"bleu": 0.5}')
    assert run_export(best, "out", "--card", "card.md", "--metrics", "measured.json").status == 0
    after = Checkpoint.load("out")
    assert (after.card, after.metrics) == ("# Shipped\n", {"bleu": 0.5})


def test_the_licence_of_the_weights_is_replaced(run_export: Export, best: Path) -> None:
    before = Checkpoint.load(best).config.provenance
    assert run_export(best, "open", "--licence", "CC BY-SA 4.0").status == 0
    after = Checkpoint.load("open").config.provenance
    assert after.licence == "CC BY-SA 4.0"
    assert after.model_copy(update={"licence": before.licence, "changes": before.changes}) == before


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w * 1e6, r"weight decoder\.start\.bias reaches [\d.e+]+, but fp16 ends at 65504"),
        (lambda w: np.where(np.arange(len(w)) == 2, -7e4, w), "reaches 70000, but fp16 ends at 65504"),
        (lambda w: w * 1e-6, r"fp16 would change weight decoder\.start\.bias by [\d.]+ of its norm, and 0\.001 is"),
        (lambda w: w * 1e-12, r"fp16 would change weight decoder\.start\.bias by 1 of its norm"),
    ],
)
def test_weights_beyond_half_precision_are_refused(
    run_export: Export, best: Path, change: Callable[[np.ndarray], np.ndarray], complaint: str
) -> None:
    changed(best, "decoder.start.bias", lambda w: change(w).astype(np.float32))
    refused = run_export(best, "out").complaint
    assert re.search(complaint, refused)
    assert refused.endswith("(--precision fp32 keeps it)")
    assert not Path("out").exists()
    assert run_export(best, "out", "--precision", "fp32").status == 0


@pytest.mark.parametrize(("scale", "change"), [(1e-9, "1"), (1e-5, "0.00")])
def test_a_row_that_would_vanish_is_refused_even_among_large_rows(
    run_export: Export, best: Path, scale: float, change: str
) -> None:
    changed(best, "embedding.weight", lambda w: np.where(np.arange(len(w))[:, None] == 7, w * np.float32(scale), w))
    refused = run_export(best, "out").complaint
    assert refused.startswith(f"fp16 would change row 7 of weight embedding.weight by {change}")
    assert not Path("out").exists()
    changed(best, "embedding.weight", lambda w: np.where(np.arange(len(w))[:, None] == 7, np.float32(0), w))
    assert run_export(best, "out").status == 0


def test_zero_weights_and_a_few_tiny_ones_are_accepted(run_export: Export, best: Path) -> None:
    changed(best, "unknown_profile", np.zeros_like)
    changed(best, "decoder.start.bias", lambda w: np.where(np.arange(len(w)) == 0, 1e-9, w).astype(np.float32))
    assert run_export(best, "out").status == 0


def test_existing_files_are_not_changed(run_export: Export, best: Path) -> None:
    Path("full").mkdir()
    (Path("full") / "mine").write_text("mine")
    Path("file").write_text("mine")
    for out in ("full", "file", best):
        assert run_export(best, out).complaint == f"OUT: {out} exists already; remove it or give another folder"
    assert (Path("full") / "mine").read_text() == Path("file").read_text() == "mine"
    Path("empty").mkdir()
    assert run_export(best, "empty").status == 0


def test_unreadable_inputs_are_refused_with_their_name(run_export: Export, best: Path) -> None:
    assert "nowhere: no checkpoint folder there" in run_export("nowhere", "out").complaint
    (Path("begun") / STATE_FILE).parent.mkdir(parents=True)
    (Path("begun") / STATE_FILE).write_bytes(b"")
    assert "begun/best: no checkpoint folder there" in run_export("begun", "out").complaint
    assert (
        "card.md: cannot be read (No such file or directory)" in run_export(best, "out", "--card", "card.md").complaint
    )
    Path("latin.md").write_bytes(b"\xe9")
    assert "latin.md: not UTF-8 text" in run_export(best, "out", "--card", "latin.md").complaint
    for text, reason in (
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": [-1e999]}', "-1e999 is beyond 1.8e+308, the largest number"),
        ('{"a": "\\ud800"}', r"'\ud800' is half of a surrogate pair"),
        ('{"\\udfff": 1}', r"'\udfff' is half of a surrogate pair"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "not valid JSON"),
    ):
        Path("bad.json").write_text(text)
        assert reason in run_export(best, "out", "--metrics", "bad.json").complaint
    assert not Path("out").exists()


def test_a_model_without_a_bag_of_words_head_cannot_drop_it(run_export: Export, best: Path) -> None:
    assert run_export(best, "first", "--drop-bow").status == 0
    assert run_export("first", "second", "--drop-bow").complaint == (
        "--drop-bow: the checkpoint has no bag-of-words head"
    )


def test_the_copy_stores_the_decoding_settings(run_export, best):
    decoding = '{"temperature": 0.7, "top_p": 0.9, "prior_temperature": 0.8, "candidates": 24}'
    assert run_export(best, "shipped", "--decoding", decoding).status == 0
    responder = dialog_cvae.load("shipped")
    assert responder.decoding == Decoding(0.7, 0.9, prior_temperature=0.8, candidates=24)
    talk = Conversation("talk", (Utterance("A", "we like cats"),))
    told_again = responder.respond(talk, respond_as="B", decoding=responder.decoding)
    assert responder.respond(talk, respond_as="B") == told_again
    assert dialog_cvae.load(best).decoding == Decoding()


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        ('{"temperature": 11}', "temperature must be 0 or from 0.01 to 10, but is 11"),
        ('{"heat": 1}', "heat"),
        ('{"top_p": "0.9"}', "top_p"),
        ("[1", "JSON"),
    ],
)
def test_invalid_decoding_settings_are_refused(run_export, best, decoding, words):
    outcome = run_export(best, "shipped", "--decoding", decoding)
    assert outcome.status == 2
    assert outcome.error.startswith("error: ")
    assert words in outcome.error
    assert not Path("shipped").exists()


def test_an_index_holds_replies_of_the_training_split_alone(run_export: Export, best: Path) -> None:
    done = run_export("run", "copy", "--with-index", "--decoding", '{"candidates_from": "both"}')
    assert done.status == 0, done.error
    copy, corpus = Checkpoint.load("copy"), sample.read()
    assert copy.replies is not None
    assert f"replies.safetensors holds {len(copy.replies.replies):,} replies word for word" in done.out
    assert copy.replies.to_bytes() == ReplyIndex.of(corpus.train).to_bytes()
    assert copy.config.decoding.candidates_from == "both"
    assert copy.common is None
    listed = run_export("copy", "listed", "--with-common-words")
    assert listed.status == 0, listed.error
    assert Checkpoint.load("listed").common == CommonWords.of(said_in(corpus.train))
    again = run_export("copy", "second")
    assert again.status == 0
    assert Checkpoint.load("second").replies is not None
    assert "replies.safetensors" not in json.loads((best / CONFIG).read_text())["files"]


def test_an_index_that_cannot_be_is_refused(run_export: Export, best: Path) -> None:
    refused = run_export("run", "copy", "--decoding", '{"candidates_from": "corpus"}')
    assert refused.status == 2
    assert "candidates_from corpus needs an index of replies; give --with-index too" in refused.error
    refused = run_export("run", "copy", "--with-index", "--data", "toy")
    assert "--with-index: toy has sentences, and no conversations" in refused.error
    refused = run_export("run", "copy", "--data", "mine.jsonl", "--drop-bow")
    assert "--data and --data-dir are for an index of replies or a list of common words" in refused.error
    refused = run_export("run", "copy", "--with-common-words", "--min-conversations", 2)
    assert "--min-conversations is for an index of replies; give --with-index too" in refused.error
    assert not Path("copy").exists()
