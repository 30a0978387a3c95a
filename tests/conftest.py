"""Shared by all tests: tiny conversations, a tiny model of them, and the folder of real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data import packaged_vectors
from dialog_cvae.data.cache import CACHE_VARIABLE
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.model.build import weights_of
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Profile, Utterance

# The same examples in each run, however busy the machine is.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

WORDS = [
    "you",
    "me",
    "we",
    "they",
    "like",
    "hate",
    "see",
    "hear",
    "cats",
    "dogs",
    "birds",
    "rain",
    "sun",
    "now",
    "here",
]
TOPICS = ("PETS", "WEATHER")
ROLES = ("A", "B")  # roles of a model that has some; speaker C has none


def make_conversations(count: int = 6, seed: int = 0) -> list[Conversation]:
    """Random conversations of two or three speakers, some without topic or profiles."""
    rng = np.random.default_rng(seed)
    conversations = []
    for index in range(count):
        names = "AB" if index % 3 else "ABC"
        utterances = tuple(
            Utterance(names[rng.integers(len(names))], " ".join(rng.choice(WORDS, rng.integers(1, 9))))
            for _ in range(int(rng.integers(2, 16)))
        )
        profiles = {"A": Profile("female", 34, 2), "B": Profile("male", None, 3)} if index % 2 else {}
        conversations.append(Conversation(f"c{index}", utterances, (*TOPICS, None)[index % 3], None, profiles))
    return conversations


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def corpus_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder for encoded corpora, so that tests leave the user's alone."""
    folder = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _no_packaged_vectors() -> Iterator[None]:
    """Hides the package of word vectors: evaluations do not read 400,000 of them, or depend on what is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packaged_vectors, "_PACKAGE", "not_installed_in_tests")
        yield


@pytest.fixture
def any_threads() -> Iterator[None]:
    """A test may change PyTorch's number of threads; afterwards it is as before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def conversations() -> list[Conversation]:
    return make_conversations()


@pytest.fixture(scope="session")
def tokenizer(conversations: list[Conversation]) -> Tokenizer:
    return Tokenizer.train((u.text for c in conversations for u in c.utterances), TokenizerConfig())


@pytest.fixture(scope="session")
def encoded(conversations: list[Conversation], tokenizer: Tokenizer) -> EncodedCorpus:
    return encode_corpus(conversations, tokenizer, TOPICS, max_tokens=8)


@pytest.fixture(scope="session")
def encoded_roles(conversations: list[Conversation], tokenizer: Tokenizer) -> EncodedCorpus:
    return encode_corpus(conversations, tokenizer, TOPICS, max_tokens=8, roles=ROLES)


TINY = ModelConfig(
    embedding_size=5,
    utterance_size=4,
    context_size=6,
    latent_size=3,
    decoder_size=7,
    topic_size=2,
    prior_size=5,
    bow_size=6,
    bow=True,
    max_context=4,
    max_utterance_tokens=8,
)


def make_model(config: ModelConfig, tokenizer: Tokenizer) -> CVAE:
    """A model with random weights, large enough that mistakes change its output."""
    torch.manual_seed(0)
    model = CVAE(config, len(tokenizer), len(TOPICS), len(ROLES))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model


def make_checkpoint(model: CVAE, tokenizer: Tokenizer) -> Checkpoint:
    """A checkpoint as training would save it."""
    config = CheckpointConfig(
        model=model.config,
        vocab_size=len(tokenizer),
        topics=TOPICS,
        roles=ROLES if model.config.role_size else (),
        provenance=Provenance(data="tiny", step=3, fit={"corpus": {"name": "sample"}}),
    )
    return Checkpoint(config, weights_of(model), tokenizer, {"kl": 1.5}, "# Tiny\n")


@pytest.fixture
def tiny_config() -> ModelConfig:
    return TINY


@pytest.fixture
def tiny_model(tiny_config: ModelConfig, tokenizer: Tokenizer) -> CVAE:
    return make_model(tiny_config, tokenizer)


@pytest.fixture
def roles_checkpoint(tiny_config: ModelConfig, tokenizer: Tokenizer) -> Checkpoint:
    return make_checkpoint(make_model(tiny_config.model_copy(update={"role_size": 3}), tokenizer), tokenizer)


@pytest.fixture
def tiny_checkpoint(tiny_model: CVAE, tokenizer: Tokenizer) -> Checkpoint:
    return make_checkpoint(tiny_model, tokenizer)


@pytest.fixture(scope="session")
def tiny_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny checkpoint, for tests that only read it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    make_checkpoint(make_model(TINY, tokenizer), tokenizer).save(folder)
    return folder


@pytest.fixture(scope="session")
def endless_folder(tiny_folder: Path) -> Path:
    """The tiny checkpoint with an end token that is never drawn: replies have as many tokens as a request asks for."""
    folder = tiny_folder.with_name("endless")
    tiny = Checkpoint.load(tiny_folder)
    bias = tiny.weights["decoder.output.bias"].copy()
    bias[tiny.tokenizer.eos_id] = -1e4
    Checkpoint(tiny.config, {**tiny.weights, "decoder.output.bias": bias}, tiny.tokenizer).save(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real corpora; skips if none is set."""
    folder = os.environ.get("DIALOG_CVAE_DATA")
    if not folder:
        pytest.skip("needs real corpora: set DIALOG_CVAE_DATA to their folder")
    return Path(folder)
