"""Structured logs on standard error: one line for each request, as JSON or as text.

Open it to change the format of a line, or what of an error is logged. The log contains no text of conversations unless
`DIALOG_CVAE_LOG_TEXT` is on. An internal error is logged with its type and traceback; its message, which may quote a
request, is logged only if that setting is on. uvicorn's own lines get the same format. Its access log, which would
repeat each request, is off. Both do not apply if `--log-config` is used.
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
    """Log an event.

    Args:
        message: the kind of event, in fixed words.
        level: a level of `logging`.
        error: the exception that caused the event.
        fields: values by name.
    """
    LOGGER.log(level, message, exc_info=error, extra={"fields": fields})


def configure(form: str, text: bool) -> None:
    """Send the service's log, and uvicorn's, to standard error.

    Args:
        form: "json" or "text".
        text: whether messages of exceptions, which may quote requests, are logged.
    """
    handler = handler_of(form, text)
    LOGGER.handlers, LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.access"):
        logger = logging.getLogger(name)
        if any(isinstance(old.formatter, uvicorn.logging.ColourizedFormatter) for old in logger.handlers):
            logger.handlers = [] if name == "uvicorn.access" else [handler]


def handler_of(form: str, text: bool) -> logging.Handler:
    """The handler that writes log records to standard error; see `configure`."""
    handler = _ToStderr()
    handler.setFormatter(JsonLines(text) if form == "json" else TextLines(text))
    return handler


def uvicorn_config(form: str, text: bool) -> dict[str, Any]:
    """The log configuration for uvicorn, which gives its first lines and its parent process the service's format."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"()": handler_of, "form": form, "text": text}},
        "loggers": {
            "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn.access": {"handlers": [], "propagate": False},
        },
    }


def adopt(name: str) -> None:
    """Send the warnings of a package to the service's log, in its format."""
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = LOGGER.handlers, False


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, even if it was replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


class _Lines(logging.Formatter):
    """Base of both formats: the fields of a record, and which part of an exception is logged."""

    def __init__(self, text: bool) -> None:
        super().__init__()
        self._text = text

    def formatException(  # noqa: N802  (logging's name)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The traceback, with the error's message only if text may be logged."""
        kind, error, at = ei
        if self._text or kind is None:
            return "".join(traceback.format_exception(error)).rstrip()
        return "".join(traceback.format_tb(at)) + f"{kind.__module__}.{kind.__qualname__}"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields of a record, in order."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {"time": time, "level": record.levelname, "logger": record.name, "event": record.getMessage()}
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonLines(_Lines):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        # JSON escapes everything but ASCII, so that no line separator or control sequence reaches the terminal.
        return json.dumps(self.fields(record), default=str)


class TextLines(_Lines):
    """`time level event name=value ...`; a traceback follows on further lines."""

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
