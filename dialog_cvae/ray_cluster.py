"""Connecting to Ray, an optional dependency: for sweeps on a cluster and for serving with Ray Serve.

Open it to change how Ray is started or reached, or the message if that fails.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from dialog_cvae.errors import ConfigError

CONNECT_TIMEOUT = 10.0  # seconds


def connect(address: str | None, extra: str) -> Any:
    """Connect to Ray, with little logging; returns the module `ray`.

    Args:
        address: of a cluster, as `ray.init` takes it; None starts Ray on this machine.
        extra: the extra that installs Ray, for the error message.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends usage statistics only if the user asks for it
    try:
        import ray
    except ModuleNotFoundError:
        raise not_installed(extra) from None
    try:
        _check_reachable(address or os.environ.get("RAY_ADDRESS", ""))
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray raises the class Exception itself if it cannot start
        tried = "Ray can't be started on this machine" if address is None else f"no Ray cluster at {address!r}"
        raise ConfigError(f"address: {tried} ({str(error).strip().splitlines()[0]})") from None
    return ray


def not_installed(extra: str) -> ConfigError:
    """The error that Ray is not installed."""
    return ConfigError(f"engine: Ray is not installed: pip install 'dialog-cvae[{extra}]'")


def _check_reachable(address: str) -> None:
    """Refuse an address without a server at once; Ray itself would try it for many minutes.

    Raises:
        OSError, ValueError: there is no answer, or the address is invalid.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:  # not a name such as auto
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
