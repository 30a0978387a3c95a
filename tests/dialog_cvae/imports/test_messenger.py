"""Messenger's and Instagram's own words are no replies, and ordinary sentences that resemble them stay."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.imports.message import MEDIA, SYSTEM

SHARE = {"share": {"link": "https://x.org"}}


def download(*said: tuple[str, str, dict[str, object]], people: bool = True) -> str:
    """A chat of Zoë Lee and Bo Ott, in which each byte of UTF-8 is a character."""
    messages = [
        {"sender_name": name, "timestamp_ms": 1_700_000_000_000 + i, "content": text} | more
        for i, (name, text, more) in enumerate(said)
    ]
    chat = {"participants": [{"name": "Zoë Lee"}, {"name": "Bo Ott"}]} if people else {}
    return json.dumps(spoilt(chat | {"messages": messages[::-1]}))


def spoilt(value):
    if isinstance(value, str):
        return value.encode().decode("latin-1")
    if isinstance(value, dict):
        return {key: spoilt(each) for key, each in value.items()}
    return [spoilt(each) for each in value] if isinstance(value, list) else value


def read(put, imported, name: str, text: str, more: dict[str, object]):
    said = [("Zoë Lee", "one", {}), (name, text, more), ("Bo Ott", "two", {})]
    return imported(put("message_1.json", download(*said)), merge=False)


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        ("Zoë Lee", "You sent an attachment.", {}),
        ("Zoë Lee", "You sent an attachment.", SHARE),
        ("Zoë Lee", "Zoë Lee sent an attachment.", {}),
        ("Zoë Lee", "Zoë sent an attachment.", {}),
        ("Zoë Lee", "Zoë a envoyé une pièce jointe.", {}),
        ("Zoë Lee", "Vous avez envoyé une pièce jointe.", {}),
        ("Zoë Lee", "Du hast einen Anhang gesendet.", {}),
        ("Bo Ott", "Bo bir dosya eki gönderdi.", {}),
        ("Bo Ott", "You sent a photo.", {"photos": [{"uri": "a.jpg"}]}),
        ("Bo Ott", "Bo sent 3 photos.", {"photos": [{"uri": "a.jpg"}]}),
        ("Bo Ott", "You shared a story.", SHARE),
    ],
)
def test_announced_files_are_left_out(put, imported, name, text, more):
    result = read(put, imported, name, text, more)
    assert result.said == [["Zoë Lee: one", "Bo Ott: two"]]
    assert result.left_out == {MEDIA: 1}


@pytest.mark.parametrize(
    "text",
    [
        "Liked a message",
        "Reacted 😂 to your message ",
        "You reacted 😂 to a message",
        "A aimé un message",
        "A réagi avec 😂 à votre message ",
        "A réagi ❤️ à votre message",
        "Le gustó un mensaje",
        "Reaccionó con 👍🏽 a tu mensaje",
        "Curtiu uma mensagem",
        "Reagiu com ❤️ à sua mensagem",
        "Hat mit 😂 auf deine Nachricht reagiert",
        "Ha reagito con 😂 al tuo messaggio",
        "Bir mesajı beğendi",
        "Bo started an audio call",
        "You started a video chat.",
        "Zoë Lee started a call.",
        "Audio call ended",
        "The video chat ended.",
        "Zoë missed a call",
        "Zoë missed your call.",
        "You missed a call from Bo.",
        "You missed a video chat with Zoë.",
        "You missed an audio call",
        "Zoë missed a video chat with you.",
        "Bo joined the video chat.",
    ],
)
def test_reactions_and_calls_are_left_out(put, imported, text):
    result = read(put, imported, "Bo Ott", text, {})
    assert result.said == [["Zoë Lee: one", "Bo Ott: two"]]
    assert result.left_out == {SYSTEM: 1}


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("You must see this", SHARE),
        ("You sent a photo.", {}),
        ("You sent an attachment. Open it?", {}),
        ("Cy sent an attachment.", {}),
        ("Zoë sent a photo.", {}),
        ("You missed a call", {}),
        ("You missed a call from the bank", {}),
        ("Cy started a video chat", {}),
        ("Bo started an audio call and left", {}),
        ("The audio call ended badly.", {}),
        ("Liked a message from you, sorry", {}),
        ("A aimé un message de Bo", {}),
        ("Reagiu com raiva à sua mensagem", {}),
        ("A réagi avec colère à votre message", {}),
    ],
)
def test_ordinary_sentences_stay(put, imported, text, more):
    assert read(put, imported, "Bo Ott", text, more).said == [["Zoë Lee: one", f"Bo Ott: {text}", "Bo Ott: two"]]


@pytest.mark.parametrize("people", [None, 5, ["Zoë Lee", 5, {"name": 5}, {}]])
def test_participants_may_have_any_form(put, imported, people):
    said = [("Zoë Lee", "one", {}), ("Bo Ott", "Bo started a call", {}), ("Bo Ott", "two", {})]
    chat = json.loads(download(*said, people=False))
    path = put("message_1.json", json.dumps({"participants": spoilt(people)} | chat))
    assert imported(path).said == [["Zoë Lee: one", "Bo Ott: two"]]


def test_encrypted_chats_name_participants_as_plain_text(put, imported):
    said = [("Zoë Lee", "one"), ("Bo Ott", "You missed a call from Zoë."), ("Bo Ott", "two")]
    messages = [
        {"senderName": name, "text": text, "timestamp": 1_700_000_000_000 + i, "type": "text", "isUnsent": False}
        for i, (name, text) in enumerate(said)
    ]
    path = put("Bo_1.json", json.dumps({"participants": ["Zoë Lee", "Bo Ott"], "messages": messages[::-1]}))
    assert imported(path).said == [["Zoë Lee: one", "Bo Ott: two"]]
