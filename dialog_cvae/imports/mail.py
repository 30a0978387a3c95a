"""Mailboxes: mbox files, as of Thunderbird, Apple Mail, Gmail and mailing lists, and folders with a mail in each file.

Open this if a mailbox is not recognised, or to change where one mail ends. A conversation is a thread. A mailbox is
read twice, first for its threads and then for its texts, one mail at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.errors import MessageError
from typing import IO, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.exports import Export
from dialog_cvae.imports.mail_head import Head, head_of, parsed
from dialog_cvae.imports.mail_parts import text_of
from dialog_cvae.imports.mail_threads import Threads
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source

COPIES: Final = "further copies of a mail"
BROKEN: Final = "broken mails"
_SUFFIXES: Final = (".mbox", ".mbx", ".eml")
_FOLDERS: Final = ("cur", "new")  # of a Maildir, with a file for each mail
_MAX_MAIL: Final = 2**19  # bytes of a mail that are read; texts come before files
_CHUNK: Final = 2**20  # bytes
_FIRST_BYTES: Final = 2**10  # of a file, which show that most are no mailbox
_HEAD: Final = 2**16  # bytes from which a mailbox is recognised
_FIRST: Final = b"\nFrom "
_BOM: Final = b"\xef\xbb\xbf"
# The line above each mail of an mbox, and the beginning of its headers. The line has a day of the week, a clock and a
# year, or nothing else as in some versions of Thunderbird.
_TIME: Final = (
    rb"[^\r\n]{0,300}?\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"
    rb"(?=[^\r\n]{0,60}\d:\d\d)(?=[^\r\n]{0,60}\b\d{4}\b)[^\r\n]{0,80}"
)
_MARK: Final = re.compile(rb"\nFrom (?:" + _TIME + rb")?\r?\n(?=>?From |[!-9;-~]{1,100}[ \t]*:)")
_MOST_MARK: Final = 1000  # bytes of such a line and a header's name
_BEGINNING: Final = re.compile(rb"From [^\r\n]*\r?\n|[!-9;-~]{1,100}[ \t]*:")
_FIELDS: Final = re.compile(rb"(?:[!-9;-~]{1,100}[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*\r?\n)+")
_SENDER: Final = re.compile(rb"(?mi)^From[ \t]*:")
_OTHERS: Final = re.compile(rb"(?mi)^(?:Message-ID|MIME-Version|Received|Return-Path|Delivered-To|X-[!-9;-~]+)[ \t]*:")
_DATE: Final = re.compile(rb"(?mi)^Date[ \t]*:")  # enough in a file that is named as a mail
_ESCAPED: Final = re.compile(rb"(?m)^>(>*From )")
# What the standard library raises at broken mails.
_ERRORS: Final = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


class _Found(NamedTuple):
    """A mail of a mailbox.

    Attributes:
        own: its id, or its place if it has none.
        head: its headers; None if they are broken.
        raw: its bytes.
    """

    own: str
    head: Head | None
    raw: bytes


def recognise(source: Source) -> bool:
    """Whether a file is an mbox, or a single mail."""
    return _is_mailbox(source.file)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The mails of all files, in their order.

    Raises:
        DataError: a file is no mailbox, or cannot be read.
    """
    for file in source.files:
        if not _is_mailbox(file):
            raise DataError(file.name, "is no mailbox: its first line must begin a mail, as `From a@b.org ...` does")
    threads = Threads()
    for own, head, _ in _mails(source.files):
        if head is not None and not head.left_out:
            threads.add(head, own)
    threads.finish()
    log.notes.append("a conversation is a mail and all replies to it; quoted mails and signatures are removed")
    seen: set[int] = set()
    for own, head, raw in _mails(source.files):
        if head is None or head.left_out:
            log.left_out[BROKEN if head is None else head.left_out] += 1
        elif hash(own) in seen:
            log.left_out[COPIES] += 1
        else:
            seen.add(hash(own))
            if (message := _message(own, head, raw, threads, options, log)) is not None:
                yield message


def _message(own: str, head: Head, raw: bytes, threads: Threads, options: Options, log: Log) -> Message | None:
    """A mail as a message; None if it is broken, which is counted."""
    try:
        text = text_of(parsed(raw), options.encoding, log)
    except _ERRORS:
        log.left_out[BROKEN] += 1
        return None
    return Message(
        f"{threads.thread(own)}\0",
        threads.name(head),
        text,
        head.time,
        head.subject or None,
        id=ascii(own),
        reply_to=ascii(head.parents[-1]) if head.parents else None,
    )


def _mails(files: Iterable[File]) -> Iterator[_Found]:
    """The mails of all files."""
    for place, file in enumerate(files):
        for number, raw in enumerate(_raw_mails(file)):
            head = _head(raw)
            own = "" if head is None else head.id
            yield _Found(own or f"\0{place} {number}", head, raw)


def _head(raw: bytes) -> Head | None:
    """What the headers of a mail say; None if they are broken, or name no sender."""
    fields = raw.partition(b"\n\n")[0].partition(b"\n\r\n")[0]
    try:
        head = head_of(parsed(fields + b"\n\n", head_only=True))
    except _ERRORS:
        return None
    return head if head.name or head.address else None


def _raw_mails(file: File) -> Iterator[bytes]:
    """The beginning of each mail of a file."""
    if not _is_mbox(_head_of(file)):
        with file.opened() as stream:
            yield stream.read(_MAX_MAIL).removeprefix(_BOM).lstrip(b"\r\n")
        return
    with file.opened() as stream:
        for raw in _divided(stream):
            yield _ESCAPED.sub(rb"\1", raw) if b">From " in raw else raw


def _divided(stream: IO[bytes]) -> Iterator[bytes]:
    """The mails of an mbox. A line begins one if it has the form of such lines and a header is below it."""
    held: list[bytes] = []
    text, size = b"\n" + stream.read(len(_BOM)).removeprefix(_BOM), 0  # so that the first line is below a line end
    begun, is_more = False, True
    while is_more:
        chunk = stream.read(_CHUNK)
        is_more = bool(chunk)
        text, at = text + chunk, 0
        end = max(0, len(text) - _MOST_MARK) if is_more else len(text)  # further on, a mark may be cut off
        place = text.find(_FIRST)
        while 0 <= place < end:
            if (mark := _MARK.match(text, place)) is not None:
                if begun:
                    yield b"".join([*held, text[at : place + 1]])[:_MAX_MAIL]
                held, size, at, begun = [], 0, mark.end(), True
            place = text.find(_FIRST, max(at, place + 1))
        end = max(at, end)
        if size < _MAX_MAIL:
            held.append(text[at:end])
            size += end - at
        text = text[end:]
    if begun:
        yield b"".join(held)[:_MAX_MAIL]


def _head_of(file: File) -> bytes:
    """The beginning of a file; unlike its own `head`, it does not stay in memory."""
    with file.opened() as stream:
        first = stream.read(_FIRST_BYTES).removeprefix(_BOM).lstrip(b"\r\n")
        return first + stream.read(_HEAD) if _BEGINNING.match(first) else first


def _is_mbox(head: bytes) -> bool:
    return _MARK.match(b"\n" + head) is not None


def _is_mailbox(file: File) -> bool:
    """Whether a file begins as an mbox or, if its name may be that of a mail, with the headers that programs write."""
    head = _head_of(file)
    if _is_mbox(head):
        return True
    fields = _FIELDS.match(head) if _has_name_of_mails(file) else None
    if fields is None or not _SENDER.search(fields[0]):
        return False
    others = (_OTHERS, _DATE) if file.base.lower().endswith(".eml") else (_OTHERS,)
    return any(sign.search(fields[0]) for sign in others)


def _has_name_of_mails(file: File) -> bool:
    """Whether a file has the name of a mailbox or mail; Thunderbird gives mailboxes no suffix, a Maildir gives none."""
    name = file.base.lower()
    return name.endswith(_SUFFIXES) or "." not in name or file.folder.rpartition("/")[2] in _FOLDERS


def _mailboxes(source: Source) -> Iterator[File]:
    return (file for file in source.files if _has_name_of_mails(file) and _is_mailbox(file))


def _export(source: Source) -> Export:
    """All mailboxes of a folder: a reply is often in another one than the mail it answers."""
    return Export("", list(_mailboxes(source)))


FOLDER_FORMAT = Format(
    "mail",
    "a folder of mailboxes",
    lambda source: next(_mailboxes(source), None) is not None,
    read,
    folder=True,
    export=_export,
    interleaved=True,
)
FILE_FORMAT = Format("mbox", "a mailbox", recognise, read, interleaved=True)
