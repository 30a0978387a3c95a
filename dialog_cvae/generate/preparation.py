"""A conversation as the model reads it: texts in one form, roles and the topic in the model's own spelling.

Open it to change what of a user's spelling is ignored. `Responder.respond` and the service both use it, so that a
conversation gets the same replies from Python and over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dialog_cvae.data.roles import in_spelling
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.codec import Codec
from dialog_cvae.limits import find_name, known_topic, normal
from dialog_cvae.types import Conversation, Profile, Utterance

MAX_SHOWN_CHARS = 80  # most characters of an invalid value in a message


def prepared(conversation: Conversation, roles: Sequence[str], codec: Codec) -> Conversation:
    """The conversation in Unicode's normal form C and with single spaces; roles and topic are spelled as in training.

    Args:
        conversation: as a user wrote it.
        roles: that the model knows. Other names of speakers only lose the spaces at their ends.
        codec: of the model.

    Raises:
        ConfigError: a part has the wrong type, or the model does not know the topic.
    """
    _check_types(conversation)
    utterances = tuple(
        replace(each, speaker=_tidy_name(each.speaker), text=_tidy(each.text)) for each in conversation.utterances
    )
    speakers = {_tidy_name(name): profile for name, profile in conversation.speakers.items()}
    topic = conversation.topic
    if topic is not None:
        topic = _tidy(topic) if codec.free_topic else known_topic(topic, codec.topics)
    return in_spelling(replace(conversation, utterances=utterances, speakers=speakers, topic=topic), roles)


def prepared_name(speaker: str, roles: Sequence[str]) -> str:
    """A speaker's name: the model's own spelling of a role, else the name itself, tidied."""
    return find_name(speaker, roles) or _tidy_name(speaker)


def _check_types(conversation: Conversation) -> None:
    """Refuse a conversation with a part of the wrong type.

    Raises:
        ConfigError: the message names the part.
    """
    if not isinstance(conversation, Conversation):
        raise ConfigError(f"conversation must be a Conversation, but is {shown(conversation)}")
    if not isinstance(conversation.topic, str | None):
        raise ConfigError(f"topic must be a str or None, but is {shown(conversation.topic)}")
    if not isinstance(conversation.utterances, Sequence):
        raise ConfigError(f"utterances must be a tuple, but is {shown(conversation.utterances)}")
    if not isinstance(conversation.speakers, Mapping):
        raise ConfigError(f"speakers must be a mapping, but is {shown(conversation.speakers)}")
    for name, profile in conversation.speakers.items():
        if not isinstance(name, str):
            raise ConfigError(f"speakers: each name must be a str, but one is {shown(name)}")
        if not isinstance(profile, Profile):
            raise ConfigError(f"speakers: the profile of {name!r} must be a Profile, but is {shown(profile)}")
    for position, utterance in enumerate(conversation.utterances):
        if not isinstance(utterance, Utterance):
            raise ConfigError(f"utterances, item {position}, must be an Utterance, but is {shown(utterance)}")
        for field in ("speaker", "text"):
            if not isinstance(value := getattr(utterance, field), str):
                raise ConfigError(f"utterances, item {position}: {field} must be a str, but is {shown(value)}")


def shown(value: object) -> str:
    """A value and its type, for a message."""
    text = repr(value)
    return f"{text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + '…'} ({type(value).__name__})"


def _tidy(text: str) -> str:
    return " ".join(normal(text).split())


def _tidy_name(name: str) -> str:
    return normal(name.strip())
