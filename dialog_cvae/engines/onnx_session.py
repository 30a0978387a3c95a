"""Sessions of ONNX Runtime on a CPU, as both serving engines use them.

Open it to change threads, or how weights reach a graph.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import onnxruntime
from numpy.typing import NDArray


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def session(
    graph: bytes, threads: int, *, spin_us: int, weights: Mapping[str, NDArray[Any]] | None = None
) -> onnxruntime.InferenceSession:
    """A session of a serialised graph.

    Args:
        graph: serialised.
        threads: of each product.
        spin_us: microseconds for which idle threads wait actively before they sleep; each then keeps a core busy.
        weights: those that the graph names but does not hold.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin_us > 0)))
    if spin_us:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin_us))
    options.log_severity_level = 3  # errors
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def weights_digest(weights: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].tobytes())
    return digest.hexdigest()
