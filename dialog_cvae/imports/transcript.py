"""Plain transcripts: `Ann: text` on each line, a blank line between conversations.

Open this to change which words before a colon are a speaker, or where a conversation ends. A line without a speaker
continues the message above. In a transcript with a blank line after most messages, only two or more divide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import Source

_SAID: Final = re.compile(
    r"(?P<name>[^\W_][^:：?!,;\"<>={}\[\]/\\@|]{0,39}?)\s?(?:：|:(?=\s|$))\s*(?P<text>.*)", re.DOTALL
)
_MAX_WORDS: Final = 3  # of a name that begins only one line
_HEAD: Final = 40  # lines from which the format is recognised
_ENOUGH: Final = 0.4  # least share of them that begin with a speaker
_OFTEN: Final = 0.25  # least share of these that one speaker has
_TOUCHING: Final = 0.25  # least share of messages directly below another with which one blank line ends conversations
_SHOWN: Final = 6  # speakers in the report


class _Form(NamedTuple):
    """What the whole file says of its lines.

    Attributes:
        speakers: lines of each speaker.
        blanks: successive blank lines that end a conversation.
    """

    speakers: Counter[str]
    blanks: int


def recognise(source: Source) -> bool:
    """Whether many of the first lines begin with a speaker, and one of these speaks often."""
    if source.file.paths:
        return False
    lines = [line for line in source.file.head_text.splitlines() if line.strip()][:_HEAD]
    names = Counter(match["name"] for line in lines if (match := _SAID.match(line.strip())))
    count = names.total()
    return count >= max(3, _ENOUGH * len(lines)) and max(names.values()) >= max(2, _OFTEN * count)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages; the file is read twice.

    Raises:
        DataError: there is no message, or there is a line before the first message.
    """
    speakers, wanted = _form(source, options)
    if not speakers:
        raise DataError(source.file.name, "no line begins with a speaker and a colon")
    log.notes.append(f"{len(speakers):,} speakers" if options.anonymous else _listed(speakers))
    if wanted > 1:
        log.notes.append("blank lines stand between most messages: only two or more end a conversation")
    conversation, blanks = 1, 0  # a name that ends with \0 is not shown
    name, said = "", [""]
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        text = line.strip()
        if not text:
            blanks += 1
            continue
        match = _said(text, speakers)
        if match is None:
            if not name:
                raise DataError(source.file.name, "no speaker and colon begin the line, nor one above it", number)
            said.append(text)
        else:
            if name:
                yield Message(f"{conversation}\0", name, "\n".join(said))
            conversation += blanks >= wanted
            name, said = match["name"], [match["text"]]
        blanks = 0
    yield Message(f"{conversation}\0", name, "\n".join(said))


def _form(source: Source, options: Options) -> _Form:
    """The speakers, and how conversations are divided.

    One line must not decide this, because a blank line may be missing, or a wrapped line may look like a speaker.
    """
    found: Counter[str] = Counter()
    touching: Counter[str] = Counter()  # lines of each speaker directly below other text
    apart: Counter[str] = Counter()  # those below a blank line
    blanks, begun = 0, False
    for line in source.file.lines(options.encoding):
        text = line.strip()
        if not text:
            blanks += 1
            continue
        match = _SAID.match(text)
        if match is not None:
            found[match["name"]] += 1
            if begun:
                (apart if blanks else touching)[match["name"]] += 1
        blanks, begun = 0, True
    speakers = Counter({name: count for name, count in found.items() if count > 1 or _is_name(name)})
    together = sum(touching[name] for name in speakers)
    count = together + sum(apart[name] for name in speakers)
    return _Form(speakers, 1 if together >= _TOUCHING * count else 2)


def _listed(speakers: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in speakers.most_common(_SHOWN)]
    more = [f"{len(speakers) - _SHOWN:,} more"] if len(speakers) > _SHOWN else []
    return f"speakers, with their lines: {', '.join([*shown, *more])}"


def _said(text: str, speakers: Counter[str]) -> re.Match[str] | None:
    match = _SAID.match(text)
    return match if match is not None and match["name"] in speakers else None


def _is_name(name: str) -> bool:
    return not name[0].islower() and len(name.split()) <= _MAX_WORDS


FORMAT = Format("transcript", "a transcript", recognise, read, only_named=True)
