"""Leaving out replies with a low score."""

from __future__ import annotations

import pytest


def test_responses_with_a_lower_score_are_left_out(client):
    whole = client.post("/respond", json={"context": ["hi"], "seed": 1}).json()
    answer = client.post("/respond", json={"context": ["hi"], "seed": 1, "min_score": 0.4}).json()
    assert [each.pop("score") for each in answer["responses"]] == [1.0, 0.5]
    assert answer["responses"] == whole["responses"][:2]
    reason = "the other selected ones have a score below 0.4, or no more distinct ones were found"
    assert answer["note"] == f"2 of 5 responses: {reason}"


def test_the_setting_holds_for_requests_that_give_none(serve, stub):
    client = serve(stub, min_score=1.0)
    assert len(client.post("/respond", json={"context": ["hi"]}).json()["responses"]) == 1
    assert len(client.post("/respond", json={"context": ["hi"], "min_score": 0}).json()["responses"]) == 5


@pytest.mark.parametrize("least", [-0.01, 1.01, "high", True])
def test_a_limit_that_is_no_score_is_refused(client, least):
    answer = client.post("/respond", json={"context": ["hi"], "min_score": least})
    assert (answer.status_code, [each["loc"] for each in answer.json()["errors"]]) == (422, [["body", "min_score"]])


@pytest.mark.parametrize("options", [{"temperature": 1}, {"diversity": 0.5}])
def test_a_real_model_may_have_nothing_to_suggest(endless_folder, options):
    from fastapi.testclient import TestClient

    from api.app import create_app
    from api.settings import Settings

    body = {"context": ["hi"], "seed": 1, "num_responses": 3, "max_tokens": 5} | options
    with TestClient(create_app(settings=lambda: Settings(checkpoint=endless_folder))) as client:
        plain, scored, none = (
            client.post("/respond", json=body | more).json() for more in ({}, {"min_score": 0}, {"min_score": 1})
        )
    scores = [each.pop("score") for each in scored["responses"]]
    assert scored["responses"] == plain["responses"]
    assert len(scores) == 3
    assert all(0 < score < 1 for score in scores)
    assert none["responses"] == []
    assert none["note"].startswith("0 of 3 responses: the other selected ones have a score below 1, or no more")
