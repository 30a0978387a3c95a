"""Diverse dialog responses from a conditional VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialog_cvae.types import Conversation, Profile, Utterance

if TYPE_CHECKING:
    from pathlib import Path

    from dialog_cvae.generate.responder import EngineName, Responder

__all__ = ["Conversation", "Profile", "Utterance", "load"]


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    engine: EngineName = "auto",
    threads: int | None = None,
    backbone: Path | None = None,
) -> Responder:
    """Open a checkpoint folder for generating responses.

    Args:
        path: a folder such as `runs/mine/best`.
        device: where the model runs, "cpu" or a CUDA device.
        engine: "onnx", "onnx-int8", "onnx-fp32" or "torch"; "auto" is "onnx" on a CPU where that is installed.
        threads: of ONNX Runtime; default one for each core. PyTorch has its own setting, `torch.set_num_threads`.
        backbone: file or folder of the language model that the adapters of a checkpoint belong to; default: the one
            that the checkpoint names.

    Raises:
        CheckpointError: a part is missing, truncated or does not fit; the message names it.
        ConfigError: the engine is unknown, not installed or not for this device.
    """
    from dialog_cvae.generate.responder import Responder

    return Responder.load(path, device=device, engine=engine, threads=threads, backbone=backbone)
