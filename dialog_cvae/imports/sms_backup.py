"""SMS and MMS of an Android telephone, as the program SMS Backup & Restore writes them in XML.

Open this if a backup is not recognised or is read wrongly. Each message is an element `sms` or `mms`; the text of an
MMS is in its parts, and the sender of one to a group in its list of addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import HOUR, MEDIA, Format, Log, Message, Options
from dialog_cvae.imports.people import ME
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.times import seconds
from dialog_cvae.imports.xml_stream import tags

UNSENT: Final = "drafts and messages that were not sent"
_ROOT: Final = "smses"
_BOXES: Final = {"sms": "type", "mms": "msg_box"}  # the attribute that says whether a message was received or sent
_RECEIVED, _SENT = "1", "2"
_FROM: Final = "137"  # type of the sender's address
_SELF: Final = "insert-address-token"  # the telephone's own address, if it is not known
_NOTHING: Final = {"null", "(Unknown)"}
_SHARED: Final = 7  # last digits of a number, which are the same with and without the code of the country
_BETWEEN: Final = re.compile(r"[\s().-]+")  # signs within a telephone number
_BEGINNING: Final = re.compile(
    rf"(?:\s+|<\?[^>]*>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>)*+<{_ROOT}[\s/>]", re.DOTALL
)


class _Entry(NamedTuple):
    """An SMS or MMS.

    Attributes:
        kind: the element's name.
        line: where it begins.
        fields: its attributes.
        texts: the texts of its parts.
        senders: the addresses of its senders, of which there is one or none.
    """

    kind: str
    line: int
    fields: Mapping[str, str]
    texts: list[str]
    senders: list[str]

    @property
    def addresses(self) -> list[str]:
        """The addresses of the other people in the conversation."""
        return [each for each in _field(self.fields, "address").split("~") if each]

    @property
    def conversation(self) -> str:
        """The key of the conversation."""
        return "~".join(sorted(map(_number, self.addresses)))


def recognise(source: Source) -> bool:
    """Whether the first element is that of a backup."""
    return _BEGINNING.match(source.file.head_text.lstrip("\ufeff")) is not None


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages, those of all conversations mixed; the file is read twice.

    Raises:
        DataError: the file is malformed, or is no backup.
    """
    names: dict[str, str] = {}  # of people and groups, by the key of the conversation with them
    for entry in _entries(source.file, options):
        if name := _field(entry.fields, "contact_name"):
            names[entry.conversation] = name
        else:
            names.setdefault(entry.conversation, ", ".join(entry.addresses))
    for entry in _entries(source.file, options):
        try:
            message = _message(entry, names, log)
        except ValueError as error:
            raise DataError(source.file.name, f"{entry.kind}: {error}", entry.line) from None
        if message is not None:
            yield message


def _entries(file: File, options: Options) -> Iterator[_Entry]:
    entry, is_first = None, True
    for name, line, fields in tags(file, options.encoding):
        if is_first and name != _ROOT:
            raise DataError(file.name, f"is no backup of SMS and MMS: it begins with <{name}>, not <{_ROOT}>", line)
        is_first = False
        if fields is None:
            if entry is not None and name == entry.kind:
                yield entry
                entry = None
        elif name in _BOXES:
            entry = _Entry(name, line, fields, [], [])
        elif entry is None:
            continue
        elif name == "part" and fields.get("ct") == "text/plain":
            entry.texts.append(_field(fields, "text"))
        elif name == "addr" and fields.get("type") == _FROM and fields.get("address") != _SELF:
            entry.senders.append(_field(fields, "address"))


def _message(entry: _Entry, names: Mapping[str, str], log: Log) -> Message | None:
    """A message, or None if it is left out.

    Raises:
        ValueError: an attribute is missing, or is no time.
    """
    box, body = entry.fields.get(_BOXES[entry.kind]), entry.fields.get("body", "")
    if box is None:
        raise ValueError(f"has no attribute {_BOXES[entry.kind]!r}")
    if box not in {_RECEIVED, _SENT}:
        log.left_out[UNSENT] += 1
        return None
    text = body if entry.kind == "sms" else "\n".join(filter(None, entry.texts))
    if not text.strip():
        log.left_out[MEDIA] += 1
        return None
    people = entry.addresses
    if box == _SENT:
        speaker = ME
    else:
        sender = people[0] if len(people) == 1 else next(iter(entry.senders), "")
        speaker = names.get(_number(sender), sender)
    key, name = entry.conversation, names[entry.conversation]
    if len(people) == 1:  # a number may be with the code of the country and without; then it has the same contact
        key = f"{name} {key[-_SHARED:]}"
    return Message(f"{key}\0{name}", speaker, text, seconds(entry.fields.get("date")))


def _field(fields: Mapping[str, str], name: str) -> str:
    """The value of an attribute; empty if it is missing or unknown."""
    value = fields.get(name, "")
    return "" if value in _NOTHING else value


def _number(address: str) -> str:
    """A telephone number, or another address, without what may be written in several ways."""
    return _BETWEEN.sub("", address).casefold()


FORMAT = Format(
    "sms-backup",
    "SMS and MMS of SMS Backup & Restore",
    recognise,
    read,
    interleaved=True,
    merge=True,
    gap=6 * HOUR,
)
