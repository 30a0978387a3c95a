"""Engines that run the cells of a sweep: joblib on one machine, Ray on one machine or a cluster.

Open this to add an engine. Joblib uses threads, because each only waits for the process of its cell. With Ray, a cell
is a task: Ray places it by CPUs and GPUs, and repeats it if a machine is lost. All machines must see the sweep's folder
and its working folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import joblib

from dialog_cvae import ray_cluster
from dialog_cvae.errors import ConfigError
from training.device import device_of
from training.sweep import capacity
from training.sweep.cell_task import CellTask, Ending, run_cell

if TYPE_CHECKING:
    from training.sweep.cells import Cell

Ended = Callable[[int, Ending], object]


class Engine(Protocol):
    """Runs several tasks at the same time."""

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        """Run all tasks; `ended` receives each task's position and how it ended, from any thread."""
        ...

    def __str__(self) -> str:
        """The number of tasks at a time, and where they run."""
        ...


@dataclass(frozen=True)
class OnOneMachine:
    """Runs tasks in joblib's threads.

    Attributes:
        slots: a device for each cell that runs at the same time.
    """

    slots: Sequence[str]

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        """See `Engine.run`."""
        free: SimpleQueue[str] = SimpleQueue()
        for device in self.slots:
            free.put(device)

        def run_one(index: int, task: CellTask) -> None:
            device = free.get()
            try:
                ending = run_cell(task, device)
            finally:
                free.put(device)
            ended(index, ending)

        parallel = joblib.Parallel(n_jobs=len(self.slots), backend="threading", batch_size=1)
        parallel(joblib.delayed(run_one)(index, task) for index, task in enumerate(tasks))

    def __str__(self) -> str:
        return f"{len(self.slots)} at a time on {', '.join(dict.fromkeys(self.slots))}"


@dataclass(frozen=True)
class OnRay:
    """Runs tasks on Ray.

    Attributes:
        address: of the cluster, as `ray.init` takes it; None starts Ray on this machine.
        jobs: most cells at a time; None for as many as Ray has room for.
        threads: CPUs of a cell.
        device: `--device` of the fits; auto uses GPUs if Ray has any. A cell sees only its own GPU.
        per_gpu: cells that share a GPU.
    """

    address: str | None = None
    jobs: int | None = None
    threads: int = 1
    device: str = "auto"
    per_gpu: int = 1

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        """See `Engine.run`.

        Raises:
            ConfigError: Ray is not installed, cannot be reached, or has too few CPUs or GPUs for one cell.
        """
        ray = ray_cluster.connect(self.address, "ray")
        try:
            fit = ray.remote(run_cell).options(**self._needs(ray.cluster_resources()))
            waiting, running = deque(enumerate(tasks)), dict[Any, int]()
            while waiting or running:
                while waiting and len(running) < (self.jobs or len(tasks)):
                    index, task = waiting.popleft()
                    running[fit.remote(task, self.device)] = index
                (done,), _ = ray.wait(list(running), num_returns=1)
                try:
                    ending = ray.get(done)
                except ray.exceptions.RayError as error:
                    ending = Ending("failed", f"Ray: {str(error).strip().splitlines()[-1]}")
                ended(running.pop(done), ending)
        finally:
            ray.shutdown()

    def _needs(self, resources: Mapping[str, float]) -> dict[str, float]:
        """The CPUs and GPUs that Ray reserves for a cell."""
        on_gpu = self.device != "cpu" and (self.device != "auto" or resources.get("GPU", 0) > 0)
        needs = {"num_cpus": self.threads, "num_gpus": 1 / self.per_gpu if on_gpu else 0}
        for option, kind in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
            if needs[option] > resources.get(kind, 0):
                raise ConfigError(
                    f"engine: a cell needs {needs[option]:g} {kind}, but Ray has {resources.get(kind, 0):g}"
                )
        return needs

    def __str__(self) -> str:
        limit = f"at most {self.jobs} at a time" if self.jobs else "as many at a time as fit"
        return f"{limit} on Ray ({self.address or 'this machine'})"


def on_one_machine(
    cells: Sequence[Cell], jobs: int | None = None, device: str = "auto", per_gpu: int | None = None
) -> OnOneMachine:
    """An engine with `jobs` cells at a time, or as many as fit by cores and free memory.

    Args:
        cells: to fit, at least one; the largest decides how many fit.
        jobs: cells at a time, but no more than `per_gpu` allows; None for as many as fit.
        device: `--device` of `training.fit`; auto and cuda distribute the cells over all GPUs.
        per_gpu: cells at a time on each GPU; None for as many as fit.

    Raises:
        ConfigError: the device does not exist.
    """
    fit = max(capacity.fit_bytes(cell.config) for cell in cells)
    limits = [len(cells), capacity.cells_by_cores(threads_of(cells)), capacity.cells_by_memory(fit)]
    chosen = device_of(device)
    places = ["cpu"]
    if chosen.type == "cuda":
        free = capacity.free_on_gpus()
        gpus = range(len(free)) if chosen.index is None else [chosen.index]
        room = [per_gpu or capacity.cells_by_gpu(fit, free[gpu]) for gpu in gpus]
        limits.append(sum(room))
        # One slot of each GPU in turn, so that a few cells use all GPUs.
        places = [
            f"cuda:{gpu}" for turn in range(max(room)) for gpu, most in zip(gpus, room, strict=True) if turn < most
        ]
    count = jobs or min(limit for limit in limits if limit is not None)
    if per_gpu is not None and chosen.type == "cuda":
        count = min(count, len(places))
    return OnOneMachine([places[slot % len(places)] for slot in range(count)])


def threads_of(cells: Sequence[Cell]) -> int:
    """The largest number of CPU threads of a cell."""
    return max(cell.config.train.threads or 1 for cell in cells)
