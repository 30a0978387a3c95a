"""The examples in the OpenAPI document: requests, a response and problem documents.

Open it to change an example.
"""

from __future__ import annotations

from typing import Any

from api.problem_kinds import KINDS

REQUEST_EXAMPLES: dict[str, dict[str, Any]] = {
    "conversation": {
        "summary": "Two speakers, a topic, a seed",
        "value": {
            "context": [
                {"speaker": "A", "text": "do you like to cook ?"},
                {"speaker": "B", "text": "yes , mostly on weekends ."},
                {"speaker": "A", "text": "what do you make ?"},
            ],
            "num_responses": 5,
            "seed": 7,
        },
    },
    "strings": {
        "summary": "Strings: the speakers A and B alternate",
        "value": {"context": ["hello , how are you ?"], "num_responses": 3},
    },
    "sampling": {
        "summary": "Words sampled too",
        "value": {
            "context": [{"speaker": "A", "text": "what do you do in your free time ?"}],
            "temperature": 0.8,
            "top_p": 0.9,
            "max_tokens": 20,
            "respond_as": "B",
        },
    },
}

RESPONSE_EXAMPLE: dict[str, Any] = {
    "responses": [
        {"text": "i make a lot of soup .", "log_prob": -9.1, "source": "model", "finish_reason": "stop"},
        {"text": "oh , a bit of everything .", "log_prob": -11.4, "source": "model", "finish_reason": "stop"},
    ],
    "topic": None,
    "seed": 7,
    "model": "sample",
    "context_used": 3,
    "context_cut": False,
    "note": "2 of 5 responses: no more distinct ones were found",
}

_INSTANCE = "urn:dialog-cvae:request:3f1c0c4f8f0d4d7f9c1c5f0f4b0e8a52"


def _problem(status: int, kind: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"/problems/{kind}",
        "title": KINDS[kind].title,
        "status": status,
        "detail": detail,
        "instance": _INSTANCE,
    }


_TOO_MANY = "num_responses: should be at most 20, got 500"
PROBLEM_EXAMPLES: dict[int, dict[str, Any]] = {
    401: _problem(
        401, "unauthorised", "send one of this server's API keys as Authorization: Bearer KEY, or as X-API-Key: KEY"
    ),
    403: _problem(403, "no-keys", "this server has no API keys (DIALOG_CVAE_API_KEYS); its operator can send SIGHUP"),
    404: _problem(404, "not-found", "metrics are switched off"),
    408: _problem(408, "body-too-slow", "the body did not arrive within 10 seconds"),
    409: _problem(409, "reload-failed", "swda: models/swda/config.json: not a file"),
    413: _problem(413, "body-too-large", "the body exceeds 5311488 bytes; Content-Length is 6000000"),
    422: _problem(422, "invalid-request", _TOO_MANY)
    | {"errors": [{"loc": ["body", "num_responses"], "msg": _TOO_MANY, "type": "less_than_equal"}]},
    500: _problem(
        500,
        "internal-error",
        "the server failed to answer; its log shows the reason under request id 3f1c0c4f8f0d4d7f9c1c5f0f4b0e8a52",
    ),
    503: _problem(503, "queue-full", "at most 64 request(s) may wait, and that many do; try again later"),
    507: _problem(507, "feedback-full", "the file of feedback is full"),
}
