"""Examples of requests and answers for the OpenAPI document."""

from __future__ import annotations

from typing import Any

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
        {"text": "i make a lot of soup .", "log_prob": -9.1},
        {"text": "oh , a bit of everything .", "log_prob": -11.4},
    ],
    "topic": None,
    "seed": 7,
    "model": "sample",
    "note": "2 of 5 responses: no more distinct ones were found",
}

PROBLEMS_EXAMPLE: dict[str, Any] = {
    "detail": [
        {
            "loc": ["body", "num_responses"],
            "msg": "num_responses: Input should be less than or equal to 20, got 500",
            "type": "less_than_equal",
        }
    ]
}
