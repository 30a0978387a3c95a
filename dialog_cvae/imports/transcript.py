"""Plain transcripts: `Ann: text` on each line, a blank line between conversations.

Open this to change which files are transcripts, or where a conversation ends. A line without a speaker continues the
message above. In a transcript with a blank line after most messages, only two or more divide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.transcript_lines import TIMES, Counts, Key, Speakers, parted, without_time

_HEAD: Final = 40  # lines from which the format is recognised
_ENOUGH: Final = 0.4  # least share of them that begin with a speaker
_OFTEN: Final = 0.25  # least share of these that one speaker has
_TOUCHING: Final = 0.25  # least share of messages directly below another with which one blank line ends conversations
_MAIL: Final = {"from", "to", "subject", "received", "date"}
_KEY: Final = re.compile(r"(?P<indent>\s*)(?P<item>-\s+)?(?P<key>[^\W_][\w.-]*):(?P<value>\s.*|$)", re.DOTALL)
_SMALL: Final = 0.75  # least share of the keys of YAML that begin with a small letter


class _Form(NamedTuple):
    """What the whole file says of its lines.

    Attributes:
        speakers: who they are.
        blanks: successive blank lines that end a conversation.
    """

    speakers: Speakers
    blanks: int


def recognise(source: Source) -> bool:
    """Whether many of the first lines begin with a speaker, and one of these speaks often."""
    if source.file.paths:
        return False
    lines = [line.rstrip() for line in source.file.head_text.splitlines() if line.strip()][:_HEAD]
    said = [found for line in lines if (found := parted(line.strip()))]
    speakers = Counts(said).speakers()
    # Names that begin one line count here, whatever they look like.
    once = (found.key for found in said if found.key.form in speakers.forms and not found.key.tight)
    names = speakers.lines | Counter(key.name for key in once if "," not in key.name)
    count = names.total()
    if count < max(3, _ENOUGH * len(lines)) or max(names.values()) < max(2, _OFTEN * count):
        return False
    return not is_mail(names) and not _is_yaml(lines)


def is_mail(names: Counter[str]) -> bool:
    """Whether names before colons are those of a mail: three of them, or two that begin one line each."""
    found = [count for name, count in names.items() if name.lower() in _MAIL]
    return len(found) > 2 or found.count(1) > 1


def _is_yaml(lines: Sequence[str]) -> bool:
    """Whether lines are keys within keys, or keys of small letters with another sign of YAML."""
    keys = [_KEY.fullmatch(line) for line in lines]
    found = [key for key in keys if key is not None]
    items = sum(key["item"] is not None for key in found)
    nested = sum(
        above is not None and below is not None and not above["value"] and len(below["indent"]) > len(above["indent"])
        for above, below in pairwise(keys)
    )
    small = sum(key["key"][0].islower() for key in found)
    is_small = small >= _SMALL * len(found) > 0
    return nested >= 2 or (is_small and (nested == 1 or items >= max(2, len(found) / 2) or lines[0] == "---"))


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages; the file is read twice.

    Raises:
        DataError: there is no message, or there is a line before the first message.
    """
    speakers, wanted = _form(source, options)
    if not speakers.lines:
        raise DataError(source.file.name, "no line begins with a speaker and a colon")
    log.notes.append(listed(speakers.lines, anonymous=options.anonymous))
    if wanted > 1:
        log.notes.append("blank lines stand between most messages: only two or more end a conversation")
    conversation, blanks = 1, 0  # a name that ends with \0 is not shown
    name, texts = "", [""]
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        text = line.strip()
        if not text:
            blanks += 1
            continue
        said = speakers.said(text)
        if said is None:
            if not name:
                raise DataError(source.file.name, "no speaker and colon begin the line, nor one above it", number)
            texts.append(text if any(texts) or "timed" not in speakers.forms else without_time(text) or text)
            log.changed[TIMES] += texts[-1] != text
        else:
            if name:
                yield Message(f"{conversation}\0", name, "\n".join(texts))
            conversation += blanks >= wanted
            name, texts = said.name, [said.text]
            log.changed[TIMES] += said.timed
        blanks = 0
    yield Message(f"{conversation}\0", name, "\n".join(texts))


def _form(source: Source, options: Options) -> _Form:
    """The speakers, and how conversations are divided.

    One line must not decide this, because a blank line may be missing, or a wrapped line may look like a speaker.
    """
    counts = Counts()
    touching: Counter[Key] = Counter()  # lines directly below other text
    apart: Counter[Key] = Counter()  # those below a blank line
    blanks, begun = 0, False
    for line in source.file.lines(options.encoding):
        text = line.strip()
        if not text:
            blanks += 1
            continue
        said = parted(text)
        if said is not None:
            counts.add(said)
            if begun:
                (apart if blanks else touching)[said.key] += 1
        blanks, begun = 0, True
    speakers = counts.speakers()
    # A name that begins one line may be text; it counts only if there is no other.
    counted = speakers.often or speakers.lines.keys()
    together, separate = (
        sum(count for key, count in lines.items() if key.name in counted and speakers.have(key))
        for lines in (touching, apart)
    )
    return _Form(speakers, 1 if together >= _TOUCHING * (together + separate) else 2)


FORMAT = Format("transcript", "a transcript", recognise, read, only_named=True)
