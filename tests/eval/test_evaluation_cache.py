"""Cached results come back unchanged, and an edit of the code makes exactly the results that it decides invalid."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dialog_cvae.data.cache import Cache
from dialog_cvae.data.code_digest import OURS, ROOT, code_digest
from dialog_cvae.data.common_words import CommonWords
from eval import evaluation_cache
from eval.checkpoint_scores import MODEL
from eval.latent.model_scores import ModelScores
from eval.reply_scores import ReplyScores
from eval.scoring import SCORES


def twice(cache: Cache, kind, value):
    """The computed value, and the one that the cache returns."""
    computed = cache.get(kind, {"a": 1}, lambda: value)
    return computed, cache.get(kind, {"a": 1}, lambda: pytest.fail("computed again"))


def test_cached_results_come_back_unchanged(tmp_path):
    cache = Cache(tmp_path, pytest.fail)
    columns = {"a.b": np.array([1.0, np.nan]), "c": np.array([0.5, 2.0])}
    for found in twice(cache, MODEL, ModelScores({"kl": 1.5, "x": None}, columns, np.ones((2, 3), np.float32))):
        assert found.figures == {"kl": 1.5, "x": None}
        assert list(found.columns) == ["a.b", "c"]
        assert np.array_equal(found.columns["a.b"], columns["a.b"], equal_nan=True)
        assert found.posterior_mean.tolist() == [[1.0] * 3] * 2
        assert not isinstance(found.posterior_mean.base, np.memmap)  # else it could not be sent to another process
    for found in twice(cache, SCORES, ReplyScores({"n": {"precision": 1}}, columns)):
        assert found.figures == {"n": {"precision": 1}}
        assert found.columns["c"].tolist() == [0.5, 2.0]
    texts = [("yes", "no 😀"), (), ("",)]
    for found in twice(cache, evaluation_cache.REPLIES, texts):
        assert found == texts
    scored = [(("yes", "no 😀"), (0.1, 1e-17)), (("",), ())]
    for found in twice(cache, evaluation_cache.SCORED_REPLIES, scored):
        assert found == scored


def test_common_words_change_the_digest_of_a_checkpoint_because_they_weight_candidates(tiny_checkpoint):
    lists = [None, CommonWords({"yes": 3}, 9), CommonWords({"yes": 4}, 9)]
    found = [evaluation_cache.checkpoint_digest(replace(tiny_checkpoint, common=common)) for common in lists]
    assert len(set(found)) == 3


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to edit."""
    root = tmp_path_factory.mktemp("code")
    for package in OURS:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def before(copied: Path) -> dict[str, str]:
    """The digests of the copy before any edit."""
    return {module: code_digest(module, root=copied) for module in MODULES}


MODEL_CODE, REPLIES_CODE, SCORES_CODE = "eval.checkpoint_scores", "eval.checkpoint_replies", "eval.scoring"
BASELINES_CODE, REFERENCES_CODE = "eval.baselines.baseline_rows", "eval.references.built_references"
MODULES = {MODEL_CODE, REPLIES_CODE, SCORES_CODE, BASELINES_CODE, REFERENCES_CODE}


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ("eval/latent/likelihood.py", {MODEL_CODE}),
        ("eval/generation.py", {REPLIES_CODE}),
        ("eval/metrics/bleu.py", {SCORES_CODE}),
        ("eval/metrics/embedding.py", {SCORES_CODE}),
        ("eval/scoring.py", {SCORES_CODE}),
        ("eval/act_tagger.py", {SCORES_CODE}),
        ("eval/references/context_index.py", {SCORES_CODE, BASELINES_CODE, REFERENCES_CODE}),
        ("eval/references/reply_filter.py", {REFERENCES_CODE}),
        ("dialog_cvae/text/words.py", MODULES),
        ("dialog_cvae/generate/replies.py", {REPLIES_CODE}),
        ("dialog_cvae/nn/gru.py", {MODEL_CODE, REPLIES_CODE}),
        ("eval/report.py", set()),
        ("dialog_cvae/ray_cluster.py", set()),
    ],
)
def test_an_edit_changes_the_digests_of_exactly_the_results_that_it_decides(edited, expected, copied, before):
    source = (copied / edited).read_bytes()
    try:
        (copied / edited).write_bytes(source + b"\nEDITED = 1\n")
        code_digest.cache_clear()
        assert {module for module in MODULES if code_digest(module, root=copied) != before[module]} == expected
    finally:
        (copied / edited).write_bytes(source)
        code_digest.cache_clear()


def test_a_comment_changes_no_digest(copied, before):
    path = copied / "dialog_cvae/text/words.py"
    source = path.read_bytes()
    try:
        path.write_bytes(source + b"\n# a comment\n")
        code_digest.cache_clear()
        assert {module: code_digest(module, root=copied) for module in MODULES} == before
    finally:
        path.write_bytes(source)
        code_digest.cache_clear()


def test_an_edit_of_the_definition_of_a_word_changes_the_scores(copied):
    before = code_digest(SCORES_CODE, root=copied)
    path = copied / "dialog_cvae/text/words.py"
    source = path.read_text(encoding="utf-8")
    edited = source.replace("text.casefold()", "text.lower()")
    assert edited != source
    try:
        path.write_text(edited, encoding="utf-8")
        code_digest.cache_clear()
        assert code_digest(SCORES_CODE, root=copied) != before
    finally:
        path.write_text(source, encoding="utf-8")
        code_digest.cache_clear()


def test_the_digest_of_a_checkpoint_changes_with_weights_and_config_but_not_with_its_card(tiny_checkpoint):
    digest = evaluation_cache.checkpoint_digest(tiny_checkpoint)
    assert evaluation_cache.checkpoint_digest(replace(tiny_checkpoint, card="other", metrics={})) == digest
    weights = {name: weight.copy() for name, weight in tiny_checkpoint.weights.items()}
    next(iter(weights.values())).flat[0] += 1
    assert evaluation_cache.checkpoint_digest(replace(tiny_checkpoint, weights=weights)) != digest
    topics = tiny_checkpoint.config.model_copy(update={"topics": ("WEATHER", "PETS")})
    assert evaluation_cache.checkpoint_digest(replace(tiny_checkpoint, config=topics)) != digest


def test_other_digests(tmp_path, conversations):
    assert evaluation_cache.digest(conversations) != evaluation_cache.digest(conversations[1:])
    assert evaluation_cache.digest(["a", "b"]) != evaluation_cache.digest(["ab"])
    assert evaluation_cache.digest(["\ud800"])
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\n")
    before = evaluation_cache.source_digest(path)
    path.write_text("a 1 3\n")
    assert evaluation_cache.source_digest(path) != before
    assert evaluation_cache.source_digest("glove-twitter-200") == "glove-twitter-200"
    assert evaluation_cache.code("eval.metrics.bleu") != evaluation_cache.code("eval.metrics.tokens")
