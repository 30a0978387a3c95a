"""The same service on Ray Serve: replicas on one machine or many, added under load and replaced when they fail.

Open it to change how replicas are started, checked or scaled.

    python -m api.cluster --max-replicas 4             # starts Ray on this machine
    serve run api.cluster:app max_replicas=4           # the same by Ray's own command line
    python -m api.cluster --address auto --detach      # on the cluster that this machine belongs to

A replica is `api.app` with the settings in the environment of this command, variables `DIALOG_CVAE_...`. It keeps no
state, so any replica can answer any request. Importing this module does not need Ray.
"""

# Ray needs the annotation of `app` as a class: no `from __future__ import annotations` here.
import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import create_app, load_responder
from api.settings import PREFIX, Settings, read_settings
from dialog_cvae import ray_cluster
from dialog_cvae.cli import Parser, exit_status
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.responder import Responder

if TYPE_CHECKING:
    from ray.serve import Application

NAME = "dialog-cvae"
EXTRA = "cluster"
UNQUEUED = 16  # requests beyond the queue's places: probes, the page, and refusals by the service
RELOADING = (
    "this is one of several replicas, and a request reaches only one of them; start the service again with --detach, "
    "which replaces them one by one"
)
SPARE_SECONDS = 10.0  # added to a request's timeout when a replica shuts down


class Scale(BaseModel):
    """The number of replicas, and the resources of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_replicas: int = Field(1, ge=1, le=10_000, description="replicas at rest")
    max_replicas: int = Field(4, ge=1, le=10_000, description="replicas under load, at most")
    target_requests: float = Field(
        8.0,
        gt=0.0,
        le=10_000.0,
        description="requests being decoded or waiting per replica, on average, that Ray scales for",
    )
    cpus: float = Field(1.0, gt=0.0, le=1024.0, description="cores reserved for a replica, and threads of its model")
    gpus: float = Field(0.0, ge=0.0, le=1024.0, description="GPUs reserved for a replica; fractions share a GPU")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"max_replicas: should be at least min_replicas, {self.min_replicas}, got {self.max_replicas}"
            )
        return self


class LifespanState:
    """Middleware: passes the lifespan's state to requests, as ASGI requires of servers; Ray Serve does not do it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the state."""
        if scope["type"] == "lifespan":
            self._state = scope.setdefault("state", {})
        else:
            scope["state"] = self._state.copy()
        await self._app(scope, receive, send)


class Replica:
    """A replica, with the health check that Ray calls."""

    app: FastAPI

    async def check_health(self) -> None:
        """Called every few seconds; Ray replaces a replica that raises or hangs.

        Raises:
            RuntimeError: the replica is not ready to answer.
        """
        status = await _status(self.app, "/health/ready")
        if status != 200:
            raise RuntimeError(f"/health/ready answers {status}")


async def _status(app: ASGIApp, path: str) -> int:
    """The status of a GET request, made within the process."""
    status = 0

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)
    return status


def replica_app() -> FastAPI:
    """A replica's application, built in its process.

    The checkpoints are opened here rather than when the application starts, so that Ray reports errors in them.

    Raises:
        ConfigError: a setting is invalid.
        CheckpointError: a checkpoint is missing on this machine, or damaged.
    """
    settings = read_settings()
    opened = {each.folder: load_responder(settings.of(each)) for each in settings.checkpoints}

    def load(asked: Settings) -> Responder:
        return opened.pop(asked.checkpoint, None) or load_responder(asked)

    application = create_app(load, lambda: settings)
    application.state.one_of_several = lambda: RELOADING
    application.add_middleware(LifespanState)
    return application


def options(scale: Scale, settings: Settings, environment: Mapping[str, str]) -> dict[str, Any]:
    """The options of Ray's deployment.

    Args:
        scale: number and resources of replicas.
        settings: the service's settings; they decide how long a shutdown may take and how many requests may wait.
        environment: its variables `DIALOG_CVAE_...` are passed to every replica.
    """
    variables = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    # Replicas have another working folder.
    variables |= {f"{PREFIX}CHECKPOINT": ",".join(each.absolute for each in settings.checkpoints)}
    files = {name: getattr(settings, name) for name in ("backbone", "blocked_words", "api_keys_file", "feedback")}
    variables |= {f"{PREFIX}{name.upper()}": str(path.absolute()) for name, path in files.items() if path is not None}
    variables.setdefault(f"{PREFIX}THREADS", str(max(1, int(scale.cpus))))
    return {
        "name": NAME,
        "autoscaling_config": {
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_requests,
        },
        # More than the service accepts, so that it can answer 503. Beyond this, requests wait in Ray's unlimited queue.
        "max_ongoing_requests": settings.max_waiting + UNQUEUED,
        "health_check_period_s": 5.0,
        "health_check_timeout_s": 30.0,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": settings.timeout_s + SPARE_SECONDS,
        "ray_actor_options": {
            "num_cpus": scale.cpus,
            "num_gpus": scale.gpus,
            "runtime_env": {"env_vars": variables},
        },
    }


def app(scale: Scale) -> "Application":
    """The application that `serve run api.cluster:app` and `import_path: api.cluster:app` of a Serve file start.

    Raises:
        ConfigError: Ray Serve is not installed, or a setting is invalid.
    """
    serve = _serve()
    deployment = serve.deployment(serve.ingress(replica_app)(Replica))
    return deployment.options(**options(scale, read_settings(), os.environ)).bind()


def _serve() -> Any:
    """Ray Serve, imported."""
    try:
        from ray import serve
    except ModuleNotFoundError:
        raise ray_cluster.not_installed(EXTRA) from None
    return serve


def _parser() -> Parser:
    parser = Parser(
        prog="python -m api.cluster",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=INTRODUCTION,
        epilog=EXAMPLES,
    )
    for name, field in Scale.model_fields.items():
        help_text = f"{field.description} (default: {field.default:g})"
        parser.add_argument(f"--{name.replace('_', '-')}", default=field.default, metavar="N", help=help_text)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", default=8000, type=int, help="its port (default: 8000)")
    parser.add_argument("--address", help="a Ray cluster, such as auto; default: start Ray on this machine")
    parser.add_argument("--detach", action="store_true", help="leave the service on the cluster and return")
    return parser


INTRODUCTION = """\
The service on Ray Serve: replicas on one machine or many, added under load and replaced when they fail. Its settings
are environment variables, DIALOG_CVAE_..., as under uvicorn; every replica gets those of this command. All machines
need the same installation, and the checkpoint and the other files that settings name under the same paths.
"""

EXAMPLES = """\
examples
  DIALOG_CVAE_CHECKPOINT=models/swda python -m api.cluster
      one to four replicas on this machine; Ctrl-C stops them and Ray
  DIALOG_CVAE_CHECKPOINT=/models/new python -m api.cluster --address auto --detach
      on a cluster (`ray start --head`, then `ray start --address=HEAD:6379` on each machine); again, with another
      checkpoint or other settings, it replaces the replicas a few at a time while the others answer
  serve status; serve shutdown
      show the state of a detached service; stop it
  RAY_AUTH_MODE=token python -m api.cluster --address HEAD:6379 --detach
      from another machine, to a cluster that requires its token, as Ray does by default

API keys are best given as DIALOG_CVAE_API_KEYS_FILE: Ray shows the environment of its replicas to its users.
"""


def _scale(given: argparse.Namespace) -> Scale:
    """The scale that the command line asks for.

    Raises:
        ConfigError: the message, one line, names each invalid option, its limit and its value.
    """
    try:
        return Scale(**{name: getattr(given, name) for name in Scale.model_fields})
    except ValidationError as error:
        raise ConfigError("; ".join(_line(dict(item)) for item in error.errors())) from None


def _line(item: dict[str, Any]) -> str:
    message = item["msg"].removeprefix("Value error, ")
    return f"{item['loc'][0]}: {message}, got {item['input']!r}" if item["loc"] else message


def _run(given: argparse.Namespace) -> int:
    scale = _scale(given)
    if not 1 <= given.port <= 65535:
        raise ConfigError(f"port: should be 1 to 65535, got {given.port}")
    if given.detach and given.address is None:
        raise ConfigError("detach: Ray on this machine stops with this command; give the --address of a cluster")
    if given.address is None:
        try:
            socket.create_server((given.host, given.port)).close()
        except OSError as error:  # checked first, because starting Ray takes long
            raise ConfigError(f"port: {given.host}:{given.port} can't be listened on: {error.strerror}") from None
    application, serve = app(scale), _serve()
    ray = ray_cluster.connect(given.address, EXTRA)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, which installs a handler for SIGTERM too
        signal.signal(number, lambda *_: stop.set())
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(http_options={"host": given.host, "port": given.port})
        try:
            serve.run(application, name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise ConfigError(f"the service could not be started: {_reason(serve, error)}") from None
        print(f"http://{given.host}:{given.port} answers", flush=True)
        if not given.detach:
            stop.wait()
            serve.delete(NAME)
    finally:
        ray.shutdown()  # stops Ray and Serve, if they were started here
    return 0


def _reason(serve: Any, error: RuntimeError) -> str:
    """Why the deployment failed: the last line of a replica's traceback if there is one, else Ray's message."""
    application = serve.status().applications.get(NAME)
    deployments = application.deployments.values() if application else ()
    lines = [line for each in deployments for line in each.message.strip().splitlines()[-1:]]
    return lines[0].removeprefix("dialog_cvae.errors.") if lines else str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the process's exit status."""
    return exit_status(lambda: _run(_parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
