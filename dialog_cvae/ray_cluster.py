"""Connecting to Ray, an optional dependency, in one way."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from dialog_cvae.errors import ConfigError

ANSWER_SECONDS = 10.0  # within which a cluster answers


def connected(address: str | None, extra: str) -> Any:
    """Ray, connected, and quiet.

    Args:
        address: of a cluster, as `ray.init` takes it; None starts Ray on this machine.
        extra: what installs it, for the message that says it is missing.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless somebody asks for it
    try:
        import ray
    except ModuleNotFoundError:
        raise missing(extra) from None
    try:
        _knock(address or os.environ.get("RAY_ADDRESS", ""))
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray raises this very class where it can't be started
        tried = "Ray can't be started on this machine" if address is None else f"no Ray cluster at {address!r}"
        raise ConfigError(f"address: {tried} ({str(error).strip().splitlines()[0]})") from None
    return ray


def missing(extra: str) -> ConfigError:
    """What to raise where Ray is not installed."""
    return ConfigError(f"engine: Ray is not installed: pip install 'dialog-cvae[{extra}]'")


def _knock(address: str) -> None:
    """Refuse an address where nobody answers, which Ray itself would try for many minutes.

    Raises:
        OSError, ValueError: nobody answers, or it is no address.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:  # not a name such as auto
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
