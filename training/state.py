"""The saved state of a run, from which it resumes exactly: one safetensors file, replaced atomically.

Open this to change what is saved. Batches and noise are functions of the seed and the step, so the step gives the
position in the data and the random state. With the weights and the optimiser's moments, that is the whole state.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.files import write_atomically
from training.distributed import World
from training.phases import Control
from training.run_paths import STATE_FILE as STATE_FILE
from training.stopping import Stopping

FORMAT = "2"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_COUNT = "count"  # number of a weight's updates; less than the step if some updates did not change it


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        step: updates done.
        total_steps: T; the schedules depend on it, so it never changes.
        data: fingerprint of the training and validation conversations.
        seed: of batch order and noise.
        threads: number of CPU threads; results repeat bit for bit only with the same number.
        stopping: the early-stopping rule's state.
        finished: whether the run reached its end.
        processes: number of processes that share the batches; another number changes rounding.
        unlogged: sums of metrics over the steps since they were last recorded; see `training.observer.Observer`.
        control: the state of the controller of beta.
    """

    step: int
    total_steps: int
    data: str
    seed: int
    threads: int
    stopping: Stopping
    finished: bool = False
    processes: int = 1
    unlogged: Mapping[str, float] = field(default_factory=dict)
    control: Control = field(default_factory=Control)

    def to_json(self) -> str:
        """The object as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """The reverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the text is not a progress.
        """
        content: dict[str, Any] = json.loads(text)
        control = Control(*content.get("control", ()))
        return cls(**content | {"stopping": Stopping(**content["stopping"]), "control": control})


def saved_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers that a checkpoint holds, by name: all but the weights of a frozen base."""
    kept = model.state_dict(keep_vars=True).keys()
    return [*model.named_parameters(), *((name, each) for name, each in model.named_buffers() if name in kept)]


def save_state(out: Path, model: nn.Module, optimiser: torch.optim.Adam, progress: Progress) -> None:
    """Write `OUT/state/training.safetensors`; a reader sees the old file or the new one."""
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in saved_tensors(model)}
    for name, parameter in model.named_parameters():
        moments = optimiser.state.get(parameter, {})
        for moment in _MOMENTS:
            if moment in moments:
                tensors[f"{moment}.{name}"] = moments[moment].cpu().contiguous()
        if progress.step and float(moments.get("step", 0)) != progress.step:
            tensors[f"{_COUNT}.{name}"] = moments.get("step", torch.zeros(())).cpu()
    position = progress.to_json()
    metadata = {"format": FORMAT, "progress": position, "checksum": _checksum(position, tensors)}
    write_atomically(out / STATE_FILE, serialise(tensors, metadata))


def load_progress(out: Path) -> Progress:
    """The progress of the run in `out`, read from the file's header alone: fast, and without verifying the weights.

    Raises:
        CheckpointError: there is no state, or it is broken; the message names the file.
    """
    with _opened(out / STATE_FILE) as file:
        return Progress.from_json(_metadata(file, out / STATE_FILE)["progress"])


def load_state(out: Path, model: nn.Module, optimiser: torch.optim.Adam) -> Progress:
    """Load weights and moments.

    Raises:
        CheckpointError: the state is missing, broken or of another model; the message names the file.
    """
    progress, tensors = _read(out)
    with torch.no_grad():
        for name, tensor in saved_tensors(model):
            tensor.copy_(_take(tensors, f"model.{name}", tensor, out))
        for name, parameter in model.named_parameters():
            count = float(tensors.get(f"{_COUNT}.{name}", progress.step))
            if count:
                moments = {moment: _take(tensors, f"{moment}.{name}", parameter, out) for moment in _MOMENTS}
                optimiser.state[parameter] = {
                    "step": torch.tensor(count, device=parameter.device),
                    # Copies: the next save replaces the file, which Windows refuses while tensors are mapped from it.
                    **{moment: tensor.to(parameter.device, copy=True) for moment, tensor in moments.items()},
                }
    return progress


def load_weights(out: Path, model: nn.Module) -> None:
    """Load the weights of a run's last update into a model with its configuration.

    Raises:
        CheckpointError: the state is missing, broken or of another model; the message names the file.
    """
    _, tensors = _read(out)
    with torch.no_grad():
        for name, value in saved_tensors(model):
            value.copy_(_take(tensors, f"model.{name}", value, out))


def checksum_of(out: Path) -> str:
    """The checksum of a run's saved state, read from its file's header alone.

    Raises:
        CheckpointError: there is no state, or it is broken; the message names the file.
    """
    with _opened(out / STATE_FILE) as file:
        return _metadata(file, out / STATE_FILE)["checksum"]


def broadcast_state(world: World, model: nn.Module, optimiser: torch.optim.Adam, step: int) -> None:
    """Broadcast the weights of rank 0 and, after `step` updates, the moments."""
    world.broadcast([tensor for _, tensor in saved_tensors(model)])
    for parameter in model.parameters() if step else ():
        if parameter not in optimiser.state:  # in other ranks than 0, or before its first update
            optimiser.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                **{moment: torch.zeros_like(parameter) for moment in _MOMENTS},
            }
        world.broadcast(optimiser.state[parameter][name] for name in ("step", *_MOMENTS))


def _read(out: Path) -> tuple[Progress, dict[str, Tensor]]:
    path = out / STATE_FILE
    with _opened(path) as file:
        metadata = _metadata(file, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata["checksum"] != _checksum(metadata["progress"], tensors):
            raise CheckpointError(f"{path}: changed since it was written (its checksum does not fit)")
        return Progress.from_json(metadata["progress"]), tensors


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file of a state; any error in its content is a `CheckpointError` that names it."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no saved state there to resume from")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or broken ({error})") from None


def _metadata(file: Any, path: Path) -> dict[str, str]:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {metadata.get('format')!r}; this version reads format {FORMAT!r}")
    return metadata


def _checksum(position: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything that a run resumes from."""
    digest = hashlib.sha256(position.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()


def _take(tensors: dict[str, Tensor], name: str, like: Tensor, out: Path) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != like.shape:
        found = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
        raise CheckpointError(f"{out / STATE_FILE}: {name} is {found}, the model asks for {tuple(like.shape)}")
    return tensor
