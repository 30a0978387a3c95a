"""The kinds of problem documents: title, meaning and name in the metrics.

Open it to add a kind. A document's `type` is `/problems/` and its kind; `GET /problems/KIND` shows title and meaning.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        title: a short description.
        meaning: what the client can do about it.
        counted: its reason in the metrics of rejections; None if it is not a rejection.
    """

    title: str
    meaning: str
    counted: str | None = None


KINDS = {
    "unauthorised": Kind(
        "An API key is required",
        "Send one of the server's API keys as Authorization: Bearer KEY, or as X-API-Key: KEY. If both are sent, both "
        "must be valid.",
        "unauthorised",
    ),
    "not-found": Kind("Not found", "The service has no such path, or its operator has switched it off."),
    "no-keys": Kind(
        "The server has no API keys",
        "This path changes the server, so that only a client with an API key may use it; the operator sets "
        "DIALOG_CVAE_API_KEYS.",
    ),
    "reload-failed": Kind(
        "Not all models were reloaded",
        "`detail` says which checkpoint could not be used, and why. The earlier model still answers.",
    ),
    "method-not-allowed": Kind("Method not allowed", "The header Allow lists the methods that this path accepts."),
    "body-too-slow": Kind(
        "The body did not arrive in time", "Send the whole body at once. The connection was closed.", "too_slow"
    ),
    "body-too-large": Kind(
        "The body is too large",
        "The body is longer than any request within the limits that GET /model shows. At most that many bytes were "
        "read, and the connection was closed.",
        "too_large",
    ),
    "invalid-request": Kind(
        "The request is invalid", "Each of `errors` names a field, its limit and the value that was sent.", "invalid"
    ),
    "origin-refused": Kind(
        "Cross-origin request refused",
        "The operator lists the allowed origins in DIALOG_CVAE_CORS_ORIGINS. Their pages may use GET, HEAD and POST, "
        "with the headers Authorization, Content-Type, X-API-Key and X-Request-ID.",
    ),
    "internal-error": Kind(
        "The server failed",
        "Report the request id to the server's operator. It is in `instance` and in the header X-Request-ID.",
    ),
    "not-loaded": Kind("The model is not loaded yet", "Try again after the number of seconds in Retry-After."),
    "queue-full": Kind(
        "Too many requests are waiting",
        "Try again after the number of seconds in Retry-After: about half of them should be answered by then.",
        "queue_full",
    ),
    "answer-too-slow": Kind(
        "The reply took too long",
        "Ask for fewer responses, or try again after the number of seconds in Retry-After.",
        "timeout",
    ),
    "feedback-full": Kind(
        "The feedback can't be stored",
        "The operator's file has reached DIALOG_CVAE_FEEDBACK_MAX_MB, or its disk is full. Nothing was stored.",
    ),
    "closing": Kind(
        "The server is shutting down",
        "Try again after the number of seconds in Retry-After; another server may have taken over.",
    ),
}
BUSY = {"queue_full": "queue-full", "timeout": "answer-too-slow", "closing": "closing"}  # kinds, by `Busy.reason`
BY_STATUS = {404: "not-found", 405: "method-not-allowed", 422: "invalid-request", 500: "internal-error"}
