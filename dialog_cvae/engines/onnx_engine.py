"""The serving engine: the model in ONNX Runtime, on a CPU, without PyTorch.

Open it to change how encoded utterances are reused, or what each graph receives; `onnx_graphs` makes the graphs. Its
graphs are built when a checkpoint is first opened, and cached under a digest of weights and code. ONNX Runtime computes
a row the same way however many rows there are, so batches may have any size and encoded utterances are reused.

Shape legend: U utterances, L tokens of the longest, B windows, S context slots, R rows, C condition, Z latent,
D decoder state, A what z adds to a step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.engines.base import Condition, Floats, Ints, Step, one_thread
from dialog_cvae.engines.gru_states import GRUStates
from dialog_cvae.engines.onnx_session import cores, session, weights_digest
from dialog_cvae.model.weights import START, checked_weights
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import DialogBatch

GRAPHS_MODULE = "dialog_cvae.engines.onnx_graphs"  # cached graphs are valid for this module's code
STEP_OUTPUTS = ("logits", "next_state", "values", "ids", "mass", "tempered")
BETWEEN_STEPS_US = 300  # microseconds that token selection takes, approximately
ROWS_TOGETHER = 64  # larger batches are not faster per row
REMEMBERED = 4096  # utterances whose vectors are kept, so that each turn of a conversation is encoded once


class OnnxEngine:
    """`Engine` over ONNX graphs; used by one thread at a time.

    Args:
        graphs: serialised models, as `onnx_graphs.graphs` makes them.
        latent_weight: (D, Z).
        threads: of each product; default one for each core that this process may use.
        int8: whether the graphs multiply in 8 bits, for the name.
    """

    def __init__(
        self, graphs: Mapping[str, bytes], latent_weight: Floats, threads: int | None = None, *, int8: bool = False
    ) -> None:
        count = threads or cores()
        encoding = (session(graphs[name], count, spin_us=0) for name in ("utterances", "context", "start"))
        self._utterances, self._context, self._start = encoding
        self._added = session(graphs["added"], count, spin_us=0) if "added" in graphs else None
        self._step = session(graphs["step"], count, spin_us=BETWEEN_STEPS_US)
        self._has_roles = any(each.name == "roles" for each in self._context.get_inputs())
        self._known: dict[bytes, Floats] = {}  # vectors of utterances, by a digest of their tokens
        self._vocabulary: int = self._step.get_outputs()[0].shape[1]
        self.name = f"ONNX Runtime {onnxruntime.__version__}{', int8' if int8 else ''}"
        self.rows, self.latent_weight = ROWS_TOGETHER, latent_weight

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        source: str,
        cache: Cache,
        *,
        threads: int | None = None,
        int8: bool = False,
    ) -> OnnxEngine:
        """The engine of a checkpoint.

        Args:
            checkpoint: verified.
            source: what errors call its weights.
            cache: where its graphs are kept.
            threads: see `OnnxEngine`.
            int8: see `onnx_graphs.graphs`.

        Raises:
            CheckpointError: a weight does not fit; see `dialog_cvae.model.weights.checked_weights`.
        """
        weights, config = checked_weights(checkpoint, source, "dialog model"), checkpoint.config.model

        def make() -> Mapping[str, bytes]:
            from dialog_cvae.engines.onnx_graphs import graphs

            return graphs(weights, config, int8=int8)

        origin = {
            "code": code_digest(GRAPHS_MODULE),
            "int8": int8,
            "model": config.model_dump(),
            "weights": weights_digest(weights),
        }
        start = START.of(weights).weight
        latent = start[:, start.shape[1] - config.latent_size :]
        return cls(cache.get(_KEPT, origin, make), latent, threads, int8=int8)

    def condition(self, batch: DialogBatch) -> Condition:
        """See `Engine.condition`."""
        vectors = self._encoded(batch)[batch.context.T]  # (S, B, 2H)
        floors = batch.floors.T[:, :, None]
        feeds: dict[str, NDArray[Any]] = {
            "said": np.concatenate((vectors, floors, 1 - floors), axis=2),  # one-hot floor: responder, other
            "lengths": batch.context_lengths.astype(np.int32),
            "topic": batch.topic,
            "profiles": batch.profiles,
            "profiles_known": batch.profiles_known,
        }
        if self._has_roles:
            feeds |= {"roles": np.ascontiguousarray(batch.roles.T), "role": batch.role}
        vector, *prior = self._context.run(None, feeds)
        mean, logvar = np.split(prior[0], 2, axis=1) if prior else np.zeros((2, len(vector), 0), np.float32)
        return Condition(list(vector), mean, logvar)

    def _encoded(self, batch: DialogBatch) -> Floats:
        """(U, 2H) the utterances' vectors; what was said in an earlier turn is remembered."""
        keys = [
            hashlib.blake2b(row[:length].tobytes()).digest()
            for row, length in zip(batch.tokens, batch.lengths, strict=True)
        ]
        new = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        fresh: dict[bytes, Floats] = {}
        if new:
            lengths = batch.lengths[new]
            tokens = np.ascontiguousarray(batch.tokens[new, : lengths.max()].T)
            words, index = np.unique(tokens, return_inverse=True)
            feeds = {"words": words, "index": index.reshape(tokens.shape), "lengths": lengths}
            vectors = self._utterances.run(None, feeds)[0]
            fresh = {keys[row]: vector for row, vector in zip(new, vectors, strict=True)}
        found = np.stack([fresh[key] if key in fresh else self._known[key] for key in keys])
        self._known |= fresh
        for key in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:  # the oldest
            del self._known[key]
        return found

    def start(self, contexts: Sequence[Floats], z: Floats) -> tuple[Ints, GRUStates]:
        """See `Engine.start`."""
        state: Floats = self._start.run(None, {"source": np.concatenate((np.stack(contexts), z), axis=1)})[0]
        added: Floats = np.zeros((len(z), 0), np.float32) if self._added is None else self._added.run(None, {"z": z})[0]
        return np.full(len(z), Tokenizer.bos_id), GRUStates(state, added)

    def step(self, tokens: Ints, states: GRUStates, inverse_temperature: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""
        feeds: dict[str, Any] = {
            "tokens": tokens,
            "state": states.state,
            "inverse_temperature": inverse_temperature[:, None],
            "likeliest": np.array([min(likeliest, self._vocabulary)]),
            "samples": np.array((inverse_temperature != 1).any()),
        }
        if self._added is not None:
            feeds["added"] = states.added
        logits, following, values, ids, mass, tempered = self._step.run(STEP_OUTPUTS, feeds)
        return Step(logits, states._replace(state=following), values, ids, mass[:, 0], tempered[:, 0])

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """See `Engine.side_by_side`."""
        return one_thread()


def _pack(graphs: Mapping[str, bytes]) -> dict[str, NDArray[np.uint8]]:
    return {name: np.frombuffer(graph, dtype=np.uint8) for name, graph in graphs.items()}


def _unpack(arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


_KEPT: Kind[Mapping[str, bytes]] = Kind("graphs", _pack, _unpack)
