"""What runs a checkpoint for generation: one protocol; PyTorch (the reference) and ONNX Runtime (serving)."""

import os

# ONNX Runtime would keep an identifier of this machine in the user's cache and tell Microsoft of each session. It reads
# this once, when it is imported, which only modules of this package do; who wants it can set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
