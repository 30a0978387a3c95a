"""The page of Table 3 for a corpus in which only some speakers' utterances are replies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dialog_cvae.types import Conversation, Utterance
from eval.contexts import windows
from eval.metrics.significance import paired_bootstrap
from experiments.table3 import page, page_plots
from experiments.table3.cells import square

# A conversation begins with the agent or with the customer; the first utterance of one is a reply without a context.
TURNS = ("customer agent agent customer", "agent customer agent", "customer customer agent agent agent")


@pytest.fixture
def found() -> Any:
    """Two cells, whose contexts differ by the index of their conversation; as much of `Evaluated` as is read."""
    conversations = [
        Conversation(
            f"c{number}",
            tuple(Utterance(name, "hm", f"{name} {number} {at}") for at, name in enumerate(turns.split())),
            respond_as=("agent",),
        )
        for number, turns in enumerate(TURNS)
    ]
    ahead = np.array([float(window.conversation.id[1:]) for window in windows(conversations)])
    replies = sum(len(c.reply_positions) for c in conversations)
    model = SimpleNamespace(posterior_mean=np.zeros((replies, 3)))
    keys = (square(False).neither, square(False).both)
    evaluations = {
        key: SimpleNamespace(columns={"kl": ahead * number}, model=model, key=key) for number, key in enumerate(keys)
    }
    return SimpleNamespace(
        cells=[SimpleNamespace(row=SimpleNamespace(key=key)) for key in keys],
        of=lambda result: {0: evaluations[result.row.key]},
        pairs=[(0, evaluations)],
        held_out=SimpleNamespace(conversations=conversations),
        settings=SimpleNamespace(seed=0),
        ahead=ahead,
    )


def test_contexts_are_resampled_with_their_own_conversation(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.framework.effects.FEW", 3)
    ((contrast, (effect,)),) = page._effects(found)
    assert contrast.name.endswith("β and η together")
    clusters = [window.conversation.id for window in windows(found.held_out.conversations)]
    expected = paired_bootstrap(found.ahead, clusters)
    assert len(clusters) == len(found.ahead) == 6
    assert effect.over_conversations is not None
    assert (effect.over_conversations.low, effect.over_conversations.high) == (expected.low, expected.high) == (0, 2)


def test_posterior_means_have_the_acts_of_their_replies(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(page_plots, "draw_latents", lambda *given, seed: drawn.append(given))
    assert page_plots._latents(found, Path("t3"))
    means, acts, _ = drawn[0]
    assert acts == ["agent 0 1", "agent 0 2", "agent 1 0", "agent 1 2", "agent 2 2", "agent 2 3", "agent 2 4"]
    assert {len(mean) for mean in means.values()} == {len(acts)}
