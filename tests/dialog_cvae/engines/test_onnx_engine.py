"""The ONNX Runtime engine computes what the PyTorch engine does, each row alike in any company, without PyTorch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import dialog_cvae
from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import collate
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.code_digest import OURS, ROOT, code_digest
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.engines.base import Engine, Step
from dialog_cvae.engines.gru_states import GRUStates
from dialog_cvae.engines.onnx_engine import OnnxEngine
from dialog_cvae.engines.onnx_graphs import graphs
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import Provenance
from dialog_cvae.types import Conversation, Utterance

SHIPPED = Path(__file__).parents[3] / "models" / "swda"
NO_CACHE = Cache(None, print)
WIDE = ModelConfig(
    embedding_size=37, utterance_size=51, context_size=70, latent_size=33, decoder_size=129, topic_size=5, prior_size=40
)
WITH_SKIP = WIDE.model_copy(update={"skip": True})
TALK = (
    Utterance("A", "Do you have any pets?"),
    Utterance("B", "Yes, I have two dogs and, uh, a cat that is fifteen years old."),
    Utterance("A", "Uh-huh."),
    Utterance("B", "They get along fine."),
)


def onnx_engine(model: CVAE, *, int8: bool = False, threads: int = 2) -> OnnxEngine:
    weights, latent = weights_of(model), model.config.latent_size
    start = weights["decoder.start.weight"]
    made = graphs(weights, model.config, int8=int8)
    return OnnxEngine(made, start[:, start.shape[1] - latent :], threads, int8=int8)


def a_model(config: ModelConfig, vocabulary: int, topics: int = 2) -> CVAE:
    torch.manual_seed(0)
    return CVAE(config.model_copy(update={"initialisation": "torch"}), vocabulary, topics, roles=2).eval()


@pytest.mark.parametrize("change", [{}, {"latent_size": 0}, {"bow": True}, {"max_context": 1}, {"role_size": 3}])
def test_a_context_is_encoded_as_by_pytorch(encoded_roles: EncodedCorpus, change: dict[str, int]):
    model, encoded = a_model(WIDE.model_copy(update=change), 20), encoded_roles
    batch = collate(encoded, encoded.responses, model.config.max_context)
    for found, expected in zip(onnx_engine(model).condition(batch), TorchEngine(model).condition(batch), strict=True):
        found, expected = np.asarray(found), np.asarray(expected)
        assert (found.dtype, found.shape) == (np.float32, expected.shape)
        np.testing.assert_allclose(found, expected, atol=2e-6)


def steps_of(engine: Engine, rows: np.ndarray, seed: int = 0) -> list[Step]:
    """Four steps of the rows chosen from 70 with random states and tokens."""
    rng = np.random.default_rng(seed)
    condition = rng.standard_normal((70, WIDE.topic_size + 8 + WIDE.context_size), dtype=np.float32)
    z, tokens = rng.standard_normal((70, WIDE.latent_size), dtype=np.float32), rng.integers(0, 997, (4, 70))
    inverse_temperature = rng.uniform(0.1, 100, 70).astype(np.float32)
    _, states = engine.start(condition[rows], z[rows])
    found = []
    for token in tokens:
        found.append(engine.step(token[rows], states, inverse_temperature[rows], 8))
        states = found[-1].states
    return found


def arrays(step: Step) -> list[np.ndarray]:
    """All that a step says, its states too."""
    return [step.logits, step.values, step.ids, step.mass, step.tempered, *step.states]


def states_of(state: np.ndarray) -> GRUStates:
    """Without skip connections."""
    return GRUStates(state.astype(np.float32), np.zeros((len(state), 0), np.float32))


@pytest.mark.parametrize("config", [WIDE, WITH_SKIP], ids=["plain", "skip"])
def test_steps_are_those_of_pytorch(config: ModelConfig):
    model, rows = a_model(config, 997), np.arange(70)
    for found, expected in zip(steps_of(onnx_engine(model), rows), steps_of(TorchEngine(model), rows), strict=True):
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.states.state, expected.states.state, atol=2e-6)
        for name in ("logits", "values"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-6)
        for name in ("mass", "tempered"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4)


@pytest.mark.parametrize("config", [WIDE, WITH_SKIP], ids=["plain", "skip"])
@pytest.mark.parametrize("int8", [False, True])
def test_a_row_is_computed_alike_to_the_bit_in_any_company(int8: bool, config: ModelConfig):
    model, order = a_model(config, 997), np.random.default_rng(1).permutation(70)
    engine = onnx_engine(model, int8=int8)
    together = steps_of(engine, np.arange(70))
    choices = [np.arange(count) for count in (1, 2, 3, 5, 8, 13, 16, 17, 33, 64)] + [order, order[:7], np.array([69])]
    for other in (engine, onnx_engine(model, int8=int8, threads=1)):
        for rows in choices:
            for alone, all_ in zip(steps_of(other, rows), together, strict=True):
                for one, whole in zip(arrays(alone), arrays(all_), strict=True):
                    np.testing.assert_array_equal(one, whole[rows])


@pytest.mark.parametrize("role_size", [0, 3])
def test_a_context_is_encoded_alike_to_the_bit_in_any_batch(encoded_roles: EncodedCorpus, role_size: int):
    engine = onnx_engine(a_model(WIDE.model_copy(update={"role_size": role_size}), 20))
    encoded, responses = encoded_roles, encoded_roles.responses
    together = engine.condition(collate(encoded, responses, 9))
    for rows in (np.arange(1), np.array([7]), np.arange(3, 12), np.random.default_rng(0).permutation(len(responses))):
        for some, all_ in zip(engine.condition(collate(encoded, responses[rows], 9)), together, strict=True):
            np.testing.assert_array_equal(some, np.asarray(all_)[rows])


def test_what_was_said_before_is_not_encoded_again(encoded: EncodedCorpus, monkeypatch):
    model, responses = a_model(WIDE, 20), encoded.responses
    engine, fresh = onnx_engine(model), onnx_engine(model)
    runs: list[int] = []
    encode = engine._utterances.run

    class Spied:
        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            runs.append(len(feeds["lengths"]))
            return encode(names, feeds)

    monkeypatch.setattr(engine, "_utterances", Spied())
    monkeypatch.setattr("dialog_cvae.engines.onnx_engine.REMEMBERED", 12)
    for rows in (responses[4:5], responses[4:5], responses[5:6], responses, responses[4:6], responses[-3:]):
        batch = collate(encoded, rows, 9)
        for found, expected in zip(engine.condition(batch), fresh.condition(batch), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert runs[0] > 1
    assert runs[1] == 1  # the second had nothing new, the third one new utterance
    assert len(engine._known) <= 12


@pytest.mark.parametrize("config", [WIDE, WITH_SKIP], ids=["plain", "skip"])
def test_eight_bits_come_close(config: ModelConfig):
    model, rows = a_model(config, 997), np.arange(70)
    for found, expected in zip(
        steps_of(onnx_engine(model, int8=True), rows), steps_of(TorchEngine(model), rows), strict=True
    ):
        error = np.abs(found.logits - expected.logits).max()
        assert 1e-5 < error < 0.02 * np.ptp(expected.logits)


def test_no_weight_is_too_small_for_eight_bits(tiny_model: CVAE):
    with torch.no_grad():
        tiny_model.decoder.output.weight.zero_()
    engine = onnx_engine(tiny_model, int8=True)
    said = engine.step(np.array([1]), states_of(np.zeros((1, 7))), np.ones(1, np.float32), 3)
    np.testing.assert_allclose(said.logits[0], tiny_model.decoder.output.bias.detach().numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Responder]:
    return {name: Responder.load(SHIPPED, engine=name) for name in ("torch", "onnx")}  # type: ignore[arg-type]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(0.4, 0.9, candidates=24), Decoding(1.0, max_tokens=20)])
@pytest.mark.parametrize("turns", [1, 4])
def test_trained_weights_give_the_same_tokens(shipped: dict[str, Responder], decoding: Decoding, turns: int):
    talk = Conversation("talk", TALK[:turns], topic="PETS")
    ours, reference = (
        shipped[name].respond(talk, respond_as="A", n=5, seed=11, decoding=decoding, places=True)
        for name in ("onnx", "torch")
    )
    assert [(each.text, each.tokens) for each in ours] == [(each.text, each.tokens) for each in reference]
    for one, other in zip(ours, reference, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-3)
        assert one.place == pytest.approx(other.place, abs=1e-3)


def test_serving_needs_no_pytorch(tmp_path: Path, tiny_checkpoint: Checkpoint):
    """Nothing that would not be there, or takes long to import."""
    tiny_checkpoint.save(tmp_path / "best")
    code = """
import sys
sys.modules["torch"] = None
import dialog_cvae
from dialog_cvae import Conversation, Utterance
responder = dialog_cvae.load(sys.argv[1])
print(len(responder.respond(Conversation("talk", (Utterance("A", "we like cats"),)), respond_as="B")))
print([name for name in ("sklearn", "scipy", "nltk", "pandas") if name in sys.modules])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "best")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split("\n")[:2]) == (0, ["5", "[]"]), run.stderr


# The cache of graphs.


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "graphs", print)


def test_graphs_are_made_once_for_the_same_weights(cache: Cache, tiny_checkpoint: Checkpoint, monkeypatch, capsys):
    def opened(checkpoint: Checkpoint, *, int8: bool = False) -> OnnxEngine:
        return OnnxEngine.of(checkpoint, "weights", cache, int8=int8)

    opened(tiny_checkpoint)
    opened(tiny_checkpoint, int8=True)
    other = {name: array * 0.5 for name, array in tiny_checkpoint.weights.items()}
    changed = Checkpoint(tiny_checkpoint.config, other, tiny_checkpoint.tokenizer)
    arguments = np.ones((1, 16), np.float32), np.ones((1, 3), np.float32)
    (_, expected), (_, found) = TorchEngine(build_model(changed)).start(*arguments), opened(changed).start(*arguments)
    np.testing.assert_allclose(found.state, expected.state, atol=1e-6)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr("dialog_cvae.engines.onnx_graphs.graphs", forbidden)
    for checkpoint in (tiny_checkpoint, changed):
        opened(checkpoint)
    assert capsys.readouterr().out == ""


def test_other_code_makes_the_graphs_again(cache: Cache, tmp_path: Path, tiny_checkpoint: Checkpoint, monkeypatch):
    """A changed builder of graphs, or a changed module that it imports, must not be served by old graphs."""
    for package in OURS:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("dialog_cvae.engines.onnx_engine.code_digest", partial(code_digest, root=tmp_path))
    code_digest.cache_clear()
    OnnxEngine.of(tiny_checkpoint, "weights", cache)
    for module in ("engines/onnx_graphs.py", "model/weights.py"):
        with (tmp_path / "dialog_cvae" / module).open("a") as file:
            file.write("CHANGED = 1\n")
        code_digest.cache_clear()
        before = set((tmp_path / "graphs").glob("graphs-*"))
        OnnxEngine.of(tiny_checkpoint, "weights", cache)
        assert len(set((tmp_path / "graphs").glob("graphs-*")) - before) == 1


def test_a_damaged_graph_is_made_anew(cache: Cache, tmp_path: Path, tiny_checkpoint: Checkpoint, capsys):
    OnnxEngine.of(tiny_checkpoint, "weights", cache)
    (file,) = (tmp_path / "graphs").glob("graphs-*/step.npy")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    engine = OnnxEngine.of(tiny_checkpoint, "weights", cache)
    assert "is invalid and is rebuilt" in capsys.readouterr().out
    reference = TorchEngine(build_model(tiny_checkpoint))
    arguments = (np.array([5]), states_of(np.full((1, 7), 0.3)), np.ones(1, np.float32), 3)
    np.testing.assert_allclose(engine.step(*arguments).logits, reference.step(*arguments).logits, atol=1e-5)


# Which engine.


def test_engines_are_chosen_by_name(tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch):
    tiny_checkpoint.save(tmp_path / "best")
    names = {
        name: dialog_cvae.load(tmp_path / "best", engine=name).engine.name for name in ("auto", "onnx-int8", "torch")
    }
    assert names["auto"].startswith("ONNX Runtime ")
    assert "int8" not in names["auto"]
    assert names["onnx-int8"].endswith(", int8")
    assert names["torch"].startswith("PyTorch ")
    monkeypatch.setattr("dialog_cvae.generate.opening._installed", lambda package: package == "torch")
    assert dialog_cvae.load(tmp_path / "best").engine.name == names["torch"]
    with pytest.raises(ConfigError, match=r"^engine onnx needs the package onnxruntime, which is not installed$"):
        dialog_cvae.load(tmp_path / "best", engine="onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tensorrt"}, r"^engine must be one of auto, onnx, onnx-int8, onnx-fp32, torch, but is 'tensorrt'$"),
        ({"engine": "onnx", "device": "cuda"}, "runs on the cpu, but the device is cuda: take engine torch"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        dialog_cvae.load("nowhere", **options)


def test_a_provenance_is_not_needed(tiny_checkpoint: Checkpoint, tmp_path: Path):
    config = tiny_checkpoint.config.model_copy(update={"provenance": Provenance(data="mine")})
    Checkpoint(config, tiny_checkpoint.weights, tiny_checkpoint.tokenizer).save(tmp_path / "best")
    assert dialog_cvae.load(tmp_path / "best").name == "mine, step 0"
