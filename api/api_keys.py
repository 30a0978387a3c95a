"""API keys: where they are read from, and the middleware that asks for one.

Open it to change which paths need no key, or how keys are compared. No key is needed unless `DIALOG_CVAE_API_KEYS` or
`DIALOG_CVAE_API_KEYS_FILE` is set.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.request_record import path_below
from api.settings import PREFIX, Settings
from dialog_cvae.errors import ConfigError

# Paths that need no key: an orchestrator's probes, the page (it asks its user for a key) and the documentation.
OPEN = {"/", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"}
OPEN_BELOW = ("/docs/", "/page/", "/problems/")
FOR_PROXIES = {"basic", "digest", "negotiate"}  # schemes of Authorization that a proxy in front of the server may use
MIN_KEY_CHARS, MAX_KEY_CHARS = 16, 256

Keys = frozenset[bytes]


def read_keys(settings: Settings) -> Keys:
    """Digests of the keys in the settings; empty if no key is needed.

    Raises:
        ConfigError: the file can't be read, contains no key, or has an invalid key. The message contains no key.
    """
    if settings.api_keys is not None:
        return _digests(settings.api_keys.get_secret_value().replace(",", "\n"), f"{PREFIX}API_KEYS")
    if settings.api_keys_file is not None:
        return _digests(_content(settings.api_keys_file), f"{PREFIX}API_KEYS_FILE")
    return frozenset()


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{PREFIX}API_KEYS_FILE: {path}: can't be read ({error.strerror})") from None
    except ValueError:
        raise ConfigError(f"{PREFIX}API_KEYS_FILE: {path}: not UTF-8 text") from None


def _digests(text: str, variable: str) -> Keys:
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise ConfigError(f"{variable}: contains no key; to require none, leave it unset")
    for position, key in enumerate(keys, 1):
        if not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
            limits = f"{MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters"
            raise ConfigError(f"{variable}: key {position} must have {limits}, but has {len(key)}")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(f"{variable}: key {position} must consist of visible ASCII characters")
    return frozenset(_digest(key.encode()) for key in keys)


def _digest(key: bytes) -> bytes:
    """A digest has the same length for all keys, so that comparison time does not depend on the key."""
    return hashlib.sha256(key).digest()


class KeyGuard:
    """Middleware: answers 401 if keys are set and a request that needs one has none or an invalid one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        keys: Keys = scope.get("state", {}).get("keys", frozenset()) if scope["type"] == "http" else frozenset()
        if not keys or is_open(path_below(scope), scope["state"]["models"].settings) or _has_key(scope, keys):
            await self.app(scope, receive, send)
            return
        detail = "send one of this server's API keys as Authorization: Bearer KEY, or as X-API-Key: KEY"
        refusal = problems.document(scope, 401, "unauthorised", detail, {"WWW-Authenticate": "Bearer"})
        await refusal(scope, receive, send)


def is_open(path: str, settings: Settings) -> bool:
    """Whether a path needs no key."""
    return path in OPEN or path.startswith(OPEN_BELOW) or (path == "/metrics" and settings.metrics == "on")


def _has_key(scope: Scope, keys: Keys) -> bool:
    """Whether the request has a key, and all its keys are valid."""
    headers = Headers(scope=scope)
    sent = headers.getlist("x-api-key")
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() not in FOR_PROXIES:
            sent.append(token.strip() if scheme.lower() == "bearer" else "")  # never a key
    # Each is compared with all keys, so that the time taken does not reveal which one matches.
    digests = [_digest(key.encode("latin-1", "replace")) for key in sent]
    right = [sum(hmac.compare_digest(digest, key) for key in keys) for digest in digests]
    return bool(right) and all(right)
