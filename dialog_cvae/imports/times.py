"""Times as tables and exports write them, in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

_MILLISECONDS_FROM: Final = 1e11  # seconds of the year 5138; larger numbers are milliseconds, microseconds, ...


def seconds(value: Any, form: str | None = None) -> float | None:
    """The time of a field; None if the field is empty.

    Args:
        value: a number of seconds (or milli-, micro- or nanoseconds) since 1970, ISO 8601, or a `datetime`.
        form: as for `datetime.strptime`; None reads the above.

    Raises:
        ValueError: it is none of these; the message says what to do.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, datetime):
        return _since_1970(value)
    text = str(value).strip()
    try:
        if form is not None:
            return _since_1970(datetime.strptime(text, form))
        number = float(text)
    except ValueError:
        number = None
    if number is not None and number == number and abs(number) < 1e20:
        while abs(number) >= _MILLISECONDS_FROM:
            number /= 1000
        return number
    try:
        if form is None:
            return _since_1970(datetime.fromisoformat(text))
    except ValueError:
        pass
    wanted = "ISO 8601 or seconds since 1970; name its form, as in --time-format '%d.%m.%Y %H:%M'"
    raise ValueError(f"the time {text[:40]!r} is not {wanted if form is None else f'of the form {form!r}'}")


def _since_1970(time: datetime) -> float:
    """Seconds; a time without a zone counts as UTC, because only differences matter."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
