"""Messenger's and Instagram's own words among the words of people: for files, reactions and calls.

Open this to add a language. Only whole messages are compared, because people write such words too.
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

_YOU: Final = "You"  # how the program names the owner of a download
_NAME: Final = r"[^\n]{1,100}?"
_EMOJI: Final = r"[^\w\s]{1,20}"

# The program writes these for files in place of a text, also if the file is missing.
_ATTACHMENT: Final = re.compile(
    rf"(?P<name>{_NAME}) (?:sent an attachment|a envoyé une pièce jointe|(?:ha enviado|envió) un archivo adjunto"
    r"|enviou um anexo|hat einen Anhang gesendet|ha inviato un allegato|bir (?:dosya )?eki? gönderdi)\."
)
_OWN_ATTACHMENT: Final = re.compile(
    r"(?:Vous avez envoyé une pièce jointe|(?:Has enviado|Enviaste) un archivo adjunto|Você enviou um anexo"
    r"|Du hast einen Anhang gesendet|Hai inviato un allegato)\."
)
# These count only beside a file or link.
_FILE: Final = re.compile(
    rf"(?P<name>{_NAME}) (?:sent|shared) (?:an?|\d+) (?:(?:live|voice) )?"
    r"(?:photo|video|GIF|sticker|file|link|location|message|post|reel|story)s?\."
)
# Instagram writes these as messages, in the language of an account.
_REACTION: Final = re.compile(
    r"(?:Liked a message|A aimé un message|Le (?:gustó|ha gustado) un mensaje|Curtiu uma mensagem|Bir mesajı beğendi"
    rf"|Reacted \S{{1,20}} to your message|(?:Reacted|You reacted) {_EMOJI} to a message"
    rf"|A réagi (?:avec )?{_EMOJI} à (?:votre|ton|un) message"
    rf"|(?:Reaccionó|Ha reaccionado) con {_EMOJI} a (?:tu|un) mensaje|Reagiu com {_EMOJI} à (?:sua|tua) mensagem"
    rf"|Hat (?:mit )?{_EMOJI} auf deine Nachricht reagiert|Ha reagito con {_EMOJI} al tuo messaggio)\.?\s?"
)
_CALL_ENDED: Final = re.compile(r"(?:The (?:audio|video)|Audio|Video) (?:call|chat) ended\.?")
_CALL: Final = re.compile(
    rf"(?P<name>{_NAME}) (?:(?:started|joined|missed) (?:an?|the|your) (?:audio|video|voice|group) (?:call|chat)"
    rf"|started a call|(?P<bare>missed (?:a|your) call))(?: (?:with|from) (?P<other>{_NAME}))?\.?"
)


def is_event(text: str, people: Set[str]) -> bool:
    """Whether a message says that someone reacted or called.

    Args:
        text: the whole message.
        people: names of those in the chat, in full and as the program shortens them; see `named`.
    """
    if _REACTION.fullmatch(text) or _CALL_ENDED.fullmatch(text):
        return True
    call = _CALL.fullmatch(text)
    if call is None or not _is_known(call["name"], people):
        return False
    if call["other"] is not None:
        return call["other"] == "you" or call["other"] in people
    return call["name"] != _YOU or call["bare"] is None  # people write "You missed a call" to each other


def is_file(text: str, people: Set[str], *, has_file: bool) -> bool:
    """Whether a message only says that someone sent a file, picture or link.

    Args:
        text: the whole message.
        people: as for `is_event`.
        has_file: whether the message has one.
    """
    if _OWN_ATTACHMENT.fullmatch(text):
        return True
    match = _ATTACHMENT.fullmatch(text) or (_FILE.fullmatch(text) if has_file else None)
    return match is not None and _is_known(match["name"], people)


def named(name: str) -> set[str]:
    """What the program may call a person: the name, or its first word."""
    return {name, *name.split()[:1]} - {""}


def _is_known(name: str, people: Set[str]) -> bool:
    return name == _YOU or name in people
