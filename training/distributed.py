"""Several processes, on one machine or several, that train one model: their ranks and their communication.

`torchrun` starts the processes and sets their ranks in environment variables. PyTorch's process group carries tensors
and text: NCCL between GPUs, gloo between CPUs and for text. A single process has no group; every method then returns
its own value at once.

An error in one process is an error in all: code that may fail in one process only (files, devices) runs through
`World.on_every_rank`, or a method that is built on it, after which every process knows the outcome. Open this to add a
kind of communication.
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
FAILURES = (DialogCvaeError, OSError, torch.OutOfMemoryError)  # errors that a user can cause; all others are bugs


class ProcessLostError(DialogCvaeError):
    """Another process of the run ended, and this one cannot continue without it."""


@dataclass(frozen=True)
class World:
    """One process of a run, and the number of processes.

    Attributes:
        rank: of this process.
        size: world size, the number of processes.
        local_rank: rank among the processes on its machine.
        local_size: number of processes on its machine; at least `local_rank + 1` if it is unknown.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files and prints."""
        return self.rank == 0

    def shards(self, count: int, pieces: int = 1) -> list[slice]:
        """This process's part of `count` items, divided further into `pieces`; empty pieces are left out.

        Parts are contiguous and differ in length by at most one. The parts of all ranks, in order, are all items.
        """
        pieces = min(pieces, max(1, count))  # the result is the same: more pieces would be empty
        cuts = [count * number // (self.size * pieces) for number in range(self.size * pieces + 1)]
        mine = range(self.rank * pieces, (self.rank + 1) * pieces)
        return [slice(cuts[number], cuts[number + 1]) for number in mine if cuts[number] < cuts[number + 1]]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; the result is the same to the bit in each.

        Raises:
            ProcessLostError: another process ended.
        """
        if self.size > 1:
            with _communicating():
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the tensors of rank 0 into those of all other ranks.

        Raises:
            ProcessLostError: another process ended.
        """
        if self.size > 1:
            with _communicating(), torch.no_grad():
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
        with _communicating():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(lengths, torch.tensor([len(mine)]))
            longest = max(int(length) for length in lengths)
            padded = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            dist.all_gather(padded, torch.nn.functional.pad(mine, (0, longest - len(mine))))
        return [bytes(row[: int(length)].numpy()).decode() for row, length in zip(padded, lengths, strict=True)]

    def on_every_rank(self, make: Callable[[], T]) -> T:
        """Run `make` in every process; returns its own result once all have succeeded.

        Raises:
            DialogCvaeError: it failed in some process; every process raises the same error. A single process raises
                the error of `make` itself.
        """
        if self.size == 1:
            return make()
        failure = ""
        try:
            made = make()
        except FAILURES as error:
            failure = _message(error)
        for rank, reason in enumerate(self.all_gather(failure)):
            if reason:
                raise DialogCvaeError(f"process {rank} of {self.size}: {reason}" if rank else reason)
        return made

    def on_main(self, make: Callable[[], T]) -> T | None:
        """Run `make` in rank 0 while all others wait; returns its result there, and None in all others.

        Raises:
            DialogCvaeError: it failed in rank 0.
        """
        return self.on_every_rank(make if self.is_main else lambda: None)

    def broadcast_result(self, make: Callable[[], T], pack: Callable[[T], str], unpack: Callable[[str], T]) -> T:
        """Run `make` in rank 0 and return its result in every process.

        Args:
            make: called in rank 0 only.
            pack: turns its result into text.
            unpack: turns the text back into a result, in the other ranks.

        Raises:
            DialogCvaeError: it failed in rank 0.
        """
        if self.size == 1:
            return make()
        made = self.on_main(lambda: (make(),))
        text = self.all_gather("" if made is None else pack(made[0]))[0]
        return unpack(text) if made is None else made[0]

    def local_main_first(self, make: Callable[[], T]) -> T:
        """Run `make` in every process, but first in local rank 0 of each machine, so that the others use its files.

        Raises:
            DialogCvaeError: it failed in some process.
        """
        first = self.on_every_rank(lambda: None if self.local_rank else (make(),))
        return self.on_every_rank(lambda: make() if first is None else first[0])

    def check_equal(self, what: str, value: str) -> None:
        """Check that a value is equal in all processes.

        Args:
            what: name of the value, for the message.
            value: of this process.

        Raises:
            ConfigError: the values differ.
        """
        values = self.all_gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise ConfigError(f"{what}: {values[0]} in process 0, but {other} in process {rank} of {self.size}")

    def device_name(self, name: str) -> str:
        """The device of this process; several processes on a machine use the CUDA devices of their local ranks.

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
    """The world and rank of this process, from the variables that `torchrun` sets.

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
    """Join the process group, and leave it together; does nothing for a single process.

    Raises:
        ProcessLostError: the processes do not find each other.
    """
    if world.size == 1:
        yield world
        return
    # With GPUs, take both backends: the device is chosen, which may fail, only after the group exists.
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
    except SystemExit:  # an unknown option: every process exits with the same error
        together = True
        raise
    finally:
        if together:  # not after any other error: the others may have ended already
            # The launcher ends all processes as soon as one fails, so wait until rank 0 has printed the reason.
            sys.stdout.flush()
            world.all_gather("")
            dist.destroy_process_group()


@contextmanager
def _communicating() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ProcessLostError(
            f"another process of the run ended, or cannot be reached: {_first_line(error)}"
        ) from None


def _message(error: Exception) -> str:
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
