"""The serving engine of a language model: ONNX Runtime, on a CPU, without PyTorch.

Open it to change how contexts are read and replies decoded; `language_graphs` makes the graphs. Its graphs are built
when a checkpoint is first opened, and cached under a digest of weights and code. A conversation that goes on is read
only where it is new.

Shape legend: B contexts or sequences, S new positions of each, R rows, P positions of a context, D width, Z latent; W,
N, K, M, E as in `language_states`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.base import Condition, Floats, Ints, Step, one_thread
from dialog_cvae.engines.language_adapters import checked_adapters
from dialog_cvae.engines.language_states import Context, LanguageStates, Memory
from dialog_cvae.engines.language_weights import LEVELS, ZERO_POINT, merged, z_maps
from dialog_cvae.engines.onnx_session import cores, session, weights_digest
from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import Checkpoint

GRAPHS_MODULE = "dialog_cvae.engines.language_graphs"  # cached graphs are valid for this module's code
STEP_OUTPUTS = ("logits", "values", "ids", "mass", "tempered")
BETWEEN_NODES_US = 50  # microseconds that threads wait for work; a longer wait would delay the other graph
HEAD_SIZES = 16  # the head size must be a multiple of this
ROWS_TOGETHER = 32  # rows decoded together; each has its own keys and values, which take much memory
READ_TOGETHER = 256  # positions read together; more are not faster per position
REMEMBERED_BYTES = 2**26  # memory for keys and values of earlier contexts


class OnnxLanguageEngine:
    """`Engine` over ONNX graphs; used by one thread at a time.

    Args:
        arrays: graphs and weights, as `language_graphs.graphs` makes them.
        config: sizes of the backbone.
        latent_weight: (maps * D, Z), what each map of z has, one below the other.
        threads: of each product; default one for each core that this process may use.
        remembered_bytes: memory for the keys and values of earlier contexts.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        config: LlamaConfig,
        latent_weight: Floats,
        threads: int | None = None,
        remembered_bytes: int = REMEMBERED_BYTES,
    ) -> None:
        count = threads or cores()
        self._config, self.latent_weight = config, latent_weight
        self._arrays = arrays
        self._int8 = "embedding_scale" in arrays
        self._layers = _opened(arrays, "layers", count, spin_us=BETWEEN_NODES_US)
        self._words = _opened(arrays, "words", count, spin_us=BETWEEN_NODES_US)
        self._latent = latent_weight.shape[1]
        self._maps = len(latent_weight) // config.width
        if self._latent:
            self._prior = _opened(arrays, "prior", count, spin_us=0)
            self._added = _opened(arrays, "added", count, spin_us=0)
        self._memory = Memory(remembered_bytes)
        self.name = f"ONNX Runtime {onnxruntime.__version__}{', int8' if self._int8 else ''}"
        self.rows = ROWS_TOGETHER

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        backbone: Backbone,
        source: str,
        cache: Cache,
        *,
        threads: int | None = None,
        int8: bool = True,
    ) -> OnnxLanguageEngine:
        """The engine of a checkpoint of adapters.

        Args:
            checkpoint: verified.
            backbone: the language model, whose weights are read only where the cache lacks the graphs.
            source: what errors call the checkpoint's weights.
            cache: where graphs and merged weights are kept.
            threads: see `OnnxLanguageEngine`.
            int8: see `language_graphs.graphs`.

        Raises:
            CheckpointError: see `dialog_cvae.engines.language_adapters.checked_adapters`; or attention heads of a size
                that ONNX Runtime does not compute.
        """
        _check_heads(backbone.config, source)
        adapters = checked_adapters(checkpoint, backbone, source)
        config = checkpoint.config.language
        assert config is not None
        levels = weight_levels()

        def make() -> Mapping[str, NDArray[Any]]:
            from dialog_cvae.engines.language_graphs import graphs

            weights = merged(adapters, backbone.weights(), config, backbone.config)
            return graphs(weights, backbone.config, weight_levels=levels, int8=int8)

        origin = {
            "base": backbone.sha256,
            "code": code_digest(GRAPHS_MODULE),
            "levels": levels if int8 else None,
            "sizes": config.model_dump(include={"alpha", "latent_size", "rank", "z_layers"}),
            "weights": weights_digest(adapters),
        }
        latent = np.concatenate(
            [*z_maps(adapters, config, backbone.config), np.zeros((0, config.latent_size), np.float32)]
        )
        return cls(cache.get(_KEPT, origin, make), backbone.config, latent, threads)

    def condition(self, batch: TurnBatch) -> Condition:
        """See `Engine.condition`."""
        contexts = [
            self._read(batch.tokens[row, : begin + 1]) for row, begin in zip(batch.block, batch.begin, strict=True)
        ]
        if not self._latent:
            nothing = np.zeros((len(contexts), 0), np.float32)
            return Condition(contexts, nothing, nothing)
        states = np.stack([context.condition for context in contexts])
        mean, logvar = np.split(self._prior.run(None, {"states": states})[0], 2, axis=1)
        return Condition(contexts, mean, logvar)

    def start(self, contexts: Sequence[Context], z: Floats) -> tuple[Ints, LanguageStates]:
        """See `Engine.start`."""
        added: Floats = np.zeros((len(z), 0, self._config.width), np.float32)
        if self._latent:
            added = self._added.run(None, {"z": z})[0].reshape(len(z), self._maps, self._config.width)
        return np.array([context.tokens[-1] for context in contexts]), LanguageStates.begun(contexts, added)

    def step(self, tokens: Ints, states: LanguageStates, inverse_temperature: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""
        states = states.roomy()
        hidden = self._advanced(tokens, states)
        feeds: dict[str, Any] = {
            "states": hidden[None],
            "inverse_temperature": inverse_temperature[:, None],
            "likeliest": np.array([min(likeliest, self._config.vocab_size)]),
            "samples": np.array((inverse_temperature != 1).any()),
            **self._middles(len(tokens)),
        }
        logits, values, ids, mass, tempered = self._words.run(STEP_OUTPUTS, feeds)
        return Step(logits, states.advanced(), values, ids, mass[:, 0], tempered[:, 0])

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """See `Engine.side_by_side`."""
        return one_thread()

    # ---- Reading

    def _read(self, tokens: Ints) -> Context:
        """A context's keys and values, from its tokens (P,); what was read before is copied."""
        known, shared = self._memory.closest(tokens)
        if known is not None and shared == len(tokens) == len(known.tokens):
            return known
        config, count = self._config, len(tokens)
        first = min(shared, count - 1)  # at least one position is read, because its state is needed
        # A product with a single row is rounded otherwise: positions come in twos. One too many means nothing.
        end = first + -(-(count - first) // 2) * 2
        kept = np.empty((2 * config.layers, config.kv_heads, end, config.head_size), np.float32)
        if known is not None:
            kept[:, :, :first] = known.kept[:, :, :first]
        binding, padded = self._bound(kept[:, None], 1), np.append(tokens, 0)
        for begin in range(first, end, READ_TOGETHER):
            together = padded[None, begin : min(begin + READ_TOGETHER, end)]
            added = np.zeros((self._maps, together.size, config.width), np.float32)
            states = self._run(together, np.array([begin]), added, binding)
        context = Context(tokens.copy(), kept[:, :, :count], states[count - 1 - begin].copy())
        self._memory.add(context, known if known is not None and shared == len(known.tokens) else None)
        return context

    # ---- Decoding

    def _advanced(self, tokens: Ints, states: LanguageStates) -> Floats:
        """The states (R, D) of one more token of each row, whose keys and values are written to the table."""
        if states.bound is None:
            states.bound = self._bound(states.table, len(tokens))
        order = np.argsort(states.places)
        added = states.added[order].swapaxes(0, 1)
        return self._run(tokens[order, None], states.lengths[order], added, states.bound)[states.places]

    def _run(self, tokens: Ints, before: Ints, added: Floats, binding: onnxruntime.IOBinding) -> Floats:
        """One run of the layers; see `language_graphs`.

        Args:
            tokens: (B, S), of one sequence or one of each.
            before: (B,) positions.
            added: (maps, R, D).
            binding: to the arrays of keys and values.

        Returns:
            (R, D) states.
        """
        feeds = {
            "x": self._embedded(tokens.ravel())[None],
            "by_sequence": np.array([*tokens.shape, -1]),
            "last": (before + (tokens.shape[1] - 1)).astype(np.int32),
            "seen": np.array(before.max() + tokens.shape[1], np.int32),
            **{f"z_{index}": np.ascontiguousarray(each)[None] for index, each in enumerate(added)},
            **self._middles(tokens.size),
        }
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output("states")  # the size differs from the last run
        self._layers.run_with_iobinding(binding)
        states: Floats = binding.get_outputs()[0].numpy()[0]
        return states

    def _bound(self, table: Floats, rows: int) -> onnxruntime.IOBinding:
        """The first rows of a table (W, N, K, M, E), as inputs and as outputs."""
        binding = self._layers.io_binding()
        binding.bind_output("states")  # states are the first output
        for index, array in enumerate(table):
            name = f"{('key', 'value')[index % 2]}_{index // 2}"
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array[:rows])
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"new_{name}", value)
        return binding

    def _embedded(self, tokens: Ints) -> Floats:
        """(R, D)."""
        found: Floats = self._arrays["embedding"][tokens].astype(np.float32)
        return found * self._arrays["embedding_scale"][tokens, None] if self._int8 else found

    def _middles(self, rows: int) -> dict[str, NDArray[np.uint8]]:
        return {"zero_points": np.full(rows, ZERO_POINT, np.uint8)} if self._int8 else {}


def _check_heads(sizes: LlamaConfig, source: str) -> None:
    """Refuse a language model with heads that ONNX Runtime does not compute."""
    if sizes.head_size % HEAD_SIZES:
        raise CheckpointError(
            f"{source}: the language model has attention heads of size {sizes.head_size}; ONNX Runtime needs a "
            f"multiple of {HEAD_SIZES}: take engine torch"
        )


def _opened(
    arrays: Mapping[str, NDArray[Any]], name: str, threads: int, *, spin_us: int
) -> onnxruntime.InferenceSession:
    """The session of a graph, with its weights; see `language_graphs.graphs` for the names."""
    own = {each: array for each, array in arrays.items() if each.startswith(f"{name}_")}
    return session(arrays[f"graph_{name}"].tobytes(), threads, spin_us=spin_us, weights=own)


@cache
def multiplies_exactly() -> bool:
    """Whether products of bytes keep all bits; on x86 processors without VNNI the sum of two is cut to 16 bits."""
    from onnx import TensorProto, helper

    kinds = (("x", TensorProto.UINT8), ("w", TensorProto.INT8))
    inputs = [helper.make_tensor_value_info(name, kind, [64, 64]) for name, kind in kinds]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, [64, 64])
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "product", inputs, [output])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    feeds = {"x": np.full((64, 64), 255, np.uint8), "w": np.full((64, 64), LEVELS, np.int8)}
    product = session(model.SerializeToString(), 1, spin_us=0).run(None, feeds)[0]
    return bool((product == 64 * 255 * LEVELS).all())


def weight_levels() -> int:
    """Levels of a rounded weight on this processor, on either side of 0: as many as keep the products exact."""
    return LEVELS if multiplies_exactly() else LEVELS // 2


_KEPT: Kind[Mapping[str, NDArray[Any]]] = Kind("language", lambda arrays: arrays, lambda arrays: arrays)
