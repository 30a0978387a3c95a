"""One evaluation from its parts: what is computed, what comes from the cache, and what changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tqdm import tqdm

from dialog_cvae.config import Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation
from eval import checkpoint_replies, checkpoint_scores, evaluation_cache, scoring
from eval.act_tagger import ActTagger
from eval.baselines.without_model import verbatim
from eval.contexts import ReplySets
from eval.evaluation import Evaluation, combined, evaluate_checkpoint
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.metrics.single_reference import per_context, summarize
from eval.opened_model import open_model
from eval.references.multi_reference import ReferenceRow
from eval.reply_scores import metric_context
from eval.scoring import cached_reply_scores
from tests.conftest import make_checkpoint, make_conversations, make_model

SHORT = Decoding(max_tokens=6)
COMPUTES = {"model_scores": checkpoint_scores, "draw_replies": checkpoint_replies, "reply_scores": scoring}
TRAIN = make_conversations(8, seed=9)


def bar(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, disable=True)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "kept", pytest.fail)


@pytest.fixture
def held_out(conversations: Sequence[Conversation]) -> HeldOut:
    return HeldOut("tiny", "test", conversations)


@pytest.fixture
def evaluate(tiny_checkpoint, held_out, cache):
    def run(settings: Settings, on: HeldOut = held_out) -> tuple[Evaluation, ReplySets | None]:
        model, replies = evaluate_checkpoint(tiny_checkpoint, Path("best"), "cpu", on, settings, cache, bar)
        if replies is None:
            return combined(on, model, None, None), None
        scores = cached_reply_scores(replies, on, settings, lambda: on.scoring_data(replies.answered), cache, bar)
        return combined(on, model, replies, scores), replies

    return run


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on calling one of these fails the test."""
    for name in names:
        monkeypatch.setattr(COMPUTES[name], name, lambda *_, _name=name, **__: pytest.fail(f"{_name} was called"))


def test_columns_are_those_of_the_contexts(evaluate, held_out, encoded):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT))
    contexts = sum(len(c.utterances) - 1 for c in held_out.conversations)
    assert {len(column) for column in evaluation.columns.values()} == {contexts} == {len(replies.answered)}
    assert evaluation.model is not None
    answers = np.flatnonzero(encoded.places(encoded.responses)[1] > 1)
    assert np.array_equal(evaluation.columns["kl"], evaluation.model.columns["kl"][answers])
    assert evaluation.figures["contexts"] == contexts
    assert evaluation.figures["windows"] == contexts + len(held_out.conversations)


def test_a_model_refined_in_training_is_evaluated_with_refined_posteriors(tiny_checkpoint, held_out, cache):
    def of(fit):
        config = tiny_checkpoint.config
        provenance = config.provenance.model_copy(update={"fit": fit})
        return replace(tiny_checkpoint, config=config.model_copy(update={"provenance": provenance}))

    def figures(checkpoint):
        return evaluate_checkpoint(checkpoint, Path("best"), "cpu", held_out, Settings(decoding=SHORT), cache, bar)[
            0
        ].figures

    plain = figures(of({}))
    found = figures(of({"train": {"svi": {"steps": 3, "rate": 0.2}}}))
    assert found["refined_steps"] == 3
    assert "refined_steps" not in plain
    assert found["elbo"] > plain["elbo"]
    assert found["kl"] != plain["kl"]
    assert found["iw_nll"] != plain["iw_nll"]
    for broken in ({"train": {"svi": {"steps": -1}}}, {"train": [1]}):
        with pytest.raises(CheckpointError, match=r"best/config\.json: field provenance\.fit\.train\.svi is broken"):
            figures(of(broken))


def test_another_engine_draws_its_own_replies(tiny_checkpoint, held_out, cache, monkeypatch):
    """An evaluation on another machine may resolve to another engine."""
    responder = open_model(tiny_checkpoint, Path("best"), "cpu", "fp32", replies=True).responder
    assert responder is not None
    drawn: list[int] = []
    draw, greedy = checkpoint_replies.draw_replies, responder.draw
    monkeypatch.setattr(checkpoint_replies, "draw_replies", lambda *args: (drawn.append(1), draw(*args))[1])
    monkeypatch.setattr(responder, "draw", lambda *args: (drawn.append(1), greedy(*args))[1])
    for name, expected in (("PyTorch 2", True), ("PyTorch 2", False), ("ONNX Runtime 1, int8", True)):
        drawn.clear()
        monkeypatch.setattr(responder.engine, "name", name)
        settings = Settings(samples=1, decoding=SHORT)
        checkpoint_replies.cached_replies(responder, held_out.conversations, settings, cache, {}, bar)
        assert (len(drawn) >= 2) == expected == bool(drawn)


def test_a_second_evaluation_computes_nothing(evaluate, monkeypatch):
    settings = Settings(samples=2, decoding=SHORT, single_reference=True)
    first, replies = evaluate(settings)
    refuse(monkeypatch, "model_scores", "draw_replies", "reply_scores")
    second, again = evaluate(settings)
    assert again == replies
    assert second.figures == first.figures
    assert all(np.array_equal(second.columns[name], first.columns[name], equal_nan=True) for name in first.columns)


@pytest.mark.parametrize(
    ("change", "untouched"),
    [
        ({"samples": 3}, ["model_scores"]),
        ({"importance_samples": 2}, ["draw_replies", "reply_scores"]),
        ({"decoding": Decoding(max_tokens=5)}, ["model_scores"]),
        ({"protocol": "service"}, ["model_scores"]),
    ],
)
def test_a_changed_setting_recomputes_only_what_it_decides(evaluate, monkeypatch, change, untouched):
    evaluate(Settings(samples=2, decoding=SHORT))
    refuse(monkeypatch, *untouched)
    settings = Settings.model_validate(Settings(samples=2, decoding=SHORT).model_dump() | change)
    changed, _ = evaluate(settings)
    assert changed.figures.get("iw_samples") == settings.importance_samples


def test_without_replies_there_are_likelihoods_alone(evaluate, held_out, monkeypatch):
    full, _ = evaluate(Settings(samples=2, decoding=SHORT))
    refuse(monkeypatch, "model_scores", "draw_replies", "reply_scores")
    evaluation, replies = evaluate(Settings(samples=0, decoding=SHORT))
    assert replies is None
    assert evaluation.figures.items() <= full.figures.items()
    assert evaluation.columns.keys() == {"kl", "iw_nll"}
    assert evaluation.answered == []
    assert evaluation.places == full.places
    assert len(evaluation.columns["kl"]) == len(full.places)


def test_greedy_replies_differ_in_z_alone(evaluate, held_out, tiny_model, tokenizer):
    settings = Settings(samples=7, decoding=SHORT)
    evaluation, replies = evaluate(settings)
    every = {(one.conversation, one.position): one.replies for one in replies.answered}
    greedy = {(one.conversation, one.position): one.replies for one in replies.greedy}
    assert greedy.keys() == every.keys()  # no more than 300
    assert all(len(texts) == 5 for texts in greedy.values())
    counts = [len({normalised(text) for text in texts}) for texts in greedy.values()]
    assert evaluation.figures["distinct_greedy"] == pytest.approx(np.mean(counts))
    assert evaluation.figures["distinct_greedy_contexts"] == len(counts)
    sampled, _ = evaluate(Settings(samples=2, decoding=replace(SHORT, temperature=1.0)))
    assert sampled.figures["distinct_greedy"] == evaluation.figures["distinct_greedy"]


def test_few_contexts_of_many_get_greedy_replies(evaluate, monkeypatch):
    _, every = evaluate(Settings(samples=2, decoding=SHORT))
    monkeypatch.setattr(checkpoint_replies, "GREEDY_CONTEXTS", 8)
    monkeypatch.setattr(checkpoint_replies, "GREEDY_BATCH", 3)
    evaluation, few = evaluate(Settings(samples=2, decoding=replace(SHORT, max_tokens=7)))
    assert evaluation.figures["distinct_greedy_contexts"] == len(few.greedy) == 8
    places = [(one.conversation, one.position) for one in every.greedy]
    assert {(one.conversation, one.position) for one in few.greedy} < set(places)


def test_without_z_greedy_replies_are_equal(tiny_config, tokenizer, held_out, cache):
    checkpoint = make_checkpoint(make_model(tiny_config.model_copy(update={"latent_size": 0}), tokenizer), tokenizer)
    settings = Settings(samples=1, decoding=SHORT)
    _, replies = evaluate_checkpoint(checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)
    scores = cached_reply_scores(replies, held_out, settings, lambda: held_out.scoring_data([]), cache, bar)
    assert scores.figures["distinct_greedy"] == 1.0


def test_bfloat16_is_for_language_models(tiny_checkpoint, held_out, cache):
    settings = Settings(decoding=SHORT, precision="bf16")
    with pytest.raises(ConfigError, match="precision bf16 is for the weights of a language model; best has others"):
        evaluate_checkpoint(tiny_checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)


def test_other_conversations_and_another_seed_change_everything(evaluate, held_out):
    evaluation, _ = evaluate(Settings(samples=2, decoding=SHORT))
    fewer, _ = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, conversations=TRAIN[:2]))
    other, replies = evaluate(Settings(samples=2, decoding=SHORT, seed=1))
    assert fewer.figures["windows"] == sum(len(c.utterances) for c in TRAIN[:2])
    assert other.figures["reconstruction"] != evaluation.figures["reconstruction"]
    assert replies.answered != evaluation.answered


def test_each_entry_is_stored_with_the_digest_of_the_module_that_computes_it(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_cache, "code", lambda *modules: " ".join(modules))
    evaluate(Settings(samples=2, decoding=SHORT))
    manifests = {path.parent.name.partition("-")[0]: path.read_text() for path in tmp_path.glob("kept/*/manifest.json")}
    assert manifests.keys() == {"model", "scored_replies", "greedy", "scores"}
    assert "eval.checkpoint_scores" in manifests["model"]
    assert all("eval.checkpoint_replies" in manifests[name] for name in ("scored_replies", "greedy"))
    assert "eval.scoring" in manifests["scores"]


def test_the_paper_selects_no_replies_from_candidates():
    with pytest.raises(ValidationError, match=r"decoding\.candidates must be 0 with protocol 'paper', .* but is 3"):
        Settings(decoding=replace(SHORT, candidates=3))


def test_references_change_the_scores_alone(evaluate, held_out, monkeypatch):
    evaluate(Settings(samples=2, decoding=SHORT))
    refuse(monkeypatch, "model_scores", "draw_replies")
    place = (held_out.conversations[0].id, 1)
    rows = {place: ReferenceRow((), "A", ("you like cats", "rain"), (None, None))}
    evaluation, _ = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, references=rows))
    assert evaluation.figures["contexts_with_references"] == 1


@pytest.mark.parametrize(
    ("protocol", "decoding"),
    [
        ("paper", SHORT),
        ("paper", replace(SHORT, temperature=1.0)),
        ("service", replace(SHORT, temperature=1.0)),
        ("service", replace(SHORT, temperature=1.0, candidates=12)),
        ("service", replace(SHORT, candidates=3)),
        ("service", replace(SHORT, candidates=4, temperature=1.0)),
    ],
)
def test_the_ten_replies_for_dialogwae_do_not_change_the_other_replies(evaluate, protocol, decoding):
    alone, _ = evaluate(Settings(samples=4, decoding=decoding, protocol=protocol))
    both, replies = evaluate(Settings(samples=4, decoding=decoding, protocol=protocol, single_reference=True))
    assert both.answered == alone.answered
    assert replies.single_reference is not None
    assert all(len(one.replies) <= 10 for one in replies.single_reference)
    assert any(len(one.replies) > 4 for one in replies.single_reference) or decoding.candidates


def test_the_single_reference_scores_are_of_ten_replies(evaluate):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT, single_reference=True))
    assert replies.single_reference is not None
    contexts = [metric_context(one) for one in replies.single_reference]
    assert evaluation.figures["single_reference"] == summarize(per_context(contexts, None)).figures()
    assert "single_reference.bleu3_end_nltk_3_6_recall" in evaluation.columns


def test_replies_are_compared_with_the_training_conversations(evaluate, held_out):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, train=TRAIN))
    expected = verbatim(replies.answered, [u.text for c in TRAIN for u in c.utterances])
    assert evaluation.figures["verbatim_from_training"] == expected
    assert "act_entropy" not in evaluation.figures  # these have no dialog acts


def test_the_entropy_of_acts_comes_with_the_accuracy_of_the_tagger(evaluate, held_out):
    def labelled(conversations):
        acts = ("statement", "question")
        return [
            replace(c, utterances=tuple(replace(u, dialog_act=acts[len(u.text) % 2]) for u in c.utterances))
            for c in conversations
        ]

    on = replace(held_out, conversations=labelled(held_out.conversations), train=labelled(TRAIN))
    figures = evaluate(Settings(samples=2, decoding=SHORT), on)[0].figures
    assert figures["act_tagger_accuracy"] == ActTagger.fit(on.train).accuracy(on.conversations)
    without_acts = evaluate(Settings(samples=2, decoding=SHORT), replace(on, conversations=held_out.conversations))[
        0
    ].figures
    assert "act_entropy" in without_acts
    assert "act_tagger_accuracy" not in without_acts


def test_a_damaged_entry_is_recomputed(tiny_checkpoint, held_out, tmp_path):
    said: list[str] = []
    cache = Cache(tmp_path / "kept", said.append)
    settings = Settings(samples=2, decoding=SHORT)
    _, replies = evaluate_checkpoint(tiny_checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)
    (path,) = (tmp_path / "kept").glob("scored_replies-*/replies.npy")
    path.write_bytes(path.read_bytes()[:-9])
    _, again = evaluate_checkpoint(tiny_checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)
    assert again == replies
    assert len(said) == 1
    assert "rebuilt" in said[0]
