"""One evaluation from its parts: what is made, what is taken from before, and what changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from dialog_cvae.config import Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.errors import CheckpointError
from dialog_cvae.types import Conversation
from eval import evaluation as module
from eval.acts import ActTagger
from eval.baselines.without_model import verbatim
from eval.evaluation import Evaluation, Replies, Settings, combined, modelled, scored
from eval.held_out import HeldOut
from eval.metrics.single_reference import per_context, summarize
from eval.references.multi_reference import ReferenceRow
from eval.reply_scores import metric_context
from tests.conftest import make_conversations

SHORT = Decoding(max_tokens=6)
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
    def run(settings: Settings, on: HeldOut = held_out) -> tuple[Evaluation, Replies]:
        model, replies = modelled(tiny_checkpoint, Path("best"), "cpu", on, settings, cache, bar)
        scores = scored(replies, on, settings, lambda: on.yardstick(replies.sampled), cache, bar)
        return combined(on, model, replies, scores), replies

    return run


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on these are not to be called."""
    for name in names:
        monkeypatch.setattr(module, name, lambda *_, _name=name, **__: pytest.fail(f"{_name} was called"))


def test_columns_are_those_of_the_contexts(evaluate, held_out, encoded):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT))
    contexts = sum(len(c.utterances) - 1 for c in held_out.conversations)
    assert {len(column) for column in evaluation.columns.values()} == {contexts} == {len(replies.sampled)}
    assert evaluation.model is not None
    answers = np.flatnonzero(encoded.places(encoded.responses)[1] > 1)
    assert np.array_equal(evaluation.columns["kl"], evaluation.model.columns["kl"][answers])
    assert evaluation.figures["contexts"] == contexts
    assert evaluation.figures["windows"] == contexts + len(held_out.conversations)


def test_a_model_that_was_refined_in_training_is_judged_by_refined_posteriors(tiny_checkpoint, held_out, cache):
    def of(fit):
        config = tiny_checkpoint.config
        provenance = config.provenance.model_copy(update={"fit": fit})
        return replace(tiny_checkpoint, config=config.model_copy(update={"provenance": provenance}))

    def figures(checkpoint):
        return modelled(checkpoint, Path("best"), "cpu", held_out, Settings(decoding=SHORT), cache, bar)[0].figures

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


def test_a_second_evaluation_makes_nothing(evaluate, monkeypatch):
    settings = Settings(samples=2, decoding=SHORT, single_reference=True)
    first, replies = evaluate(settings)
    refuse(monkeypatch, "model_scores", "sample_responses", "reply_scores")
    second, again = evaluate(settings)
    assert again == replies
    assert second.figures == first.figures
    assert all(np.array_equal(second.columns[name], first.columns[name], equal_nan=True) for name in first.columns)


@pytest.mark.parametrize(
    ("change", "untouched"),
    [
        ({"samples": 3}, ["model_scores"]),
        ({"importance_samples": 2}, ["sample_responses", "reply_scores"]),
        ({"decoding": Decoding(max_tokens=5)}, ["model_scores"]),
    ],
)
def test_what_changes_is_made_anew_and_nothing_else(evaluate, monkeypatch, change, untouched):
    evaluate(Settings(samples=2, decoding=SHORT))
    refuse(monkeypatch, *untouched)
    settings = Settings.model_validate(Settings(samples=2, decoding=SHORT).model_dump() | change)
    changed, _ = evaluate(settings)
    assert changed.figures.get("iw_samples") == settings.importance_samples


def test_other_conversations_and_another_seed_change_everything(evaluate, held_out):
    evaluation, _ = evaluate(Settings(samples=2, decoding=SHORT))
    fewer, _ = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, conversations=TRAIN[:2]))
    other, replies = evaluate(Settings(samples=2, decoding=SHORT, seed=1))
    assert fewer.figures["windows"] == sum(len(c.utterances) for c in TRAIN[:2])
    assert other.figures["reconstruction"] != evaluation.figures["reconstruction"]
    assert replies.sampled != evaluation.sampled


def test_references_change_the_scores_alone(evaluate, held_out, monkeypatch):
    evaluate(Settings(samples=2, decoding=SHORT))
    refuse(monkeypatch, "model_scores", "sample_responses")
    place = (held_out.conversations[0].id, 1)
    rows = {place: ReferenceRow((), "A", ("you like cats", "rain"), (None, None))}
    evaluation, _ = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, references=rows))
    assert evaluation.figures["contexts_with_references"] == 1


@pytest.mark.parametrize(
    "decoding",
    [
        SHORT,
        replace(SHORT, temperature=1.0),
        replace(SHORT, temperature=1.0, candidates=12),
        replace(SHORT, candidates=3),
        replace(SHORT, candidates=4, temperature=1.0),
    ],
)
def test_ten_replies_beside_them_do_not_change_the_replies(evaluate, decoding):
    alone, _ = evaluate(Settings(samples=4, decoding=decoding))
    both, replies = evaluate(Settings(samples=4, decoding=decoding, single_reference=True))
    assert both.sampled == alone.sampled
    assert replies.single_reference is not None
    assert all(len(one.responses) <= 10 for one in replies.single_reference)
    assert any(len(one.responses) > 4 for one in replies.single_reference) or decoding.candidates


def test_the_single_reference_scores_are_of_ten_replies(evaluate):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT, single_reference=True))
    assert replies.single_reference is not None
    contexts = [metric_context(one) for one in replies.single_reference]
    assert evaluation.figures["single_reference"] == summarize(per_context(contexts, None)).figures()
    assert "single_reference.bleu3_end_nltk_3_6_recall" in evaluation.columns


def test_training_conversations_tell_what_was_remembered(evaluate, held_out):
    evaluation, replies = evaluate(Settings(samples=2, decoding=SHORT), replace(held_out, train=TRAIN))
    expected = verbatim(replies.sampled, [u.text for c in TRAIN for u in c.utterances])
    assert evaluation.figures["verbatim_from_training"] == expected
    assert "act_entropy" not in evaluation.figures  # these have no dialog acts


def test_beside_the_entropy_of_acts_stands_how_well_they_are_told_apart(evaluate, held_out):
    def labelled(conversations):
        acts = ("statement", "question")
        return [
            replace(c, utterances=tuple(replace(u, dialog_act=acts[len(u.text) % 2]) for u in c.utterances))
            for c in conversations
        ]

    on = replace(held_out, conversations=labelled(held_out.conversations), train=labelled(TRAIN))
    figures = evaluate(Settings(samples=2, decoding=SHORT), on)[0].figures
    assert figures["act_tagger_accuracy"] == ActTagger.fit(on.train).accuracy(on.conversations)
    untold = evaluate(Settings(samples=2, decoding=SHORT), replace(on, conversations=held_out.conversations))[0].figures
    assert "act_entropy" in untold
    assert "act_tagger_accuracy" not in untold


def test_a_damaged_part_is_made_anew(tiny_checkpoint, held_out, tmp_path):
    said: list[str] = []
    cache = Cache(tmp_path / "kept", said.append)
    settings = Settings(samples=2, decoding=SHORT)
    _, replies = modelled(tiny_checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)
    (path,) = (tmp_path / "kept").glob("replies-*/texts.npy")
    path.write_bytes(path.read_bytes()[:-9])
    _, again = modelled(tiny_checkpoint, Path("best"), "cpu", held_out, settings, cache, bar)
    assert again == replies
    assert len(said) == 1
    assert "rebuilt" in said[0]
