"""Starts several processes that fit one model, like `torchrun`, but forked with torch loaded, which is faster."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.training.tiny_runs import Outcome, without_report

TIMEOUT = 120.0  # seconds for a run of some steps, so that no test waits forever

Prepare = Callable[[int], object]


def together(
    size: int, options: Sequence[object], prepare: Prepare | None = None, lost: int | None = None
) -> list[Outcome]:
    """Run `training.fit` in `size` processes; returns the outcomes by rank.

    Args:
        size: number of processes.
        options: of each process.
        prepare: called with the rank in each process before it starts; must be a module's function.
        lost: rank of a process that is expected to die.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "training.fit"])
    pipes, processes = [], []
    for rank, environment in enumerate(_environments(size)):
        receiver, sender = context.Pipe(duplex=False)
        words = without_report(options)
        arguments = (Path.cwd(), environment, words, prepare, rank, sender)
        processes.append(context.Process(target=_fit, args=arguments, daemon=True))
        processes[-1].start()
        sender.close()
        pipes.append(receiver)
    outcomes = []
    try:
        for rank, pipe in enumerate(pipes):
            assert pipe.poll(TIMEOUT), f"process {rank} did not answer within {TIMEOUT} s"
            outcome = Outcome(-1, "", "")
            with suppress(EOFError):
                outcome = Outcome(*pipe.recv())
            assert (outcome.status == -1) == (rank == lost), (rank, outcome)
            outcomes.append(outcome)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return outcomes


def free_port() -> int:
    """A port for rank 0 that is not in use, and that the system gives to no outgoing connection.

    Systems number outgoing connections from 32,768 or higher. With such a port, another connection could take it before
    rank 0 listens, even the attempt of another rank to reach rank 0, which is then connected to itself and waits.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("", port))
            return port
    raise AssertionError("no port of 100 tried is free")


def _environments(size: int) -> list[dict[str, Any]]:
    """The variables of `torchrun` for each rank, on one machine."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, **address}
    return [{"RANK": rank, "LOCAL_RANK": rank, **common} for rank in range(size)]


def _fit(
    folder: Path, environment: dict[str, Any], options: list[str], prepare: Prepare | None, rank: int, pipe: Connection
) -> None:
    from training import fit

    os.chdir(folder)
    os.environ.update({name: str(value) for name, value in environment.items()})
    fit.draw_learning_curves = lambda *_: None
    out, error = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        try:
            if prepare is not None:
                prepare(rank)
            status = fit.main(options)
        except SystemExit as refusal:
            status = int(refusal.code or 0)
        except BaseException:
            traceback.print_exc()
            status = 1
    pipe.send((status, out.getvalue(), error.getvalue()))
    pipe.close()
    sys.exit(0)
