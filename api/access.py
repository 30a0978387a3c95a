"""Who may ask: API keys, and pages of other origins."""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from api.settings import PREFIX, Settings
from api.tracing import HEADER
from dialog_cvae.errors import ConfigError

# What needs no key: an orchestrator's probes, the page (it asks its user for a key) and the documentation.
OPEN = {"/", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"}
OPEN_BELOW = ("/docs/", "/page/", "/problems/")
FOR_PROXIES = {"basic", "digest", "negotiate"}  # schemes of Authorization that are none of ours
MIN_KEY_CHARS, MAX_KEY_CHARS = 16, 256

Keys = frozenset[bytes]


def read_keys(settings: Settings) -> Keys:
    """Digests of the keys that the settings name; none where none is needed.

    Raises:
        ConfigError: the file can't be read, no key is there, or one is too short to be a secret; no key is told.
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
        raise ConfigError(f"{PREFIX}API_KEYS_FILE: {path}: is no UTF-8 text") from None


def _digests(text: str, variable: str) -> Keys:
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise ConfigError(f"{variable}: holds no key; to ask for none, leave it unset")
    for position, key in enumerate(keys, 1):
        if not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
            limits = f"{MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters"
            raise ConfigError(f"{variable}: key {position} should have {limits}, has {len(key)}")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(f"{variable}: key {position} should be of visible ASCII characters")
    return frozenset(_digest(key.encode()) for key in keys)


def _digest(key: bytes) -> bytes:
    """Of equal length for all keys, so that comparing takes no longer for a longer one."""
    return hashlib.sha256(key).digest()


class KeyGuard:
    """Lets requests through that bring a key, where keys are set, or want something that is open to all."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, or answer 401."""
        keys: Keys = scope.get("state", {}).get("keys", frozenset()) if scope["type"] == "http" else frozenset()
        if not keys or is_open(path_below(scope), scope["state"]["service"].settings) or _brings(scope, keys):
            await self.app(scope, receive, send)
            return
        detail = "send one of this server's API keys as Authorization: Bearer KEY, or as X-API-Key: KEY"
        refusal = errors.document(scope, 401, "unauthorised", detail, {"WWW-Authenticate": "Bearer"})
        await refusal(scope, receive, send)


def is_open(path: str, settings: Settings) -> bool:
    """Whether what is at a path needs no key."""
    return path in OPEN or path.startswith(OPEN_BELOW) or (path == "/metrics" and settings.metrics == "on")


def path_below(scope: Scope) -> str:
    """The path below what the server is mounted at, as routes see it."""
    root, path = scope.get("root_path", "").rstrip("/"), str(scope["path"])
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _brings(scope: Scope, keys: Keys) -> bool:
    """Whether a key was sent, and no wrong one."""
    headers = Headers(scope=scope)
    sent = headers.getlist("x-api-key")
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() not in FOR_PROXIES:
            sent.append(token.strip() if scheme.lower() == "bearer" else "")  # which no key is
    # Each is compared with all: how long that takes tells nothing of which is right.
    digests = [_digest(key.encode("latin-1", "replace")) for key in sent]
    right = [sum(hmac.compare_digest(digest, key) for key in keys) for digest in digests]
    return bool(right) and all(right)


class Cors:
    """Answers browsers that ask for the pages of other origins, where settings name any."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._for = cache(self._configured)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, through Starlette's middleware where it has something to do."""
        service = scope.get("state", {}).get("service") if scope["type"] == "http" else None
        if service is None or not service.settings.cors_origins:
            await self.app(scope, receive, send)
            return
        middleware, headers = self._for(service.settings.cors_origins), Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            await _preflight(scope, middleware.preflight_response(headers))(scope, receive, send)
        else:
            await middleware(scope, receive, send)

    def _configured(self, origins: tuple[str, ...]) -> CORSMiddleware:
        return CORSMiddleware(
            self.app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", HEADER),
            expose_headers=("Retry-After", HEADER),
        )


def _preflight(scope: Scope, answer: Response) -> Response:
    """Starlette's answer; a refusal as a problem document."""
    if answer.status_code < 400:
        return answer
    kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    detail = "pages of this origin may not ask that of this server"
    return errors.document(scope, answer.status_code, "origin-refused", detail, kept)
