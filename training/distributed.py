"""Several processes, on one machine or several, that train one model: who they are and what they tell each other.

`torchrun` starts the processes and says who is who by environment variables; PyTorch's process group carries what they
say: NCCL between GPUs, gloo between CPUs and for everything about the run itself. A process alone has no group, and
every method then does nothing or the obvious.

A failure of one is a failure of all: what may fail in one process only (reading and writing files, finding a device)
goes through `World.each`, or what is made of it, after which every process knows how it went.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from dialog_cvae.errors import ConfigError, DialogCvaeError

T = TypeVar("T")
FAILURES = (DialogCvaeError, OSError, torch.OutOfMemoryError)  # what a user can cause; all else is a bug


class ProcessLostError(DialogCvaeError):
    """Another process of the run ended, so that this one cannot go on either."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: of this process.
        size: number of processes.
        local_rank: of this process among those on its machine.
        local_size: number of processes on its machine; at least `local_rank + 1` where it is not known.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def shards(self, count: int, pieces: int = 1) -> list[slice]:
        """Where this process's part of `count` items is, cut further into `pieces`; empty pieces are left out.

        Parts are contiguous and differ in length by at most one; those of all processes, in order of rank, are the
        whole.
        """
        cuts = [count * number // (self.size * pieces) for number in range(self.size * pieces + 1)]
        mine = range(self.rank * pieces, (self.rank + 1) * pieces)
        return [slice(cuts[number], cuts[number + 1]) for number in mine if cuts[number] < cuts[number + 1]]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor, in its place; the same bits everywhere.

        Raises:
            ProcessLostError: another process ended.
        """
        if self.size > 1:
            with _hearing_from_all():
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's values into the same tensors of all others.

        Raises:
            ProcessLostError: another process ended.
        """
        if self.size > 1:
            with _hearing_from_all(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def all_gather(self, text: str) -> list[str]:
        """Every process's text, by rank.

        Raises:
            ProcessLostError: another process ended.
        """
        if self.size == 1:
            return [text]
        mine = torch.from_numpy(np.frombuffer(text.encode(), dtype=np.uint8).copy())
        with _hearing_from_all():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(lengths, torch.tensor([len(mine)]))
            longest = max(int(length) for length in lengths)
            padded = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            dist.all_gather(padded, torch.nn.functional.pad(mine, (0, longest - len(mine))))
        return [bytes(row[: int(length)].numpy()).decode() for row, length in zip(padded, lengths, strict=True)]

    def on_every_rank(self, make: Callable[[], T]) -> T:
        """What `make` gives in this process, once it went well in all.

        Raises:
            DialogCvaeError: it failed in a process; the same in every process. A process alone raises what `make` does.
        """
        if self.size == 1:
            return make()
        failure = ""
        try:
            made = make()
        except FAILURES as error:
            failure = _told(error)
        for rank, reason in enumerate(self.all_gather(failure)):
            if reason:
                raise DialogCvaeError(f"process {rank} of {self.size}: {reason}" if rank else reason)
        return made

    def on_main(self, act: Callable[[], T]) -> T | None:
        """What `act` gives in the first process, and None in all others, once it is done there.

        Raises:
            DialogCvaeError: it failed there.
        """
        return self.on_every_rank(act if self.is_main else lambda: None)

    def broadcast_result(self, make: Callable[[], T], pack: Callable[[T], str], unpack: Callable[[str], T]) -> T:
        """What `make` gives in the first process, in all of them.

        Args:
            make: called in the first process only.
            pack: from what it gives to text.
            unpack: and back, in the others.

        Raises:
            DialogCvaeError: it failed there.
        """
        if self.size == 1:
            return make()
        made = self.on_main(lambda: (make(),))
        text = self.all_gather("" if made is None else pack(made[0]))[0]
        return unpack(text) if made is None else made[0]

    def local_main_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in this process; the first of each machine does it before the others, who find its files.

        Raises:
            DialogCvaeError: it failed in some process.
        """
        first = self.on_every_rank(lambda: None if self.local_rank else (make(),))
        return self.on_every_rank(lambda: make() if first is None else first[0])

    def check_equal(self, what: str, value: str) -> None:
        """Check that something is the same everywhere.

        Raises:
            ConfigError: it is not.
        """
        values = self.all_gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise ConfigError(f"{what}: {values[0]} in process 0, but {other} in process {rank} of {self.size}")

    def device_name(self, name: str) -> str:
        """The device of this process: where several run on a machine, each has the CUDA device of its local rank.

        Args:
            name: auto, cpu or cuda.

        Raises:
            ConfigError: it names one CUDA device for several processes, or there are too few.
        """
        if self.local_size == 1 or name not in ("auto", "cuda"):
            if self.local_size > 1 and name.startswith("cuda:"):
                raise ConfigError(f"device: {name} is one device for {self.local_size} processes; give cuda")
            return name
        devices = torch.cuda.device_count()
        if devices == 0:
            return name
        if self.local_rank >= devices:
            raise ConfigError(
                f"device: {self.local_size} processes on a machine of {devices} CUDA devices; "
                f"start at most {devices}, or give --device cpu"
            )
        return f"cuda:{self.local_rank}"


SINGLE_PROCESS = World()


def world_from_environment(environment: Mapping[str, str] = os.environ) -> World:
    """Who this process is, by the variables that `torchrun` sets.

    Raises:
        ConfigError: they contradict each other or are not numbers.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return SINGLE_PROCESS
    size = _number(environment, "WORLD_SIZE", "1", low=1)
    rank = _number(environment, "RANK", "0", low=0, below=size)
    local_rank = _number(environment, "LOCAL_RANK", "0", low=0, below=size)
    local_size = _number(environment, "LOCAL_WORLD_SIZE", str(local_rank + 1), low=local_rank + 1, below=size + 1)
    return World(rank, size, local_rank, local_size)


@contextmanager
def process_group(world: World) -> Iterator[World]:
    """Let the processes talk, and leave together; a process alone has nobody to talk to.

    Raises:
        ProcessLostError: they do not find each other.
    """
    if world.size == 1:
        yield world
        return
    # Both engines where there are GPUs: which device is used is decided, and may fail, only after they can talk.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, rank=world.rank, world_size=world.size)
    except (RuntimeError, ValueError) as error:
        reason = f"the {world.size} processes of the run do not find each other: {_first_line(error)}"
        raise ProcessLostError(reason) from None
    together = False
    try:
        yield world
        together = True
    except SystemExit:  # of an option that is unknown, and so to all
        together = True
        raise
    finally:
        if together:  # after any other error the others may be gone, and are not waited for
            # The launcher ends all others as soon as one has failed: the first is to have said why.
            sys.stdout.flush()
            world.all_gather("")
            dist.destroy_process_group()


@contextmanager
def _hearing_from_all() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ProcessLostError(
            f"another process of the run ended, or cannot be reached: {_first_line(error)}"
        ) from None


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _number(environment: Mapping[str, str], name: str, default: str, low: int, below: int | None = None) -> int:
    text = environment.get(name, default)
    if text.isascii() and text.isdigit() and low <= int(text) and (below is None or int(text) < below):
        return int(text)
    limit = f"at least {low}" if below is None else f"from {low} to {below - 1}"
    raise ConfigError(f"{name}: must be a whole number, {limit}, but is {text!r}")
