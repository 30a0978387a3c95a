"""`dialog-cvae serve`: start the service under uvicorn.

Open it to change an option or an exit status. The command always serves the installed package. `uvicorn api.app:app`
looks for `api` in the working directory first.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from api import logs
from api.checkpoints import join_checkpoints, parse_checkpoint, with_unique_names
from api.http_protocol import PortionedProtocol
from api.settings import PREFIX, read_settings
from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.errors import CheckpointError, ConfigError

VARIABLE = f"{PREFIX}CHECKPOINT"
STARTUP_FAILURE = 3  # exit status, the same as uvicorn's with a single process
WORKERS = whole(1, 1024)
STOPS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)}
HOST, PORT = "127.0.0.1", 8000
EXPLANATION = f"""\
Answer over HTTP: POST /respond, a page to try the model on at /, documentation at /docs.

  dialog-cvae serve runs/mine/best
  dialog-cvae serve runs/mine/best --host 0.0.0.0 --port 80
  dialog-cvae serve models/swda mine=runs/mine/best

Every other setting is an environment variable, {PREFIX}...: see the operations page of the documentation.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 stopped, 2 refused, 3 the service or a worker could not start.

    After SIGTERM, a single process ends by that signal, as uvicorn does.
    """
    given = _parser().parse_args(argv)

    def run() -> int:
        if given.checkpoint:
            os.environ[VARIABLE] = _setting(given.checkpoint)  # workers are other processes, which inherit it
        elif not os.environ.get(VARIABLE):
            raise ConfigError(
                f"no checkpoint: give the folder of one, such as runs/mine/best, or set {VARIABLE}; a checkout of the "
                "project has one in models/swda, the installed package has none"
            )
        settings = read_settings()  # here an invalid setting is reported once; otherwise it would end every worker
        workers = given.workers or _workers()
        stopped = _signals() if workers > 1 else None
        uvicorn.run(
            "api.app:app",
            host=given.host,
            port=given.port,
            workers=workers,
            root_path=_root_path(given.root_path),
            http=PortionedProtocol,
            log_config=logs.uvicorn_config(settings.log_format, settings.log_text),
            timeout_graceful_shutdown=math.ceil(settings.timeout_s + settings.body_timeout_s),
        )
        return 0 if stopped is None or stopped() else STARTUP_FAILURE

    return exit_status(run, interrupted="")


def _workers() -> int:
    """WEB_CONCURRENCY, else 1.

    Raises:
        ConfigError: it is not a valid number of processes.
    """
    try:
        return WORKERS(os.environ.get("WEB_CONCURRENCY") or "1")
    except ArgumentTypeError as error:
        raise ConfigError(f"WEB_CONCURRENCY: {error}") from None


def _root_path(given: str) -> str:
    """The prefix with a slash before it and none after it, as the application compares it with paths."""
    bare = given.strip("/")
    return f"/{bare}" if bare else ""


def _signals() -> Callable[[], bool]:
    """Begin to record signals; the returned function says whether one arrived.

    uvicorn handles signals itself, and returns in the same way after a signal and after a failed start of a worker.
    """
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    def received() -> bool:
        signal.set_wakeup_fd(-1)
        with writing, reading, suppress(BlockingIOError):
            return any(number in STOPS for number in reading.recv(4096))
        return False

    return received


def _setting(arguments: Sequence[str]) -> str:
    """The setting that names these checkpoints.

    Raises:
        CheckpointError: a folder does not exist.
        ConfigError: a name is invalid, or two are the same.
    """
    try:
        found = with_unique_names([parse_checkpoint(argument) for argument in arguments])
        for each in found:
            if not each.folder.is_dir():
                raise CheckpointError(f"{each.folder}: there is no such folder")
        return join_checkpoints(found)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _parser() -> Parser:
    parser = Parser(prog="python -m api.serve", description=EXPLANATION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoint",
        nargs="*",
        metavar="CHECKPOINT",
        help="folder of a model, or NAME=FOLDER to serve it under a name of your own; the first is the default of "
        f"requests that name none; default: {VARIABLE}",
    )
    parser.add_argument("--host", default=HOST, help=f"address to listen on; 0.0.0.0 for all (default: {HOST})")
    parser.add_argument("--port", type=whole(0, 65535), default=PORT, help=f"default: {PORT}; 0 chooses a free one")
    parser.add_argument(
        "--workers",
        type=WORKERS,
        metavar="N",
        help="processes, each with a model of its own (default: WEB_CONCURRENCY, else 1)",
    )
    parser.add_argument(
        "--root-path", default="", metavar="PATH", help="where a proxy in front of the service puts it, such as /dialog"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
