"""What is kept comes back as it was, and everything that decides it is in its digest."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from dialog_cvae.data.cache import Cache
from dialog_cvae.data.code_digest import OURS, ROOT, code_digest
from eval import evaluation_cache
from eval.latent.model_scores import ModelScores
from eval.reply_scores import ReplyScores


def twice(cache: Cache, kind, value):
    """What is made, and what is found."""
    made = cache.get(kind, {"a": 1}, lambda: value)
    return made, cache.get(kind, {"a": 1}, lambda: pytest.fail("made again"))


def test_the_parts_come_back(tmp_path):
    cache = Cache(tmp_path, pytest.fail)
    columns = {"a.b": np.array([1.0, np.nan]), "c": np.array([0.5, 2.0])}
    for found in twice(
        cache, evaluation_cache.MODEL, ModelScores({"kl": 1.5, "x": None}, columns, np.ones((2, 3), np.float32))
    ):
        assert found.figures == {"kl": 1.5, "x": None}
        assert list(found.columns) == ["a.b", "c"]
        assert np.array_equal(found.columns["a.b"], columns["a.b"], equal_nan=True)
        assert found.posterior_mean.tolist() == [[1.0] * 3] * 2
        assert not isinstance(found.posterior_mean.base, np.memmap)  # else it could not be sent to another process
    for found in twice(cache, evaluation_cache.SCORES, ReplyScores({"n": {"precision": 1}}, columns)):
        assert found.figures == {"n": {"precision": 1}}
        assert found.columns["c"].tolist() == [0.5, 2.0]
    texts = [("yes", "no 😀"), (), ("",)]
    for found in twice(cache, evaluation_cache.REPLIES, texts):
        assert found == texts


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("eval.evaluation", "dialog_cvae/text/words.py"),
        ("eval.evaluation", "eval/evaluation.py"),
        ("eval.evaluation", "eval/metrics/bleu.py"),
        ("eval.baselines.baseline_rows", "eval/references/similarity.py"),
        ("eval.references.built_references", "eval/references/reply_filter.py"),
    ],
)
def test_edited_code_makes_a_part_anew_and_a_comment_elsewhere_does_not(module, imported, tmp_path):
    for package in OURS:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_digest(module, root=tmp_path)
    for edited, changes in (("dialog_cvae/ray_cluster.py", False), (imported, True)):
        with (tmp_path / edited).open("a") as file:
            file.write("\n# a comment\nEDITED = 1\n")
        code_digest.cache_clear()
        assert (code_digest(module, root=tmp_path) != before) is changes


def test_the_digest_of_a_checkpoint_is_of_what_decides_its_replies(tiny_checkpoint):
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
