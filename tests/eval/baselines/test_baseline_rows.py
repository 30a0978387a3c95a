"""The rows without a model: which there are, how many replies they have, and that these are cached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialog_cvae.data.cache import Cache
from eval.baselines import baseline_rows
from eval.baselines.baseline_rows import OTHERS, baseline_replies
from eval.baselines.without_model import BASELINES
from eval.contexts import windows
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.references.multi_reference import ReferenceRow
from tests.conftest import make_conversations

TRAIN = make_conversations(8, seed=9)


@pytest.fixture
def held_out(conversations) -> HeldOut:
    return HeldOut("tiny", "test", conversations, train=TRAIN)


def test_every_baseline_answers_every_context(held_out, conversations, tmp_path):
    rows = baseline_replies(held_out, Settings(samples=3, seed=4), Cache(tmp_path, pytest.fail))
    assert list(rows) == list(BASELINES)
    for name, replies in rows.items():
        expected = BASELINES[name](TRAIN, conversations, 3, 4)
        assert replies.answered == expected
        assert replies.single_reference is None
        assert [(one.conversation, one.position) for one in replies.answered] == [
            w.place for w in windows(conversations)
        ]


def test_ten_replies_for_dialogwaes_protocol(held_out, tmp_path):
    rows = baseline_replies(held_out, Settings(samples=2, single_reference=True), Cache(tmp_path, pytest.fail))
    for replies in rows.values():
        assert {len(one.replies) for one in replies.answered} == {2}
        assert {len(one.replies) for one in replies.single_reference or ()} == {10}


def test_people_are_a_row_if_there_are_references(held_out, conversations, tmp_path):
    references = {(conversations[0].id, 1): ReferenceRow((), "A", ("you see", "we hear", "rain"), (None,) * 3)}
    asked = replace(held_out, references=references)
    rows = baseline_replies(asked, Settings(samples=2), Cache(tmp_path, pytest.fail))
    assert list(rows) == [*BASELINES, OTHERS]
    first = next(one for one in rows[OTHERS].answered if (one.conversation, one.position) in references)
    assert len(first.replies) == 2
    assert set(first.replies) < {"you see", "we hear", "rain"}


def test_replies_of_baselines_are_cached(held_out, tmp_path, monkeypatch):
    cache = Cache(tmp_path, pytest.fail)
    rows = baseline_replies(held_out, Settings(samples=2), cache)
    monkeypatch.setattr(baseline_rows, "BASELINES", {name: lambda *_: pytest.fail("asked again") for name in BASELINES})
    assert baseline_replies(held_out, Settings(samples=2), cache) == rows
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        baseline_replies(held_out, Settings(samples=3), cache)
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        baseline_replies(replace(held_out, train=TRAIN[1:]), Settings(samples=2), cache)
