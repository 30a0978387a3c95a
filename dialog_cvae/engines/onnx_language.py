"""The serving engine of a language model: ONNX Runtime, on a CPU, without PyTorch.

Its graphs are built when a checkpoint is first opened, and cached under a digest of weights and code. A conversation
that goes on is read only where it is new, and what was read is shared by all replies to it.

Shape legend: B contexts, R rows, P positions, G groups, N slots of a group, S positions of the longest context, T of
the longest own part, D width, K key and value heads, Z latent.
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

from dialog_cvae.config import LlamaConfig
from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.base import Condition, Floats, Ints, Step, one_thread
from dialog_cvae.engines.language_adapters import checked_adapters
from dialog_cvae.engines.language_states import BLOCK, MASKED, Context, LanguageStates, Memory, Table, whole_blocks
from dialog_cvae.engines.language_weights import LEVELS, MIDDLE, merged, z_maps
from dialog_cvae.engines.onnx_session import cores, session, weights_digest
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import Checkpoint

GRAPHS_MODULE = "dialog_cvae.engines.language_graphs"  # whose code decides what the graphs are
STEP_OUTPUTS = ("logits", "values", "ids", "mass", "tempered")
BETWEEN_NODES_US = 50  # that threads wait for work before they sleep; longer would delay the other graph
ROWS_TOGETHER = 64
READ_TOGETHER = 256  # positions; more are no faster for each
REMEMBERED_BYTES = 2**26  # of keys and values of contexts


class OnnxLanguageEngine:
    """`Engine` over ONNX graphs; used by one thread at a time.

    Args:
        arrays: graphs and weights, as `language_graphs.graphs` makes them.
        config: sizes of the base.
        latent_weight: (maps * D, Z), what each map of z has, one below the other.
        threads: of each product; default one for each core that this process may use.
        remembered_bytes: of contexts that are remembered.
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
        base: Backbone,
        source: str,
        cache: Cache,
        *,
        threads: int | None = None,
        int8: bool = True,
    ) -> OnnxLanguageEngine:
        """The engine of a checkpoint of adapters.

        Args:
            checkpoint: verified.
            base: the language model, whose weights are read only where the cache lacks the graphs.
            source: what errors call the checkpoint's weights.
            cache: where graphs and merged weights are kept.
            threads: see `OnnxLanguageEngine`.
            int8: see `language_graphs.graphs`.

        Raises:
            CheckpointError: see `dialog_cvae.engines.language_adapters.checked_adapters`.
        """
        adapters = checked_adapters(checkpoint, base, source)
        config = checkpoint.config.language
        assert config is not None
        levels = LEVELS if multiplies_exactly() else LEVELS // 2

        def make() -> Mapping[str, NDArray[Any]]:
            from dialog_cvae.engines.language_graphs import graphs

            weights = merged(adapters, base.weights(), config, base.config)
            return graphs(weights, base.config, weight_levels=levels, int8=int8)

        origin = {
            "base": base.sha256,
            "code": code_digest(GRAPHS_MODULE),
            "levels": levels if int8 else None,
            "sizes": config.model_dump(include={"alpha", "latent_size", "rank", "z_layers"}),
            "weights": weights_digest(adapters),
        }
        latent = np.concatenate([*z_maps(adapters, config, base.config), np.zeros((0, config.latent_size), np.float32)])
        return cls(cache.get(_KEPT, origin, make), base.config, latent, threads)

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

    def step(self, tokens: Ints, states: LanguageStates, sharpness: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""
        states = states.writable()
        hidden = self._advanced(tokens, states)
        states.table.written[states.slots] = states.lengths + 1
        feeds: dict[str, Any] = {
            "states": hidden,
            "sharpness": sharpness[:, None],
            "likeliest": np.array([min(likeliest, self._config.vocab_size)]),
            "samples": np.array((sharpness != 1).any()),
            **self._middles(len(tokens)),
        }
        logits, values, ids, mass, tempered = self._words.run(STEP_OUTPUTS, feeds)
        following = LanguageStates(states.contexts, states.lengths + 1, states.added, states.slots, states.table)
        return Step(logits, following, values, ids, mass[:, 0], tempered[:, 0])

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
        sizes = (2 * config.layers, config.kv_heads, whole_blocks(count), config.head_size)
        kept = np.zeros(sizes, np.float32)
        first = min(shared, count - 1) // BLOCK * BLOCK  # at least one position is read, for its state
        if known is not None:
            kept[:, :, :first] = known.kept[:, :, :first]
        table = Table(
            (Context(tokens, np.zeros((*sizes[:2], BLOCK, sizes[3]), np.float32), kept[0, 0]),), kept[:, :, None]
        )
        padded = np.pad(tokens, (0, sizes[2] - count))
        state = np.zeros(config.width, np.float32)
        for begin in range(first, sizes[2], READ_TOGETHER):
            places = np.arange(begin, min(begin + READ_TOGETHER, sizes[2]))
            states = self._advanced_context(padded[places], places, table)
            if begin <= count - 1 < begin + len(places):
                state = states[0, count - 1 - begin].copy()
        context = Context(tokens.copy(), kept, state)
        self._memory.add(context, known if known is not None and shared == len(known.tokens) else None)
        return context

    def _advanced_context(self, tokens: Ints, places: Ints, table: Table) -> Floats:
        """Write keys and values of positions `places` (P,) to the table's only slot; their states (1, P, D)."""
        config, count = self._config, len(places)
        served = config.heads // config.kv_heads
        bias = np.full((1, 1, count * served, BLOCK + table.own.shape[3]), MASKED)
        visible = places[:, None] >= np.arange(table.own.shape[3])
        bias[0, 0, :, BLOCK:][np.repeat(visible, served, axis=0)] = 0
        write = np.empty((count, config.kv_heads, 3), np.int64)
        write[:, :, 0], write[:, :, 1], write[:, :, 2] = np.arange(config.kv_heads), 0, places[:, None]
        added = np.zeros((self._maps, 1, count, config.width), np.float32)
        rows = np.arange(count)
        return self._run(tokens, places, bias, rows, rows, write, added, table)

    # ---- Decoding

    def _advanced(self, tokens: Ints, states: LanguageStates) -> Floats:
        """The states (1, R, D) of one more token of each row, whose keys and values are written to the table."""
        table, slots, lengths = states.table, states.slots, states.lengths
        wide, context_positions = table.slots // len(table.groups), table.shared.shape[3]
        begins = np.array([len(context.tokens) - 1 for context in table.groups])
        bias = np.full((1, table.slots, 1, context_positions + table.own.shape[3]), MASKED)
        before = np.repeat(np.arange(context_positions) < begins[:, None], wide, axis=0)
        bias[0, :, 0, :context_positions][before] = 0
        own = np.zeros((table.slots, table.own.shape[3]), bool)
        own[slots] = np.arange(table.own.shape[3]) <= lengths[:, None]
        bias[0, :, 0, context_positions:][own] = 0
        write = np.empty((len(slots), self._config.kv_heads, 3), np.int64)
        write[:, :, 0], write[:, :, 1] = np.arange(self._config.kv_heads), slots[:, None]
        write[:, :, 2] = lengths[:, None]
        grid = np.zeros(table.slots, np.int64)
        grid[slots] = np.arange(len(slots))
        positions = begins[slots // wide] + lengths
        added = states.added.swapaxes(0, 1)[:, None]
        return self._run(tokens, positions, bias, grid, slots, write, added, table)

    def _run(
        self,
        tokens: Ints,
        positions: Ints,
        bias: Floats,
        grid: Ints,
        place: Ints,
        write: Ints,
        added: Floats,
        table: Table,
    ) -> Floats:
        """One run of the layers; see `language_graphs`."""
        heads = self._config.kv_heads
        feeds = {
            "x": self._embedded(tokens)[None],
            "position": positions[None],
            "bias": bias,
            "grid": grid,
            "place": place,
            "write": write,
            "by_group": np.array([heads, len(table.groups), -1, 0]),
            "by_slot": np.array([heads, table.slots, -1, 0]),
            "parts": np.array([table.shared.shape[3], table.own.shape[3]]),
            **{f"z_{index}": np.ascontiguousarray(each) for index, each in enumerate(added)},
            **self._middles(len(tokens)),
        }
        if table.bound is None:
            table.bound = self._bound(table)
        for name, array in feeds.items():
            table.bound.bind_cpu_input(name, array)
        table.bound.bind_output("states")  # of another size than in the last run
        self._layers.run_with_iobinding(table.bound)
        states: Floats = table.bound.get_outputs()[0].numpy()
        return states

    def _bound(self, table: Table) -> onnxruntime.IOBinding:
        """The table's arrays as inputs, and as outputs those that are written to."""
        binding = self._layers.io_binding()
        binding.bind_output("states")  # the first of the outputs
        for index in range(2 * self._config.layers):
            name = f"{('key', 'value')[index % 2]}_{index // 2}"
            own, shared = (
                onnxruntime.OrtValue.ortvalue_from_numpy(array[index]) for array in (table.own, table.shared)
            )
            binding.bind_ortvalue_input(f"context_{name}", shared)
            binding.bind_ortvalue_input(f"own_{name}", own)
            binding.bind_ortvalue_output(f"new_own_{name}", own)
        return binding

    def _embedded(self, tokens: Ints) -> Floats:
        """(R, D)."""
        found: Floats = self._arrays["embedding"][tokens].astype(np.float32)
        return found * self._arrays["embedding_scale"][tokens, None] if self._int8 else found

    def _middles(self, rows: int) -> dict[str, NDArray[np.uint8]]:
        return {"middles": np.full(rows, MIDDLE, np.uint8)} if self._int8 else {}


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


_KEPT: Kind[Mapping[str, NDArray[Any]]] = Kind("language", lambda arrays: arrays, lambda arrays: arrays)
