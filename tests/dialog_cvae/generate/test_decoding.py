"""Decoding against a naive loop over the model itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.engines.base import ROWS
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import Draw, SpecialIds
from dialog_cvae.generate.pool import Pool, Start, decode
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from tests.conftest import make_checkpoint, make_model

WAYS = [Decoding(max_tokens=12), Decoding(1.0, max_tokens=12), Decoding(2.0, 0.7, max_tokens=12)]


class Inputs:
    """A tiny model with random conditions, codes and uniforms for 40 rows."""

    def __init__(self, model: CVAE, tokenizer: Tokenizer) -> None:
        self.model, self.engine, self.tokenizer = model.eval(), TorchEngine(model), tokenizer
        rng = np.random.default_rng(5)
        size = model.prior_network[0].in_features
        self.condition = rng.standard_normal((40, size), dtype=np.float32)
        self.z = rng.standard_normal((40, model.config.latent_size), dtype=np.float32)
        self.uniforms = rng.random((40, 12), dtype=np.float32)

    @property
    def special(self) -> SpecialIds:
        t = self.tokenizer
        return SpecialIds(t.eos_id, t.unk_id, tuple(i for i in t.never_generated if i != t.unk_id))

    def start(self, rows: NDArray[np.int64] | slice = slice(None)) -> Start:
        return Start(self.condition[rows], self.z[rows], self.uniforms[rows])

    def decode(self, decoding: Decoding, rows: NDArray[np.int64] | slice = slice(None)) -> list[Draw]:
        return decode(self.engine, self.start(rows), decoding, self.special, len(self.tokenizer))


@pytest.fixture(params=[False, True], ids=["plain", "skip"])
def inputs(tiny_config: ModelConfig, tokenizer: Tokenizer, request: pytest.FixtureRequest) -> Inputs:
    return Inputs(make_model(tiny_config.model_copy(update={"skip": request.param}), tokenizer), tokenizer)


def naive_greedy(inputs: Inputs, row: int, limit: int, allowed: list[int]) -> list[int]:
    """Argmax, one row and one token at a time, over the whole prefix again."""
    model, tokenizer = inputs.model, inputs.tokenizer
    ids = [tokenizer.bos_id]
    state = model.decoder.initial_state(*(torch.from_numpy(a[row : row + 1]) for a in (inputs.condition, inputs.z)))
    z = torch.from_numpy(inputs.z[row]) if model.config.skip else torch.zeros(0)
    while len(ids) <= limit:
        embedded = torch.cat((model.embedding(torch.tensor([ids])), z.expand(1, len(ids), -1)), dim=-1)
        hidden, _ = model.decoder.gru(embedded, state[None])
        logits = model.decoder.output(torch.cat((hidden[0, -1], z)))
        options = [i for i in allowed if i != tokenizer.eos_id or len(ids) > 1]
        ids.append(max(options, key=lambda i: (float(logits[i]), -i)))
        if ids[-1] == tokenizer.eos_id:
            break
    return [i for i in ids[1:] if i != tokenizer.eos_id]


@torch.no_grad()
def test_greedy_is_the_naive_argmax(inputs):
    allowed = [i for i in range(len(inputs.tokenizer)) if i not in inputs.tokenizer.never_generated]
    draws = inputs.decode(WAYS[0])
    assert len({draw.tokens for draw in draws}) > 5
    for row, draw in enumerate(draws):
        assert list(draw.tokens) == naive_greedy(inputs, row, 12, allowed)


@pytest.mark.parametrize("decoding", [*WAYS, Decoding(1.0, allow_unknown=True, max_tokens=12)])
@torch.no_grad()
def test_log_prob_is_the_models_own_reconstruction(inputs, encoded, decoding):
    draws = inputs.decode(decoding)
    assert {draw.length - len(draw.tokens) for draw in draws} == {0, 1}  # cut off, and ended by </s>
    for row, draw in enumerate(draws):
        expected = -reconstruction(inputs, encoded, row, draw)
        assert draw.log_prob == pytest.approx(expected, abs=1e-4)
        assert draw.length <= decoding.max_tokens


def reconstruction(inputs: Inputs, encoded: EncodedCorpus, row: int, draw: Draw) -> float:
    """-log p(x | z, c) by teacher forcing through `CVAE.reconstruction`."""
    tokenizer = inputs.tokenizer
    targets = [*draw.tokens, *([tokenizer.eos_id] if draw.length > len(draw.tokens) else [])]
    tokens = np.array([[tokenizer.bos_id, *targets]])
    any_window = collate(encoded, encoded.responses[:1], 1)
    batch = any_window._replace(tokens=tokens, lengths=np.array([tokens.size]), response=np.array([0]))
    condition, z = (torch.from_numpy(array[row : row + 1]) for array in (inputs.condition, inputs.z))
    return float(inputs.model.reconstruction(TensorBatch.from_arrays(batch), Vectors(condition, condition), z))


@pytest.mark.parametrize("decoding", WAYS)
def test_forbidden_tokens_never_appear_and_no_reply_is_empty(inputs, decoding):
    for draw in inputs.decode(decoding):
        assert not set(draw.tokens) & {*inputs.tokenizer.never_generated, inputs.tokenizer.eos_id}
        assert draw.tokens
        assert draw.log_prob < 0


def test_the_unknown_word_appears_only_if_allowed(inputs):
    unknown = inputs.tokenizer.unk_id
    with torch.no_grad():
        inputs.model.decoder.output.bias[unknown] += 5.0
    assert not any(unknown in draw.tokens for draw in inputs.decode(Decoding(1.0, max_tokens=12)))
    allowed = inputs.decode(Decoding(1.0, allow_unknown=True, max_tokens=12))
    assert sum(unknown in draw.tokens for draw in allowed) > 20
    others = set(inputs.tokenizer.never_generated) - {unknown}
    assert not any(others & set(draw.tokens) for draw in allowed)


def test_the_first_token_never_ends_a_reply(inputs):
    with torch.no_grad():
        inputs.model.decoder.output.bias[inputs.tokenizer.eos_id] += 50.0
    for decoding in WAYS:
        assert {(len(draw.tokens), draw.length) for draw in inputs.decode(decoding)} == {(1, 2)}


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_reply_is_cut_at_max_tokens(inputs, limit):
    whole = inputs.decode(Decoding(max_tokens=12))
    for cut, draw in zip(inputs.decode(Decoding(max_tokens=limit)), whole, strict=True):
        assert cut.tokens == draw.tokens[:limit]
        assert cut.length == min(limit, draw.length)


@pytest.mark.parametrize("decoding", WAYS)
def test_a_row_does_not_depend_on_the_other_rows(inputs, decoding):
    together = inputs.decode(decoding)
    for count in (1, 2, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 1, 40):
        assert inputs.decode(decoding, slice(count)) == together[:count]
    assert inputs.decode(decoding, slice(0, 0)) == []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(40)
        assert inputs.decode(decoding, order) == [together[row] for row in order]


@pytest.mark.parametrize("decoding", WAYS)
def test_a_row_is_bit_for_bit_independent_of_the_other_rows(inputs, decoding):
    (before, *_) = inputs.decode(decoding)
    inputs.condition[1:] *= 3
    inputs.z[1:] = 0
    (after, *others) = inputs.decode(decoding)
    assert after == before
    assert len(others) == 39


@pytest.mark.usefixtures("any_threads")
@pytest.mark.parametrize(("decoder", "vocabulary"), [(400, 3000), (400, 3001), (129, 1234), (33, 6007)])
def test_a_row_does_not_depend_on_its_place_the_other_rows_or_threads(decoder, vocabulary):
    """Above all at the paper's width, where matrix products take other ways through the processor."""
    torch.manual_seed(0)
    model = CVAE(ModelConfig(decoder_size=decoder, initialisation="torch"), vocabulary, 2)
    engine, rng = TorchEngine(model), np.random.default_rng(0)
    condition = rng.standard_normal((40, model.prior_network[0].in_features), dtype=np.float32)
    z = 3 * rng.standard_normal((40, 200), dtype=np.float32)
    uniforms = rng.random((40, 6), dtype=np.float32)
    decoding, special = Decoding(1.0, max_tokens=6), SpecialIds(3, 1, (0, 2, 4))

    def draws(rows: NDArray[np.int64]) -> list[Draw]:
        return decode(engine, Start(condition[rows], z[rows], uniforms[rows]), decoding, special, vocabulary)

    together = draws(np.arange(40))
    for row in range(0, 40, 9):
        assert draws(np.array([row])) == [together[row]]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        order = rng.permutation(40)
        assert draws(order) == [together[row] for row in order]


def test_a_temperature_near_zero_is_greedy_and_a_high_one_is_not(inputs):
    greedy, cold, hot = (inputs.decode(Decoding(t, max_tokens=12)) for t in (0.0, 0.01, 10.0))
    assert sum(a.tokens[0] == b.tokens[0] for a, b in zip(greedy, cold, strict=True)) >= 36
    assert sum(a.tokens == b.tokens for a, b in zip(greedy, hot, strict=True)) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": -1.0}, r"^temperature must be 0 or from 0.01 to 10, but is -1.0$"),
        ({"temperature": 1e-9}, "temperature must be"),
        ({"temperature": float("inf")}, "but is inf"),
        ({"temperature": float("nan")}, "but is nan"),
        ({"top_p": 0.0}, r"^top_p must be above 0 and at most 1, but is 0.0$"),
        ({"top_p": 1.1}, "but is 1.1"),
        ({"top_p": float("nan")}, "but is nan"),
        ({"prior_temperature": -0.1}, r"^prior_temperature must be from 0 to 10, but is -0.1$"),
        ({"prior_temperature": 10.5}, "but is 10.5"),
        ({"prior_temperature": float("nan")}, "but is nan"),
        ({"candidates": -1}, r"^candidates must be from 0 to 256, but is -1$"),
        ({"candidates": 257}, "but is 257"),
        ({"max_tokens": 0}, r"^max_tokens must be from 1 to 1000, but is 0$"),
        ({"max_tokens": 10**30}, "^max_tokens must be from 1 to 1000, but is 1000"),
    ],
)
def test_invalid_decodings_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Decoding(**fields)


def test_a_checkpoint_gives_the_same_draws(tmp_path, inputs):
    """Saving and loading changes no draw."""
    make_checkpoint(inputs.model, inputs.tokenizer).save(tmp_path / "best")
    loaded = Responder.load(tmp_path / "best", engine="torch")
    before = inputs.decode(WAYS[1])
    inputs.engine = loaded.engine
    assert inputs.decode(WAYS[1]) == before


# Rows of several requests together.


@pytest.mark.parametrize("engine", ["torch", "onnx", "onnx-int8"])
def test_rows_that_come_and_go_are_decoded_as_if_alone(inputs, tmp_path, engine):
    """Each in its own way of drawing, joining at any step; some are taken out again."""
    make_checkpoint(inputs.model, inputs.tokenizer).save(tmp_path / "best")
    inputs.engine = Responder.load(tmp_path / "best", engine=engine).engine
    rng = np.random.default_rng(3)
    alone = {(row, way): inputs.decode(WAYS[way], np.array([row]))[0] for row in range(40) for way in range(3)}
    pool: Pool[tuple[int, int]] = Pool(inputs.engine, inputs.special, len(inputs.tokenizer))
    waiting = [(int(row), int(way)) for row, way in zip(rng.permutation(40), rng.integers(0, 3, 40), strict=True)]
    expected, removed = dict.fromkeys(waiting), set(waiting[5:40:7])
    found: dict[tuple[int, int], Draw] = {}
    while waiting or len(pool):
        for row, way in waiting[:3]:
            pool.add([(row, way)], inputs.start(np.array([row])), WAYS[way])
        waiting = waiting[3:]
        pool.remove(removed.__contains__)
        for key, draw in pool.step():
            assert key not in found
            found[key] = draw
    assert found == {key: alone[key] for key in expected if key not in removed}
    assert pool.step() == []


def test_a_pool_whose_rows_were_all_removed_can_be_used_again(inputs):
    pool: Pool[int] = Pool(inputs.engine, inputs.special, len(inputs.tokenizer))
    pool.add([], inputs.start(slice(0, 0)), WAYS[0])
    assert (len(pool), pool.step()) == (0, [])
    pool.add([1, 2], inputs.start(slice(2)), WAYS[0])
    pool.step()
    pool.remove(lambda _: True)
    assert (len(pool), pool.step()) == (0, [])
