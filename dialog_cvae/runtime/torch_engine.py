"""The reference engine: PyTorch, on CPU or GPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dialog_cvae.checkpoint import WEIGHTS, Checkpoint
from dialog_cvae.cvae import CVAE, TensorBatch
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.runtime.base import Condition, Floats, Ints
from dialog_cvae.types import DialogBatch


def build_model(checkpoint: Checkpoint, source: str = WEIGHTS) -> CVAE:
    """The checkpoint's model, in evaluation mode on the CPU.

    Raises:
        CheckpointError: a weight is missing, unexpected, of another shape than the sizes in config.json ask for, or
            not finite in single precision, in which all weights are held; the message names it, prefixed by `source`.
    """
    config = checkpoint.config
    with torch.device("meta"):
        model = CVAE(config.model, config.vocab_size, len(config.topics))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(np.float32) for name, array in checkpoint.weights.items()}
    found = {name: array.shape for name, array in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise CheckpointError(f"{source}: weight {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{source}: weight {name} is not part of this model")
        if expected[name] != found[name]:
            raise CheckpointError(f"{source}: weight {name} has shape {found[name]}, config.json asks {expected[name]}")
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{source}: weight {name} has values that are not finite")
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    return model.eval()


def weights_of(model: CVAE) -> dict[str, NDArray[np.float32]]:
    """Parameters by name, as arrays of their own for a checkpoint."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


DEVICES = ("cpu", "cuda", "mps")


class TorchEngine:
    """`Engine` over a `CVAE`.

    Args:
        model: moved to the device.
        device: such as "cpu" or "cuda".

    Raises:
        ConfigError: there is no such device, or not here.
    """

    def __init__(self, model: CVAE, device: str | torch.device = "cpu") -> None:
        try:
            self.device = torch.device(device)
            if self.device.type not in DEVICES:
                raise ConfigError(f"device must be one of {', '.join(DEVICES)}, but is {device}")
            self.model = model.to(self.device).eval()
        except (AssertionError, RuntimeError, NotImplementedError) as error:  # what PyTorch raises for an absent device
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"device {device} can't be used here: {reason}") from None

    @torch.inference_mode()
    def condition(self, batch: DialogBatch) -> Condition:
        """See `Engine.condition`."""
        vector = self.model.encode(TensorBatch.from_arrays(batch, self.device)).condition
        prior = self.model.prior(vector)
        return Condition(_array(vector), _array(prior.mean), _array(prior.logvar))

    @torch.inference_mode()
    def start(self, condition: Floats, z: Floats) -> Floats:
        """See `Engine.start`."""
        return _array(self.model.decoder.initial_state(self._tensor(condition), self._tensor(z)))

    @torch.inference_mode()
    def step(self, tokens: Ints, state: Floats) -> tuple[Floats, Floats]:
        """See `Engine.step`."""
        embedded = self.model.embedding(torch.from_numpy(tokens).to(self.device))
        logits, state_out = self.model.decoder.step(embedded, self._tensor(state))
        return _array(logits), _array(state_out)

    def _tensor(self, array: Floats) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.float().cpu().numpy()
