"""Writes an ONNX graph node by node.

Open it to see how weights are stored outside of a graph, or how the graph of a step ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from dialog_cvae.engines.base import Floats
from dialog_cvae.model.weights import Linear

OPSET, IR = 17, 8  # ONNX versions of 2022, which every ONNX Runtime for a supported Python can read
MICROSOFT = "com.microsoft"  # domain of ONNX Runtime's own operations

FLOAT, INT64, INT32, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8
Sizes = Sequence[int | str]


class Graph:
    """A graph being written: nodes in order, each value under a name of its own."""

    def __init__(self, name: str = "value") -> None:
        self._prefix = f"{name}_"
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._shared: dict[tuple[object, ...], str] = {}
        self.arrays: dict[str, NDArray[np.generic]] = {}

    def input(self, name: str, kind: int, sizes: Sizes) -> str:
        """An input of the graph, of an element type of ONNX; sizes that are words may vary."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(sizes)))
        return name

    def constant(self, array: NDArray[np.generic] | Sequence[int]) -> str:
        """A constant within the graph."""
        array = np.asarray(array, dtype=None if isinstance(array, np.ndarray) else np.int64)
        name = f"{self._prefix}constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def shared(self, array: NDArray[np.generic]) -> str:
        """A small constant that many nodes use, stored once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self.constant(array)
        return self._shared[key]

    def stored(self, name: str, array: NDArray[np.generic]) -> str:
        """A large constant, kept outside of the graph in `arrays`: the session receives it by name."""
        name = f"{self._prefix}{name}"
        stub = TensorProto(name=name, dims=array.shape, data_location=TensorProto.EXTERNAL)
        stub.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        stub.external_data.add(key="location", value=name)
        self._constants.append(stub)
        self.arrays[name] = array
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, whose name comes back."""
        return self.add_many(kind, inputs, 1, **attributes)[0]

    def add_many(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """A node of several outputs, whose names come back."""
        outputs = [f"{self._prefix}{len(self._nodes)}_{index}" for index in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def linear(self, x: str, weights: Linear[Floats]) -> str:
        """X W^T + b, (R, I) -> (R, O)."""
        return self.add("Gemm", x, self.constant(weights.weight.T), self.constant(weights.bias))

    def output(self, name: str, value: str, kind: int, sizes: Sizes) -> str:
        """Give a value the name under which it leaves the graph."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == value else each for each in names]
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(sizes)))
        return name

    def written(self, name: str) -> GraphProto:
        """The graph, such as one branch of another."""
        return helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)

    def serialised(self, name: str) -> bytes:
        """The graph as a model that ONNX Runtime opens."""
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model: ModelProto = helper.make_model(self.written(name), opset_imports=opsets, ir_version=IR)
        serialised: bytes = model.SerializeToString()
        return serialised


def add_choice(g: Graph, logits: str, words: int) -> None:
    """The outputs of a step's graph from its logits (R, V): they, the K largest, and sums of exponentials.

    Adds the inputs inverse_temperature (R, 1), likeliest (1), which is K, and samples: whether a row has an inverse
    temperature other than 1. Only then is the tempered sum computed.
    """
    inverse_temperature, likeliest = g.input("inverse_temperature", FLOAT, ("R", 1)), g.input("likeliest", INT64, (1,))
    logits = g.output("logits", logits, FLOAT, ("R", words))
    values, ids = g.add_many("TopK", (logits, likeliest), 2, axis=1, largest=1, sorted=1)
    values = g.output("values", values, FLOAT, ("R", "K"))
    g.output("ids", ids, INT64, ("R", "K"))
    peak = g.add("Slice", values, g.constant([0]), g.constant([1]), g.constant([1]))  # (R, 1)
    below = g.add("Sub", logits, peak)
    ones = g.constant(np.ones((words, 1), np.float32))  # ReduceSum adds up in an order that depends on R
    mass = g.output("mass", _mass(g, below, ones), FLOAT, ("R", 1))
    tempered, greedy = Graph("tempered"), Graph("greedy")
    tempered.output(
        "sharpened", _mass(tempered, tempered.add("Mul", below, inverse_temperature), ones), FLOAT, ("R", 1)
    )
    greedy.output("the_same", greedy.add("Identity", mass), FLOAT, ("R", 1))
    branches = {"then_branch": tempered.written("tempered"), "else_branch": greedy.written("greedy")}
    g.output("tempered", g.add("If", g.input("samples", TensorProto.BOOL, ()), **branches), FLOAT, ("R", 1))


def _mass(g: Graph, exponents: str, ones: str) -> str:
    """(R, 1) sums of exponentials."""
    return g.add("MatMul", g.add("Exp", exponents), ones)
