"""What of a user's spelling a model does not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.codec import Codec
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.preparation import prepared, prepared_name
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Profile, Utterance

ROLES = ("customer", "Café agent")
ASKED = Conversation(
    "c",
    (
        Utterance(" Customer", "any\n  pets ?"),
        Utterance("CAFE\u0301 AGENT", "cafe\u0301"),
        Utterance(" Ann  Lee ", "\t"),
    ),
    " pets",
    "a prompt",
    {"CUSTOMER ": Profile("female")},
)
READ = Conversation(
    "c",
    (Utterance("customer", "any pets ?"), Utterance("Café agent", "caf\u00e9"), Utterance("Ann  Lee", "")),
    "PETS",
    "a prompt",
    {"customer": Profile("female")},
)


@pytest.fixture
def codec(tiny_checkpoint: Checkpoint) -> Codec:
    return dialog_codec(tiny_checkpoint)


def test_names_texts_and_topic_have_one_form(codec: Codec) -> None:
    assert prepared(ASKED, ROLES, codec) == READ
    assert prepared(READ, ROLES, codec) == READ
    assert [prepared_name(name, ROLES) for name in ("CUSTOMER", " Bo\u0308 ", "")] == ["customer", "B\u00f6", ""]


def test_what_is_missing_stays_missing(codec: Codec) -> None:
    assert prepared(Conversation("c", ()), (), codec) == Conversation("c", ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topic": 5}, "topic must be a str or None, but is 5 (int)"),
        ({"topic": "CHESS"}, 'topic: should be one of the 2 known topics, got "CHESS"; the closest are'),
        ({"utterances": ("hi",)}, "utterances, item 0, must be an Utterance, but is 'hi' (str)"),
        (
            {"utterances": (READ.utterances[0], Utterance("A", None))},  # type: ignore[arg-type]
            "utterances, item 1: text must be a str, but is None (NoneType)",
        ),
        (
            {"utterances": (Utterance(1, "hi"),)},  # type: ignore[arg-type]
            "utterances, item 0: speaker must be a str, but is 1 (int)",
        ),
        ({"utterances": None}, "utterances must be a tuple, but is None (NoneType)"),
        ({"speakers": None}, "speakers must be a mapping, but is None (NoneType)"),
        ({"speakers": {1: Profile()}}, "speakers: each name must be a str, but one is 1 (int)"),
        ({"speakers": {"A": {}}}, "speakers: the profile of 'A' must be a Profile, but is {} (dict)"),
    ],
)
def test_a_part_of_a_wrong_type_is_named(codec: Codec, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        prepared(replace(ASKED, **change), ROLES, codec)
    assert str(error.value).startswith(message)
