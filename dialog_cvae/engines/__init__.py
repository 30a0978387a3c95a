"""What runs a checkpoint for generation: one protocol; PyTorch (the reference) and ONNX Runtime (serving)."""

import os

# Without this, ONNX Runtime stores an identifier of the machine in the user's cache and reports each session to
# Microsoft. It reads the variable once, on import, which only modules of this package do; set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
