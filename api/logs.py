"""Structured logs on standard error: one line a request, as JSON or as text.

What people said is no part of them unless `DIALOG_CVAE_LOG_TEXT` is on; an error of ours is then logged with its
message, which may quote a request, and else with its type and place alone. uvicorn's own lines take the same form, and
its access log, which would tell of each request a second time, is silenced, unless `--log-config` configures them.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import uvicorn.logging

LOGGER = logging.getLogger("api")
_PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-/:+{}*")


def event(message: str, /, level: int = logging.INFO, *, error: BaseException | None = None, **fields: Any) -> None:
    """Log something that happened.

    Args:
        message: what; the same words for the same kind of event.
        level: how bad it is.
        error: an exception that caused it.
        fields: what a program would look for.
    """
    LOGGER.log(level, message, exc_info=error, extra={"fields": fields})


def configure(form: str, text: bool) -> None:
    """Send the service's log, and uvicorn's, to standard error.

    Args:
        form: "json" or "text".
        text: whether messages of exceptions, which may quote requests, are logged.
    """
    handler = _ToStderr()
    handler.setFormatter(JsonLines(text) if form == "json" else TextLines(text))
    LOGGER.handlers, LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.access"):
        logger = logging.getLogger(name)
        if any(isinstance(old.formatter, uvicorn.logging.ColourizedFormatter) for old in logger.handlers):
            logger.handlers = [] if name == "uvicorn.access" else [handler]


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


class _Lines(logging.Formatter):
    """What both forms share: the fields of a record, and what of an exception may be told."""

    def __init__(self, text: bool) -> None:
        super().__init__()
        self._text = text

    def formatException(  # noqa: N802  (logging's name)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The traceback; without the message, unless text may be logged."""
        kind, error, at = ei
        if self._text or kind is None:
            return "".join(traceback.format_exception(error)).rstrip()
        return "".join(traceback.format_tb(at)) + f"{kind.__module__}.{kind.__qualname__}"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What to log of a record, in order."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {"time": time, "level": record.levelname, "logger": record.name, "event": record.getMessage()}
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonLines(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        # Escaped to ASCII: no line separator or terminal's control sequence can come through.
        return json.dumps(self.fields(record), default=str)


class TextLines(_Lines):
    """`time level event name=value ...`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        fields = self.fields(record)
        exception = fields.pop("exception", None)
        line = f"{fields.pop('time')} {fields.pop('level'):<7} {fields.pop('event')}"
        fields.pop("logger")
        line += "".join(f" {name}={_plain(value)}" for name, value in fields.items() if value is not None)
        return line if exception is None else f"{line}\n{exception}"


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text and set(text) <= _PLAIN else json.dumps(text if isinstance(value, str) else value, default=str)
