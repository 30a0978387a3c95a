"""Slack: who wrote a message, if the list of users does not say it."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError


@pytest.fixture
def said(put, tmp_path, imported):
    """Import messages of one channel; gives what was said."""

    def run(*messages: dict[str, object], **options: object) -> list[str]:
        rows = [{"type": "message", "ts": str(number)} | each for number, each in enumerate(messages)]
        put("slack/users.json", json.dumps([{"id": "U1", "profile": {"display_name": "Ann"}}]))
        put("slack/help/2024-01-01.json", json.dumps(rows))
        (found,) = imported(tmp_path / "slack", merge=False, **options).said
        return found

    return run


def by(user: str, name: str, text: str) -> dict[str, object]:
    return {"user": user, "user_profile": {"display_name": name, "real_name": "Bo Lee"}, "text": text}


def test_a_user_who_is_not_listed_keeps_the_first_name(said):
    found = said(
        by("U2", "bo", "a"), by("U1", "ann!", "hi <@U2>"), by("U2", "Bo (away)", "b"), {"user": "U2", "text": "c"}
    )
    assert found == ["bo: a", "Ann: hi @bo", "bo: b", "bo: c"]


def test_a_user_without_a_name_at_first_stays_one_speaker(said):
    assert said({"user": "U2", "text": "a"}, by("U1", "", "b"), by("U2", "bo", "c")) == ["U2: a", "Ann: b", "U2: c"]


def test_two_users_of_one_name_stay_two(said):
    found = said(by("U2", "bo", "a"), by("U3", "bo", "b"), by("U3", "Bo", "c"), by("U1", "", "<@U3>"))
    assert found == ["bo: a", "bo 2: b", "bo 2: c", "Ann: @bo 2"]


@pytest.mark.parametrize("mark", [{"subtype": "bot_message"}, {"bot_id": "B1"}, {}])
def test_names_that_a_bridge_gives_are_several_speakers(said, mark):
    bridged = [{"user": "U9", "username": name, "text": name} | mark for name in ("cy", "di", "cy")]
    assert said(*bridged, bots=True) == ["cy: cy", "di: di", "cy: cy"]


@pytest.mark.parametrize(("user", "kind"), [(["U"], "a list"), ({"id": 5}, "an object")])
def test_an_odd_user_is_an_error(said, user, kind):
    with pytest.raises(DataError, match=f"2024-01-01.json, line 1: message 1: user must be text, is {kind}"):
        said({"user": user, "text": "a"})
