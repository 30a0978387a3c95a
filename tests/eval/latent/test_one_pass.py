"""One pass over a corpus against the functions that make a pass for each measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns, encode_turns
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.types import Conversation
from eval.latent.likelihood import AnyCorpus, importance_weighted_nll, posteriors
from eval.latent.one_pass import score_once
from tests.dialog_cvae.model.test_language_cvae import BASE, SIZES, Letters, weights


def language_model(**changes: object) -> LanguageCVAE:
    torch.manual_seed(0)
    model = LanguageCVAE(SIZES.model_copy(update=changes), BASE, weights(BASE)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.eval()


@pytest.fixture
def turns(conversations: list[Conversation]) -> EncodedTurns:
    return encode_turns(conversations, Letters(), max_reply_tokens=24)


def assert_as_read_apart(model: LatentModel, corpus: AnyCorpus, draws: int) -> None:
    seen: list[int] = []
    read = score_once(model, corpus, draws=draws, seed=3, batch_size=10, rows=17, advance=seen.append)
    assert sum(seen) == len(corpus.responses)
    assert read.elbo.figures() == pytest.approx(evaluate_elbo(model, corpus, seed=3, batch_size=10).figures(), rel=1e-4)
    for found, expected in zip(read.posteriors, posteriors(model, corpus), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert read.weighted is not None
    weighted = importance_weighted_nll(model, corpus, corpus.responses, [draws], seed=3)
    np.testing.assert_allclose(read.weighted.nll[draws], weighted.nll[draws], rtol=1e-5)
    assert read.weighted.tokens.tolist() == weighted.tokens.tolist()
    if model.has_plain_loss:
        assert read.weighted.without_z is not None
        assert weighted.without_z is not None
        np.testing.assert_allclose(read.weighted.without_z, weighted.without_z, rtol=1e-5)
        assert read.elbo.without_z == pytest.approx(weighted.without_z.mean(), rel=1e-5)
    else:
        assert read.weighted.without_z is weighted.without_z is None


@pytest.mark.parametrize("changes", [{"block": 1}, {"block": 1, "bow": False}, {"block": 1, "latent_size": 0}])
def test_a_language_model(turns: EncodedTurns, changes: dict[str, object]) -> None:
    """With blocks of one reply, what a reply reads is the same in validation and here."""
    assert_as_read_apart(language_model(**changes), turns, draws=4)


def test_a_model_with_weights_of_its_own(tiny_model: LatentModel, encoded: EncodedCorpus) -> None:
    assert_as_read_apart(tiny_model, encoded, draws=4)


def test_the_size_of_a_batch_changes_no_reply(turns: EncodedTurns) -> None:
    model = language_model(block=3)
    small, large = (score_once(model, turns, draws=2, batch_size=size) for size in (4, 64))
    assert small.weighted is not None
    assert large.weighted is not None
    np.testing.assert_allclose(small.weighted.nll[2], large.weighted.nll[2], rtol=1e-5)
    assert small.elbo.reconstruction == pytest.approx(large.elbo.reconstruction, rel=1e-5)


def test_without_draws_there_is_no_importance_weighted_bound(turns: EncodedTurns) -> None:
    model = language_model(block=3)
    assert score_once(model, turns).weighted is None


def test_each_conversation_is_read_once(turns: EncodedTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = language_model(block=3), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda batch: read.append(batch.tokens.numel()) or encode(batch))
    score_once(model, turns, draws=5)
    assert len(read) == -(-turns.windows // 64)
