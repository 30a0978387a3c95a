"""What is kept comes back as it was, and everything that decides it is in its digest."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dialog_cvae.data.cache import Cache
from eval import kept
from eval.model_scores import ModelScores
from eval.reply_scores import ReplyScores

HERE = Path(kept.__file__).parent


def twice(cache: Cache, kind, value):
    """What is made, and what is found."""
    made = cache.get(kind, {"a": 1}, lambda: value)
    return made, cache.get(kind, {"a": 1}, lambda: pytest.fail("made again"))


def test_the_parts_come_back(tmp_path):
    cache = Cache(tmp_path, pytest.fail)
    columns = {"a.b": np.array([1.0, np.nan]), "c": np.array([0.5, 2.0])}
    for found in twice(cache, kept.MODEL, ModelScores({"kl": 1.5, "x": None}, columns, np.ones((2, 3), np.float32))):
        assert found.figures == {"kl": 1.5, "x": None}
        assert list(found.columns) == ["a.b", "c"]
        assert np.array_equal(found.columns["a.b"], columns["a.b"], equal_nan=True)
        assert found.posterior_mean.tolist() == [[1.0] * 3] * 2
        assert not isinstance(found.posterior_mean.base, np.memmap)  # else it could not be sent to another process
    for found in twice(cache, kept.SCORES, ReplyScores({"n": {"precision": 1}}, columns)):
        assert found.figures == {"n": {"precision": 1}}
        assert found.columns["c"].tolist() == [0.5, 2.0]
    texts = [("yes", "no 😀"), (), ("",)]
    for found in twice(cache, kept.REPLIES, texts):
        assert found == texts


def imported(modules: tuple[str, ...]) -> set[str]:
    """Modules of this package that these import, however far down and wherever in their text."""
    found: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found or not (HERE / f"{name}.py").is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "eval":
                parts = str(node.module).split(".")
                todo += parts[1:2] or [alias.name for alias in node.names]
    return found


@pytest.mark.parametrize("modules", [kept.MODEL_CODE, kept.REPLIES_CODE, kept.BASELINES_CODE, kept.SCORES_CODE])
def test_a_digest_is_of_all_code_that_decides_a_part(modules):
    assert imported(modules) == set(modules)


def test_references_have_the_code_of_what_builds_them():
    orchestration = {"kept", "held_out", *kept.SCORES_CODE, *kept.MODEL_CODE, *kept.REPLIES_CODE}
    assert imported(kept.REFERENCES_CODE) - orchestration <= set(kept.REFERENCES_CODE)


def test_the_digest_of_a_checkpoint_is_of_what_decides_its_replies(tiny_checkpoint):
    digest = kept.checkpoint_digest(tiny_checkpoint)
    assert kept.checkpoint_digest(replace(tiny_checkpoint, card="other", metrics={})) == digest
    weights = {name: weight.copy() for name, weight in tiny_checkpoint.weights.items()}
    next(iter(weights.values())).flat[0] += 1
    assert kept.checkpoint_digest(replace(tiny_checkpoint, weights=weights)) != digest
    topics = tiny_checkpoint.config.model_copy(update={"topics": ("WEATHER", "PETS")})
    assert kept.checkpoint_digest(replace(tiny_checkpoint, config=topics)) != digest


def test_other_digests(tmp_path, conversations):
    assert kept.digest(conversations) != kept.digest(conversations[1:])
    assert kept.digest(["a", "b"]) != kept.digest(["ab"])
    assert kept.digest(["\ud800"])
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\n")
    before = kept.source_digest(path)
    path.write_text("a 1 3\n")
    assert kept.source_digest(path) != before
    assert kept.source_digest("glove-twitter-200") == "glove-twitter-200"
    assert kept.code("bleu") != kept.code("tokens")
    assert kept.code("bleu") in kept.model_code("bleu")
