"""The types that all formats use: messages, options, the log of what was left out, and the format itself.

Open this to add an option of imports, or a field of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from dialog_cvae.imports.exports import Export, whole
from dialog_cvae.imports.source import Source

MEDIA: Final = "pictures, files, polls, locations and deleted messages"
SYSTEM: Final = "system lines"
TURNS: Final = "tool and system turns"
BOTS: Final = "messages of bots"
NOTES: Final = "private notes"
DateOrder = Literal["dmy", "mdy", "ymd"]
HOUR: Final = 3600.0


class Message(NamedTuple):
    """A message as a format gives it.

    Attributes:
        conversation: its name within the source; messages of one conversation follow each other, unless the format is
            interleaved.
        speaker: who wrote it.
        text: what it says.
        time: in seconds, from any origin; None if unknown.
        topic: the conversation's topic; that of the first message counts.
        dialog_act: name of a class.
        kept: further fields of the conversation's line in our own format; those of the first message count.
        in_thread: whether the conversation is a thread, which silences do not divide.
        id: name of the message within its conversation, if other messages refer to it.
        reply_to: the `id` of the message that this one replies to.
        row: name of the row of a table that holds this message and those beside it with the same `row`, in their order;
            None if each is a row.
    """

    conversation: str
    speaker: str
    text: str
    time: float | None = None
    topic: str | None = None
    dialog_act: str | None = None
    kept: Mapping[str, Any] | None = None
    in_thread: bool = False
    id: str | None = None
    reply_to: str | None = None
    row: str | None = None


@dataclass(frozen=True)
class Options:
    """How files are read.

    Attributes:
        format: name of the format; None recognises it.
        columns: for tables: names of columns by what they hold.
        encoding: encoding of text that is neither UTF-8 nor UTF-16.
        date_order: order of dates in numbers, such as "mdy"; None decides it from the whole file.
        time_format: form of the times in a table, as for `datetime.strptime`; None reads ISO 8601 and seconds since
            1970.
        bots: whether messages of bots are kept.
        merge: whether successive messages of one speaker become one; None is the format's default.
        gap: seconds of silence after which a new conversation begins; 0: never; None: the format's default.
        anonymous: whether speakers become A, B, ...
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    date_order: DateOrder | None = None
    time_format: str | None = None
    bots: bool = False
    merge: bool | None = None
    gap: float | None = None
    anonymous: bool = False


@dataclass
class Log:
    """What an import reports.

    Attributes:
        notes: lines on how a source was read.
        left_out: number of messages left out, by reason.
        changed: number of changes, by kind.
        gap: a default that the reader may set instead of the format's, at the latest with its first message.
        least_replies: share of the messages; if as many reply to another one, a conversation is a message and all
            replies to it. None if conversations have names.
        division: how a table is divided into conversations if too few messages reply to another one.
        speaker_column: the column of a table that was read as the speaker.
    """

    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    gap: float | None = None
    least_replies: float | None = None
    division: str = "the whole table is one"
    speaker_column: str | None = None


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: value of `--format`.
        title: the format's name in a sentence.
        recognise: says whether a source is in this format, by its content.
        read: gives the source's messages, in any number; what is left out is counted.
        folder: whether a source is a folder or an archive.
        export: for a folder: gives the first of the exports that it holds; only these files are then read.
        interleaved: whether messages of several conversations alternate, or are not in the order of their times.
        merge: default of the option.
        gap: default of the option, in seconds; 0: never.
        only_named: whether it is recognised only in a file that the user names, not in one of a folder.
    """

    name: str
    title: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source, Options, Log], Iterator[Message]]
    folder: bool = False
    export: Callable[[Source], Export] = whole
    interleaved: bool = False
    merge: bool = False
    gap: float = 0.0
    only_named: bool = False
