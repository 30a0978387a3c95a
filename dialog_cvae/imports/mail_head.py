"""The headers of a mail: who wrote it when, what it replies to, and whether a program wrote it.

Open this if a header is read wrongly, or if a mail is wrongly left out. Broken headers are read as far as possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Mail
from email.parser import BytesParser
from email.policy import Compat32
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final, NamedTuple

from dialog_cvae.imports.mail_parts import text_in
from dialog_cvae.imports.mail_words import AUTOMATIC, FORWARDS, NOT_KEPT, REPLIES, longest_first
from dialog_cvae.imports.times import seconds

PROGRAMS: Final = "automatic replies and bounces"
DIGESTS: Final = "digests of mailing lists"
DELETED: Final = "drafts, spam and deleted mails"

_ID: Final = re.compile(r"<([^<>\s]{1,1000})>")
_REPLY: Final = re.compile(rf"\s*(?:{longest_first(REPLIES)})\s?(?:\[\d+\]|\(\d+\)|\^\d+)?\s?[:：]", re.IGNORECASE)
_FORWARD: Final = re.compile(rf"\s*(?:{longest_first(FORWARDS)})\s?(?:\[\d+\])?\s?[:：]", re.IGNORECASE)
_TAG: Final = re.compile(r"\s*\[[^\[\]]{1,60}\]")  # such as the name of a mailing list
_AUTOMATIC: Final = re.compile(AUTOMATIC, re.IGNORECASE)
_DIGEST: Final = re.compile(r"\bdigest,? vol\b|\bdigest number \d", re.IGNORECASE)
_POSTMASTERS: Final = ("mailer-daemon@", "postmaster@")
_AUTOMATIC_FIELDS: Final = ("X-Autoreply", "X-Autorespond", "X-Autoresponse", "X-Failed-Recipients")
_EXPUNGED: Final = 0x0008  # in Thunderbird's status: deleted, but still in the file
_VIA: Final = re.compile(r"['\"](.+)['\"] via .+")  # a name as Google's groups write it
_MOST_CHARS: Final = 20_000  # of a list of recipients
_MOST_RECIPIENTS: Final = 4  # of a mail, by which a reply without links finds it
_THREAD_BYTES: Final = 22  # of Exchange's index that all mails of a conversation share


class _Raw(Compat32):
    """Headers as they are in the mail; the usual policies fail at some broken ones."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


_PARSER: Final = BytesParser(policy=_Raw())


class Head(NamedTuple):
    """What the headers of a mail say.

    Attributes:
        id: its Message-ID; empty if it has none.
        parents: the ids of the mails before it in its thread, the one it replies to last.
        threads: other names of its thread, as Gmail and Exchange write them.
        name: that of the sender; empty if there is only an address.
        address: the sender's, in lower case.
        recipients: addresses of the first few.
        subject: without the signs of replies and forwards.
        is_reply: whether the subject has such a sign.
        time: seconds since 1970; None if it is not known.
        left_out: why it is not read; empty if it is.
    """

    id: str
    parents: tuple[str, ...]
    threads: tuple[str, ...]
    name: str
    address: str
    recipients: tuple[str, ...]
    subject: str
    is_reply: bool
    time: float | None
    left_out: str


def parsed(raw: bytes, *, head_only: bool = False) -> Mail:
    """The mail in these bytes.

    Raises:
        RecursionError: it has parts within parts, too deep.
    """
    return _PARSER.parsebytes(raw, headersonly=head_only)


def head_of(mail: Mail) -> Head:
    """What the headers of a mail say."""
    senders = _addresses(mail, "From") or _addresses(mail, "Sender") or [("", "")]
    name, address = senders[0]
    whole = _header(mail, "Subject")
    subject, is_reply = _plain_subject(whole)
    references = _ID.findall(_header(mail, "References"))
    replied = _ID.findall(_header(mail, "In-Reply-To"))[:1]
    parents = [each for each in references if each not in replied] + replied
    ids = _ID.findall(_header(mail, "Message-ID"))
    return Head(
        ids[0] if ids else "",
        tuple(parents),
        tuple(_thread_names(mail)),
        "" if "@" in name and name.strip("'\"").lower() == address else _VIA.sub(r"\1", name).strip("'\""),
        address,
        tuple(each for _, each in [*_addresses(mail, "To"), *_addresses(mail, "Cc")][:_MOST_RECIPIENTS]),
        subject,
        is_reply,
        _time(mail),
        _reason(mail, whole, address),
    )


def _reason(mail: Mail, subject: str, address: str) -> str:
    """Why a mail is not read; empty if a person may have written it.

    Mails that only say that they are generated are read, because help desks write the answers of agents so.
    """
    automatic = _header(mail, "Auto-Submitted").lower()
    precedence = _header(mail, "Precedence").lower()
    kind = mail.get_content_type()
    if (
        automatic.startswith(("auto-replied", "auto-notified"))
        or precedence == "auto_reply"
        or kind == "multipart/report"
        or any(mail.get(name) is not None for name in _AUTOMATIC_FIELDS)
        or _header(mail, "Return-Path") == "<>"
        or address.startswith(_POSTMASTERS)
        or _AUTOMATIC.match(subject)
    ):
        return PROGRAMS
    if kind == "multipart/digest" or _DIGEST.search(subject):
        return DIGESTS
    labels = {label.strip().lower() for label in _header(mail, "X-Gmail-Labels").split(",")}
    status = _header(mail, "X-Mozilla-Status")
    is_expunged = re.fullmatch(r"[0-9a-fA-F]{1,8}", status) is not None and int(status, 16) & _EXPUNGED
    return DELETED if labels & NOT_KEPT or is_expunged else ""


def _thread_names(mail: Mail) -> Iterator[str]:
    if number := _header(mail, "X-GM-THRID"):
        yield f"gmail {number}"
    if index := _header(mail, "Thread-Index").replace(" ", ""):
        yield f"exchange {index[: _THREAD_BYTES * 4 // 3]}"


def _plain_subject(subject: str) -> tuple[str, bool]:
    """A subject without the signs of replies and forwards before it, and whether it has one.

    A tag such as that of a mailing list may come before the signs, or between them; the first one stays.
    """
    tag, rest, is_reply = "", subject, False
    while True:
        if (sign := _REPLY.match(rest) or _FORWARD.match(rest)) is not None:
            rest, is_reply = rest[sign.end() :], True
        elif (found := _TAG.match(rest)) is not None and (not tag or found[0].strip() == tag):
            tag, rest = found[0].strip(), rest[found.end() :]
        else:
            return " ".join(f"{tag} {rest}".split()), is_reply


def _time(mail: Mail) -> float | None:
    date = _header(mail, "Date")
    try:
        return seconds(parsedate_to_datetime(date))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _header(mail: Mail, name: str) -> str:
    """A header on one line, with its encoded words decoded; empty if it is missing."""
    return decoded(str(mail.get(name) or ""))


def decoded(value: str) -> str:
    """The text of a header, whose bytes outside ASCII are escaped, and which may have encoded words."""
    text = text_in(value.encode("ascii", "surrogateescape") if not value.isascii() else value.encode(), None, None)
    text = " ".join(text.split())
    if "=?" not in text:
        return text
    try:
        parts = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    pieces = [
        part if isinstance(part, str) else text_in(part, charset, None) if charset else _unescaped(part)
        for part, charset in parts
    ]
    return " ".join("".join(pieces).split())


def _unescaped(part: bytes) -> str:
    """Text between encoded words, which the standard library gives in this form."""
    return part.decode("raw-unicode-escape", "replace")


def _addresses(mail: Mail, name: str) -> list[tuple[str, str]]:
    """The names and addresses in a header."""
    raw = str(mail.get(name) or "")
    text = text_in(raw.encode("ascii", "surrogateescape") if not raw.isascii() else raw.encode(), None, None)
    return [
        (decoded(each) if each.isascii() else " ".join(each.split()), address.lower())
        for each, address in getaddresses([" ".join(text.split())[:_MOST_CHARS]])
        if each or address
    ]
