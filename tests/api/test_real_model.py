"""The service with a real checkpoint, small and untrained: the quality of replies does not matter here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.settings import Settings
from dialog_cvae.config import Decoding

TOPICS = ("PETS", "MUSIC")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from dialog_cvae.config import TokenizerConfig
    from dialog_cvae.model.build import weights_of
    from dialog_cvae.model.cvae import CVAE
    from dialog_cvae.model_config import ModelConfig
    from dialog_cvae.storage.checkpoint import Checkpoint
    from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
    from dialog_cvae.text.tokenizer import Tokenizer

    letters = "abcdefghij"
    texts = [f"{a}{b} {b}{c} ?" for a in letters for b in letters for c in letters]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(mode="unigram", vocab_size=400))
    sizes = dict.fromkeys(("embedding", "utterance", "context", "latent", "decoder", "topic", "prior", "bow"), 8)
    model = ModelConfig(**{f"{name}_size": size for name, size in sizes.items()}, initialisation="torch")
    torch.manual_seed(0)
    weights = {name: 4 * array for name, array in weights_of(CVAE(model, len(tokenizer), len(TOPICS))).items()}
    config = CheckpointConfig(
        model=model, vocab_size=len(tokenizer), topics=TOPICS, provenance=Provenance(data="letters", step=0)
    )
    path = tmp_path_factory.mktemp("model") / "best"
    Checkpoint(config, weights, tokenizer).save(path)
    return path


@pytest.fixture(scope="module")
def real(checkpoint: Path) -> Iterator[TestClient]:
    app = create_app(settings=lambda: Settings(checkpoint=checkpoint))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_decoding_options_come_from_the_checkpoint(checkpoint, tmp_path):
    from dialog_cvae.storage.checkpoint import Checkpoint

    stored = Checkpoint.load(checkpoint)
    config = stored.config.model_copy(update={"decoding": Decoding(1.0, candidates=32, max_tokens=1)})
    replace(stored, config=config).save(tmp_path / "warm")
    body = {"context": ["ab bc ?"], "seed": 3}
    with TestClient(create_app(settings=lambda: Settings(checkpoint=tmp_path / "warm"))) as client:
        asked = ({}, {"temperature": 0}, {"max_tokens": 9})
        warm, cold, longer = (client.post("/respond", json=body | each).json() for each in asked)
    assert warm["responses"] != longer["responses"]
    spelled_out = Settings(checkpoint=checkpoint, temperature=1.0, candidates=32, max_tokens=1)
    with TestClient(create_app(settings=lambda: spelled_out)) as client:
        assert client.post("/respond", json=body).json()["responses"] == warm["responses"] != cold["responses"]


def test_a_server_can_select_from_candidates(checkpoint, real):
    body = {"context": ["ab bc ?"], "seed": 3, "num_responses": 4, "temperature": 1.0}
    plain = real.post("/respond", json=body).json()["responses"]
    settings = Settings(checkpoint=checkpoint, candidates=48, prior_temperature=0.5)
    with TestClient(create_app(settings=lambda: settings)) as client:
        chosen = client.post("/respond", json=body).json()["responses"]
        assert client.post("/respond", json=body).json()["responses"] == chosen
    assert len({each["text"] for each in chosen}) == len(plain) == 4
    assert chosen != plain


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0}, {"temperature": 0.01, "top_p": 1e-300}])
def test_the_same_seed_gives_the_same_distinct_ranked_responses(real, sampling):
    body = {
        "context": ["ab bc ?", "de ef ?"],
        "topic": "pets",
        "seed": 3,
        "num_responses": 5,
        "max_tokens": 8,
    } | sampling
    answers = [real.post("/respond", json=body) for _ in range(2)]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content
    reply = answers[0].json()
    assert (reply["topic"], reply["seed"]) == ("PETS", 3)
    texts = [each["text"] for each in reply["responses"]]
    assert len(set(texts)) == len(texts)
    assert len(texts) == 5 or reply["note"].startswith(f"{len(texts)} of 5")
    assert all(each["log_prob"] < 0 for each in reply["responses"])


def test_another_seed_and_another_topic_change_the_answer(real):
    body = {"context": ["ab bc ?"], "seed": 3, "temperature": 1.0}
    bodies = [body, body | {"seed": 4}, body | {"topic": "MUSIC"}]
    assert len({str(real.post("/respond", json=each).json()["responses"]) for each in bodies}) == 3


def test_topics_come_from_the_checkpoint(real):
    assert real.get("/topics").json() == {"topics": list(TOPICS)}


def test_the_longest_request_is_answered(real):
    context = [{"speaker": "s" * 64, "text": "\U0001f600" * 2000}] * 200
    answer = real.post("/respond", json={"context": context, "num_responses": 20, "seed": 2**63 - 1})
    assert answer.status_code == 200, answer.text


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=()), max_size=30), min_size=1, max_size=12),
    temperature=st.sampled_from([0, 0.01, 1, 10]),
    top_p=st.floats(0, 1),
)
def test_no_text_makes_the_model_fail(real, texts, temperature, top_p):
    body = {"context": texts, "temperature": temperature, "top_p": top_p, "max_tokens": 3, "num_responses": 1}
    assert real.post(
        "/respond", content=json.dumps(body), headers={"Content-Type": "application/json"}
    ).status_code in (200, 422)
