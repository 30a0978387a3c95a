"""Models on a device, and copies between the host and its devices.

Open it to allow another kind of device, or to change how tensors are copied to a GPU.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from dialog_cvae.errors import ConfigError

DEVICES = ("cpu", "cuda", "mps")
M = TypeVar("M", bound=nn.Module)


def on_device(model: M, device: str | torch.device) -> tuple[M, torch.device]:
    """The model, moved to a device, and the device.

    Raises:
        ConfigError: the device is unknown or absent.
    """
    try:
        found = torch.device(device)
        if found.type not in DEVICES:
            raise ConfigError(f"device must be one of {', '.join(DEVICES)}, but is {device}")
        return model.to(found), found
    except (AssertionError, RuntimeError, NotImplementedError) as error:  # what PyTorch raises for an absent device
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device {device} can't be used here: {reason}") from None


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device. A copy to a GPU is asynchronous; the GPU's later work waits for it."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
