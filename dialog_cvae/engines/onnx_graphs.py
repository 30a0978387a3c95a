"""The model as ONNX graphs, made from its weights without PyTorch: utterances and context, start, added, and step.

Open it to change what ONNX Runtime computes for a dialog model, or which product is in 8 bits. ONNX's GRU with
`linear_before_reset` is PyTorch's, with its gates in another order. Everything is in single precision; `int8` says
which one product is not.

Shape legend: U utterances, L tokens of the longest, B windows, S context slots, R rows, V vocabulary, E embedding,
H utterance GRU per direction, G context GRU, D decoder GRU, C condition, Z latent, K likeliest tokens,
A = 3D + V what z adds to a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto

from dialog_cvae.engines.base import Floats
from dialog_cvae.engines.graph_writer import FLOAT, INT32, INT64, Graph, add_choice
from dialog_cvae.model.weights import (
    CONTEXT_ENCODER,
    DECODER,
    EMBEDDING,
    OUTPUT,
    PRIOR,
    ROLE,
    START,
    TOPIC,
    UNKNOWN_PROFILE,
    UTTERANCE_ENCODER,
    Linear,
    Recurrent,
    condition_size,
    skip_size,
)
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.types import PROFILE_FEATURES

STATE_LEVELS = 127  # levels of an 8-bit state on either side of 0
# Levels of an 8-bit weight: with more, sums of two products overflow 16 bits on processors without VNNI.
WEIGHT_LEVELS = 63

Weights = Mapping[str, Floats]


def graphs(weights: Weights, config: ModelConfig, *, int8: bool = False) -> dict[str, bytes]:
    """Serialised ONNX models by name; "added" is there with skip connections only.

    Args:
        weights: by name, with the shapes of `dialog_cvae.model.weights.dialog_shapes`.
        config: sizes.
        int8: multiply the state with the vocabulary, nine tenths of all decoding, in 8 bits. A row has 255 levels and
            each token's weights have 127; the integer sums are exact, so that a row still knows nothing of the others.
    """
    made = {
        "utterances": _utterances(weights, config),
        "context": _context(weights, config),
        "start": _start(weights, config),
        "step": _step(weights, config, int8=int8),
    }
    return made | ({"added": _added(weights, config)} if skip_size(config) else {})


def _utterances(weights: Weights, config: ModelConfig) -> bytes:
    """Words (W), index (L, U) of the tokens among them, lengths (U) -> vectors (U, 2H).

    Input products are taken once for each distinct word, and the weights of the recurrence are laid out for products
    once, which ONNX's own GRU does at every step.
    """
    g, hidden = Graph(), config.utterance_size
    words, index = g.input("words", INT64, ("W",)), g.input("index", INT64, ("L", "U"))
    lengths = g.input("lengths", INT64, ("U",))
    steps = g.add("Range", g.constant(_whole(0)), _size(g, index, 0), g.constant(_whole(1)))  # (L)
    lasts = g.add("Less", g.add("Unsqueeze", steps, g.constant([1])), g.add("Unsqueeze", lengths, g.constant([0])))
    lasts = g.add("Unsqueeze", lasts, g.constant([2]))  # (L, U, 1) whether a step is within its utterance
    zeros = g.add("ConstantOfShape", g.add("Concat", _size(g, index, 1, 1), g.constant([hidden]), axis=0))  # (U, H)
    embedded = g.add("Gather", g.constant(weights[EMBEDDING]), words)  # (W, E)
    backward = g.add("ReverseSequence", index, lengths, batch_axis=1, time_axis=0)
    finals = []
    for name, names, order in zip(("forward", "backward"), UTTERANCE_ENCODER, (index, backward), strict=True):
        gru = names.of(weights)
        by_word = g.linear(embedded, Linear(gru.weight_ih, gru.bias_ih))  # (W, 3H)
        gates = g.add("Gather", by_word, order)  # (L, U, 3H)
        body = _gru_body(Linear(gru.weight_hh, gru.bias_hh), name)
        finals.append(g.add("Scan", zeros, gates, lasts, body=body, num_scan_inputs=2))
    g.output("vectors", g.add("Concat", *finals, axis=1), FLOAT, ("U", 2 * hidden))
    return g.serialised("utterances")


def _gru_body(recurrent: Linear[Floats], name: str) -> GraphProto:
    """A step of a recurrence that goes on only within its sequence: state (U, H), gates (U, 3H), lasts (U, 1)."""
    g, size = Graph(name), recurrent.weight.shape[1]
    state = g.input(f"{name}_state", FLOAT, ("U", size))
    gates = g.input(f"{name}_gates", FLOAT, ("U", 3 * size))
    lasts = g.input(f"{name}_lasts", TensorProto.BOOL, ("U", 1))
    following = _gru_step(g, gates, state, recurrent)
    g.output(f"{name}_next", g.add("Where", lasts, following, state), FLOAT, ("U", size))
    return g.written(name)


def _gru_step(g: Graph, gates: str, state: str, recurrent: Linear[Floats]) -> str:
    """PyTorch's GRU: from input products (R, 3H) with their bias and state (R, H) to the next state."""
    size = recurrent.weight.shape[1]
    parts = g.constant([2 * size, size])  # reset and update; new
    to_gates, to_new = g.add_many("Split", (gates, parts), 2, axis=1)
    from_state, new_from_state = g.add_many("Split", (g.linear(state, recurrent), parts), 2, axis=1)
    both = g.add("Sigmoid", g.add("Add", to_gates, from_state))
    reset, update = g.add_many("Split", (both, g.constant([size, size])), 2, axis=1)
    new = g.add("Tanh", g.add("Add", to_new, g.add("Mul", reset, new_from_state)))
    return g.add("Add", new, g.add("Mul", update, g.add("Sub", state, new)))  # n + z (h - n)


def _size(g: Graph, array: str, axis: int, rank: int = 0) -> str:
    """A dimension of an array, as a number or as an array of one number."""
    size = g.add("Gather", g.add("Shape", array), g.constant([axis]))
    return size if rank else g.add("Squeeze", size)


def _context(weights: Weights, config: ModelConfig) -> bytes:
    """Said (S, B, 2H + 2), utterances with their floor, ... -> vector (B, C), and where there is z prior (B, 2Z).

    With roles it also takes those of the speakers, roles (S, B), and of the one who replies, role (B).
    """
    g = Graph()
    said, used = g.input("said", FLOAT, ("S", "B", 2 * config.utterance_size + 2)), g.input("lengths", INT32, ("B",))
    topic, profiles = g.input("topic", INT64, ("B",)), g.input("profiles", FLOAT, ("B", 2, PROFILE_FEATURES))
    known = g.input("profiles_known", FLOAT, ("B", 2, PROFILE_FEATURES))
    responder: list[str] = []
    if config.role_size:
        vectors = g.constant(weights[ROLE])
        said = g.add("Concat", said, g.add("Gather", vectors, g.input("roles", INT64, ("S", "B"))), axis=2)
        responder = [g.add("Gather", vectors, g.input("role", INT64, ("B",)))]
    context = g.add("Squeeze", _gru(g, CONTEXT_ENCODER.of(weights), said, used), g.constant([0]))  # (B, G)
    told = g.add("Greater", known, g.constant(_scalar(0.0)))
    profiles = g.add("Where", told, profiles, g.constant(weights[UNKNOWN_PROFILE]))
    profiles = g.add("Reshape", profiles, g.constant([-1, 2 * PROFILE_FEATURES]))
    vector = g.add("Concat", g.add("Gather", g.constant(weights[TOPIC]), topic), profiles, context, *responder, axis=1)
    vector = g.output("vector", vector, FLOAT, ("B", condition_size(config)))
    if config.latent_size:
        first, second = (names.of(weights) for names in PRIOR)
        prior = g.linear(g.add("Tanh", g.linear(vector, first)), second)
        g.output("prior", prior, FLOAT, ("B", 2 * config.latent_size))
    return g.serialised("context")


def _start(weights: Weights, config: ModelConfig) -> bytes:
    """[condition; z] (R, C + Z) -> state (R, D)."""
    g = Graph()
    source = g.input("source", FLOAT, ("R", condition_size(config) + config.latent_size))
    state = g.linear(source, START.of(weights))
    g.output("state", state, FLOAT, ("R", config.decoder_size))
    return g.serialised("start")


def _added(weights: Weights, config: ModelConfig) -> bytes:
    """Z (R, Z) -> what it adds to gates and logits (R, A), never in 8 bits, whose range is that of the states."""
    g, gru, output = Graph(), DECODER.of(weights), OUTPUT.of(weights)
    from_z = gru.weight_ih[:, config.embedding_size :], output.weight[:, config.decoder_size :]
    weight = np.concatenate(from_z)  # (A, Z)
    z = g.input("z", FLOAT, ("R", config.latent_size))
    g.output("added", g.add("MatMul", z, g.constant(weight.T)), FLOAT, ("R", len(weight)))
    return g.serialised("added")


def _step(weights: Weights, config: ModelConfig, *, int8: bool) -> bytes:
    """Tokens (R), state (R, D), inverse_temperature (R), likeliest (1), added (R, A) if any -> the fields of `Step`."""
    g, size, words = Graph(), config.decoder_size, len(weights[EMBEDDING])
    tokens, state = g.input("tokens", INT64, ("R",)), g.input("state", FLOAT, ("R", size))

    # The next state, from the embedded tokens and, with skip connections, from z.
    gru = DECODER.of(weights)
    embedded = g.add("Gather", g.constant(weights[EMBEDDING]), tokens)  # (R, E)
    gates = g.linear(embedded, Linear(gru.weight_ih[:, : config.embedding_size], gru.bias_ih))  # (R, 3D)
    if skip_size(config):
        added = g.input("added", FLOAT, ("R", 3 * size + words))
        to_gates, to_logits = g.add_many("Split", (added, g.constant([3 * size, words])), 2, axis=1)
        gates = g.add("Add", gates, to_gates)
    following = _gru_step(g, gates, state, Linear(gru.weight_hh, gru.bias_hh))
    following = g.output("next_state", following, FLOAT, ("R", size))

    # Its logits, the K largest of them and their tokens.
    output, multiply = OUTPUT.of(weights), _linear_int8 if int8 else Graph.linear
    logits = multiply(g, following, Linear(output.weight[:, :size], output.bias))  # (R, V)
    if skip_size(config):
        logits = g.add("Add", logits, to_logits)
    add_choice(g, logits, words)
    return g.serialised("step")


def _gru(g: Graph, weights: Recurrent[Floats], x: str, lengths: str) -> str:
    """The last states (1, sequences, hidden) of sequences x (steps, sequences, inputs), by ONNX's own operation."""
    w, r, *biases = map(_onnx_gates, weights)
    inputs = (x, *(g.constant(array[None]) for array in (w, r, np.concatenate(biases))), lengths)
    return g.add_many("GRU", inputs, 2, hidden_size=r.shape[1], linear_before_reset=1)[1]


def _onnx_gates(array: Floats) -> Floats:
    """The array with its gates in ONNX's order (update, reset, new) instead of PyTorch's (reset, update, new)."""
    reset, update, new = np.split(array, 3)
    return np.concatenate((update, reset, new))


def _linear_int8(g: Graph, state: str, weights: Linear[Floats]) -> str:
    """H W^T + b with h and W in 8 bits: each row of h by its own largest value, each row of W by its own."""
    weight, bias = weights
    scale = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny) / WEIGHT_LEVELS  # (V,)
    rounded = np.rint(weight / scale[:, None]).astype(np.int8)
    largest = g.add("ReduceMax", g.add("Abs", state), axes=[1], keepdims=1)
    unit = g.add("Div", g.add("Max", largest, g.constant(_scalar(1e-9))), g.constant(_scalar(STATE_LEVELS)))  # (R, 1)
    shifted = g.add("Add", g.add("Round", g.add("Div", state, unit)), g.constant(_scalar(STATE_LEVELS + 1)))
    zero = g.constant(np.full((), STATE_LEVELS + 1, np.uint8))
    sums = g.add("MatMulInteger", g.add("Cast", shifted, to=TensorProto.UINT8), g.constant(rounded.T), zero)
    scaled = g.add("Mul", g.add("Mul", g.add("Cast", sums, to=FLOAT), g.constant(scale.astype(np.float32))), unit)
    return g.add("Add", scaled, g.constant(bias))


def _whole(value: int) -> NDArray[np.int64]:
    return np.full((), value, dtype=np.int64)


def _scalar(value: float) -> Floats:
    return np.full((), value, dtype=np.float32)
