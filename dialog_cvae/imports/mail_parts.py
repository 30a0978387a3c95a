"""The text of a mail: which of its parts are read, in which encoding, and HTML as text.

Open this if a text is missing, or if its accents are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message as Mail
from typing import Final

from dialog_cvae.imports.html_text import text_of_html
from dialog_cvae.imports.mail_text import own_text
from dialog_cvae.imports.message import Log

# Encodings that are a part of others, under whose name mails hold these.
_WIDER: Final = {
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "x-gbk"), "gb18030"),
    **dict.fromkeys(("ks_c_5601-1987", "euc-kr"), "cp949"),
    "shift_jis": "cp932",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-9": "cp1254",
}
_QUOTE_TAG: Final = re.compile(r"<(?P<end>/)?blockquote\b(?P<inside>[^<>]*)>", re.IGNORECASE)
_QUOTED_LINE: Final = "<div>&gt;</div>"
_CITED: Final = re.compile(r"\bcite\b|quote", re.IGNORECASE)
_HEAD: Final = re.compile(r"<head[\s>]", re.IGNORECASE)
_HEAD_END: Final = re.compile(r"</head\s*>", re.IGNORECASE)
_CONDITION: Final = re.compile(r"<!\[[^<>]{1,100}\]>")  # as Outlook writes it


def text_of(mail: Mail, encoding: str | None, log: Log) -> str:
    """What the sender wrote, without earlier mails and signature; empty if there is no text.

    Args:
        mail: the mail.
        encoding: of text that does not say its own and is not UTF-8; None is cp1252.
        log: counts texts with HTML.
    """
    texts = []
    for part in _parts(mail):
        data = part.get_payload(decode=True)
        text = text_in(data if isinstance(data, bytes) else b"", part.get_content_charset(), encoding)
        if part.get_content_subtype() == "html":
            text = _own_html(text, log)
        elif part.get_param("format") == "flowed":
            text = _unwrapped(text)
        texts.append(text)
    return own_text("\n".join(texts))


def _parts(part: Mail) -> Iterator[Mail]:
    """The parts with text that are no files, in their order; of alternatives the first with plain text, else the last.

    Mails within the mail are not entered.
    """
    kind = part.get_content_type()
    if part.is_multipart():
        held = part.get_payload()
        inside = [each for each in held if isinstance(each, Mail)] if isinstance(held, list) else []
        if kind == "multipart/alternative":
            choices = [found for each in inside if (found := list(_parts(each)))]
            plain = (found for found in choices if any(_is_plain(each) for each in found))
            yield from next(plain, choices[-1] if choices else [])
        elif not kind.startswith("message/"):
            for each in inside:
                yield from _parts(each)
    elif kind in ("text/plain", "text/html") and not _is_file(part):
        yield part


def _is_file(part: Mail) -> bool:
    return bool(part.get_filename()) or part.get_content_disposition() == "attachment"


def _is_plain(part: Mail) -> bool:
    """Whether a part has plain text that is not blank."""
    data = part.get_payload(decode=True) if part.get_content_subtype() == "plain" else None
    return isinstance(data, bytes) and bool(data.strip())


def text_in(data: bytes, charset: str | None, other: str | None) -> str:
    """The text in bytes.

    Args:
        data: the bytes.
        charset: the encoding that the mail names.
        other: the encoding if the mail names none, or an unknown one, and the text is not UTF-8; None is cp1252.
    """
    named = (charset or "").lower().strip("'\" ")
    if named and named not in ("us-ascii", "ascii", "unknown-8bit"):
        try:
            return data.decode(_WIDER.get(named, named), "replace")
        except (LookupError, UnicodeError):
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(other or "cp1252", "replace")


def _unwrapped(text: str) -> str:
    """Text with long lines where the mail has soft line ends, which are a space at the end of a line (RFC 3676)."""
    found: list[str] = []
    is_open = False
    for line in text.replace("\r\n", "\n").split("\n"):
        is_quoted = line.startswith(">")
        plain = line.removeprefix(" ")
        if is_open and not is_quoted:
            found[-1] += plain
        else:
            found.append(line if is_quoted else plain)
        is_open = not is_quoted and plain.endswith(" ") and plain != "-- "
    return "\n".join(found)


def _own_html(text: str, log: Log) -> str:
    """The text of HTML, without cited mails. Line ends of HTML are spaces, unless it has preformatted text."""
    begins, ends = _HEAD.search(text), _HEAD_END.search(text)
    if begins is not None and ends is not None and begins.start() < ends.start():
        text = text[: begins.start()] + text[ends.end() :]
    text = _without_cited(_CONDITION.sub("", text))
    if "<pre" not in text.lower():
        text = " ".join(text.split())
    return text_of_html(text, log)


def _without_cited(text: str) -> str:
    """HTML with a quoted empty line for each block of an earlier mail; one that does not end goes to the end."""
    found: list[str] = []
    at, depth = 0, 0
    for tag in _QUOTE_TAG.finditer(text):
        if tag["end"]:
            if depth == 1:
                at = tag.end()
            depth = max(0, depth - 1)
        elif depth or _CITED.search(tag["inside"]):
            if not depth:
                found += [text[at : tag.start()], _QUOTED_LINE]
            depth += 1
    return "".join([*found, "" if depth else text[at:]])
