"""Tables with a whole conversation in a field of each row, in lines such as `Ann: text`.

Open this to change how such a column is recognised, or how a field is divided into messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import NAMES, SURE_CONVERSATIONS, TRANSCRIPT, spelling
from dialog_cvae.imports.columns import check_unique, named_by_user
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.message import Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.time_columns import Values
from dialog_cvae.imports.transcript import is_mail
from dialog_cvae.imports.transcript_lines import TIMES, Counts, parted

EARLY: Final = "lines of transcripts before the first speaker"
# Names of the column. Those of a text count only in a table without a column of speakers.
COLUMNS: Final = (
    *("transcript", "chat_transcript", "call_transcript", "conversation_transcript", "full_transcript"),
    *("transcription", "dialogue", "dialog", "conversation", "conversation_text", "chat", "chat_log", "chat_history"),
)
_IDS: Final = ("id", *SURE_CONVERSATIONS)  # names of the column with the name of the conversation
_ENOUGH: Final = 0.5  # least share of the first fields that begin with a speaker and have two messages or more


class _Turns(NamedTuple):
    """A conversation.

    Attributes:
        said: each speaker and text.
        early: number of lines before the first speaker.
        times: number of times removed.
    """

    said: list[tuple[str, str]]
    early: int
    times: int


class Transcripts:
    """Divides fields into messages.

    Args:
        sample: the first fields, which say who speaks in all of them; a field alone may say it too.
    """

    def __init__(self, sample: Iterable[str]) -> None:
        self._common = Counts(found for field in sample for line in _lines(field) if (found := parted(line))).speakers()

    def turns(self, field: str) -> _Turns:
        """The messages of a field; a line without a speaker continues the message above."""
        lines = _lines(field)
        own = Counts(found for line in lines if (found := parted(line))).speakers()
        said: list[tuple[str, list[str]]] = []
        early = times = 0
        for line in lines:
            begun = self._common.said(line) or own.said(line)
            if begun is not None:
                said.append((begun.name, [begun.text]))
                times += begun.timed
            elif said:
                said[-1][1].append(line)
            else:
                early += 1
        return _Turns([(speaker, "\n".join(filter(None, texts))) for speaker, texts in said], early, times)


def transcript_column(name: str, header: Sequence[str], options: Options, values: Values) -> str | None:
    """The column whose fields are whole conversations; None if each row is a message.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        options: `columns` takes precedence over names.
        values: gives the first values of a column.

    Raises:
        DataError: a column that the user named is missing, is not unique, or has no use beside a transcript.
    """
    if TRANSCRIPT in options.columns:
        named = named_by_user(name, header, options)
        check_unique(name, header, named.values())
        if useless := named.keys() - {TRANSCRIPT, "conversation", "topic"}:
            raise DataError(name, f"--column {min(useless)} cannot be given with --column {TRANSCRIPT}")
        return named[TRANSCRIPT]
    if options.columns.keys() - {"conversation", "topic"}:
        return None
    spelt = {spelling(column): column for column in reversed(header) if header.count(column) == 1}
    texts = () if any(each in spelt for each in NAMES["speaker"]) else NAMES["text"]
    names = [spelt[each] for each in (*COLUMNS, *texts) if each in spelt]
    return next((column for column in names if are_transcripts(values(column))), None)


def are_transcripts(values: Iterable[object]) -> bool:
    """Whether most of these fields are conversations; neither mails nor lists of properties, as in `Price: 5`, are."""
    fields = [without_html(value, Log()) for value in values if isinstance(value, str) and value.strip()]
    transcripts = Transcripts(fields)
    found = [transcripts.turns(field) for field in fields]
    conversations = [said for said, early, _ in found if not early and _alternates(Counter(who for who, _ in said))]
    if not conversations or is_mail(Counter(who for said in conversations for who, _ in said)):
        return False
    return len(conversations) >= _ENOUGH * len(fields)


def _alternates(lines: Counter[str]) -> bool:
    """Whether there are two speakers, or more of whom one speaks again."""
    return len(lines) == 2 or (len(lines) > 2 and lines.total() > len(lines))


def is_read(column: str) -> bool:
    """Whether a column beside that of the conversations may be read, by its name."""
    return spelling(column) in (*_IDS, *NAMES["topic"])


def read_rows(
    header: Sequence[str],
    column: str,
    options: Options,
    log: Log,
    rows: Iterator[Sequence[Any]],
    sample: int,
    part: int = 0,
) -> Iterator[Message]:
    """The messages of all rows.

    Args:
        header: names of the columns.
        column: the one with the conversations.
        options: whether the report may name speakers.
        log: receives notes and counts.
        rows: the fields of each row.
        sample: how many rows decide who speaks.
        part: number of the file in its data set.
    """
    spelt = {spelling(each): place for place, each in reversed(list(enumerate(header))) if each != column}
    name, topic = (
        header.index(options.columns[what])
        if what in options.columns
        else next((spelt[each] for each in known if each in spelt), None)
        for what, known in (("conversation", _IDS), ("topic", NAMES["topic"]))
    )
    place = header.index(column)
    first = list(islice(rows, sample))
    fields = [without_html(_field(row, place), Log()) for row in first]
    transcripts = Transcripts(fields)
    speakers = Counter(who for field in fields for who, _ in transcripts.turns(field).said)
    log.notes.append(f"each row is a conversation, with a line such as `Ann: text` for each message in {column!r}")
    log.notes.append(f"{listed(speakers, anonymous=options.anonymous)} (first rows)")
    for number, row in enumerate(chain(first, rows), 1):
        turns = transcripts.turns(without_html(_field(row, place), log))
        log.left_out[EARLY] += turns.early
        log.changed[TIMES] += turns.times
        for speaker, text in turns.said:
            yield Message(f"{part}.{number}\0{_field(row, name)}", speaker, text, topic=_field(row, topic) or None)


def _lines(field: str) -> list[str]:
    r"""The lines of a field without blank ones; where a field has none, `\n` written in two characters ends a line."""
    lines = field.splitlines() if "\n" in field or "\r" in field else field.split("\\n")
    return [line.strip() for line in lines if line.strip()]


def _field(row: Sequence[Any], place: int | None) -> str:
    value = None if place is None else row[place]
    return "" if value is None or isinstance(value, list | dict | bytes) else str(value)
