"""Subtitles that name their speakers, as programs for meetings write them: WebVTT and SRT.

Open this if such a file is not recognised or is read wrongly. Each cue has a line with its times, and text below it.
The text names its speaker as `Ann Lee: text` or as `<v Ann Lee>text</v>`. All cues are one conversation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.html_text import without_entities
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.transcript_lines import TIMES, Counts, Key, Said, Speakers, parted

NOTES: Final = "notes in subtitles"
EARLY: Final = "subtitles before the first speaker"
NAMELESS: Final = (
    "holds subtitles, but most do not name a speaker: write `Ann: text` where a speaker begins "
    "(for a file with few names, --format subtitles)"
)

_END: Final = r"(?:\d{1,6}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?"
_TIMING: Final = re.compile(
    rf"(?:(?P<hours>\d{{1,6}}):)?(?P<minutes>\d{{1,2}}):(?P<seconds>\d{{2}}(?:[.,]\d{{1,3}})?)\s*-->\s*{_END}(?:\s|$)"
)
_WEBVTT: Final = re.compile(r"WEBVTT(?:\s|$)")
_BLOCK: Final = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")  # first line of a block that is no cue
_VOICE: Final = re.compile(r"<v(?:\.[^\s<>]*)?\s++([^<>\s][^<>]*)>")
# Other words in angle brackets, such as addresses, are text.
_TAG: Final = re.compile(
    r"</?(?:c|i|b|u|s|ruby|rt)(?:\.[^\s<>]*)?\s*+>|</?(?:v|lang)(?:\.[^\s<>]*)?(?:\s[^<>]*)?>"
    r"|</?font(?:\s++\w++\s*+=[^<>]*|\s*+)>|<\d[\d:.]*>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_DASH: Final = re.compile(r"[-–]\s?")
_HEAD: Final = 100  # cues from which the format is recognised
_ENOUGH: Final = 0.25  # least share of them that name a speaker


@dataclass
class _Cue:
    """A cue: when it begins, in seconds, and the lines of its text."""

    start: float
    texts: list[str] = field(default_factory=list)


class _Piece(NamedTuple):
    """Text of one speaker within a cue.

    Attributes:
        start: when the cue begins, in seconds.
        voice: the speaker that a tag names.
        text: without tags.
    """

    start: float
    voice: str | None
    text: str


def is_subtitles(file: File) -> bool:
    """Whether a file begins as WebVTT or SRT."""
    first = [line.strip("\ufeff \t") for line in islice(_filled(file.head_text.splitlines()), 3)]
    return bool(first) and (bool(_WEBVTT.match(first[0])) or any(_TIMING.match(line) for line in first))


def recognise(source: Source) -> bool:
    """Whether a file holds subtitles, many of which name a speaker."""
    if not is_subtitles(source.file):
        return False
    cues = [list(_pieces(cue)) for cue in islice(_cues(source.file.head_text.splitlines(), Log()), _HEAD)]
    speakers = _speakers(piece for pieces in cues for piece in pieces)
    named = sum(any(_said(piece, speakers) for piece in pieces) for pieces in cues)
    return named > 1 and named >= _ENOUGH * len(cues)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages, each with the time of its cue; the file is read twice.

    Raises:
        DataError: the file holds no subtitles, or none names a speaker.
    """
    if not is_subtitles(source.file):
        raise DataError(
            source.file.name, "is neither WebVTT nor SRT: no line of times, such as 00:01 --> 00:02, begins it"
        )
    speakers = _speakers(_all_pieces(source, options, Log()))
    if not speakers.lines:
        raise DataError(source.file.name, NAMELESS)
    log.notes.append(listed(speakers.lines, anonymous=options.anonymous))
    name, texts, start = "", [""], 0.0
    for piece in _all_pieces(source, options, log):
        said = _said(piece, speakers)
        if said is not None:
            if name:
                yield Message("", name, " ".join(texts), start)
            name, texts, start = said.name, [said.text], piece.start
            log.changed[TIMES] += said.timed
        elif name:
            texts.append(piece.text)
        else:
            log.left_out[EARLY] += 1
    yield Message("", name, " ".join(texts), start)


def _speakers(pieces: Iterable[_Piece]) -> Speakers:
    """Those that tags name; without any tag, those before colons."""
    voices: Counter[str] = Counter()
    counts = Counts()
    for piece in pieces:
        if piece.voice is not None:
            voices[piece.voice] += 1
        elif (said := parted(_undashed(piece.text))) is not None:
            counts.add(said)
    none: frozenset[str] = frozenset()
    return Speakers(voices, none, none, frozenset({"plain"})) if voices else counts.speakers()


def _said(piece: _Piece, speakers: Speakers) -> Said | None:
    if piece.voice is not None:
        return Said(Key(piece.voice), piece.text, piece.text, timed=False)
    return speakers.said(_undashed(piece.text))


def _undashed(text: str) -> str:
    """The text without a dash at its beginning, which marks a change of speaker."""
    match = _DASH.match(text)
    return text if match is None else text[match.end() :]


def _all_pieces(source: Source, options: Options, log: Log) -> Iterator[_Piece]:
    for cue in _cues(source.file.lines(options.encoding), log):
        yield from _pieces(cue)


def _pieces(cue: _Cue) -> Iterator[_Piece]:
    """The texts of a cue: what follows each tag of a speaker, and each line before the first tag."""
    first, *rest = _VOICE.split("\n".join(cue.texts))
    for line in first.split("\n"):
        if text := _plain(line):
            yield _Piece(cue.start, None, text)
    for voice, words in zip(rest[::2], rest[1::2], strict=True):
        if text := _plain(words):
            yield _Piece(cue.start, _plain(voice), text)


def _plain(text: str) -> str:
    """Text on one line, without tags."""
    return " ".join(without_entities(_TAG.sub("", text)).split())


def _cues(lines: Iterable[str], log: Log) -> Iterator[_Cue]:
    """The cues. What follows a blank line is text of the cue above, unless it is the name of the next cue."""
    cue: _Cue | None = None
    is_webvtt, in_note, below_blank, may_be_name = False, False, True, False
    for number, line in enumerate(lines, 1):
        text = line.strip("\ufeff \t\r\n")
        is_webvtt = is_webvtt or (number == 1 and bool(_WEBVTT.match(text)))
        timing = _TIMING.match(text)
        if timing is not None:
            if cue is not None:
                if not below_blank and cue.texts and (may_be_name or cue.texts[-1].isdigit()):
                    cue.texts.pop()
                yield cue
            cue, in_note = _Cue(_start(timing)), False
        elif not text:
            in_note = False
        elif in_note or (is_webvtt and below_blank and _BLOCK.match(text)):
            log.left_out[NOTES] += not in_note and text.startswith("NOTE")
            in_note = True
        elif cue is not None:
            cue.texts.append(text)
            may_be_name = below_blank
        below_blank = not text
    if cue is not None:
        yield cue


def _start(timing: re.Match[str]) -> float:
    hours, minutes = int(timing["hours"] or 0), int(timing["minutes"])
    return 3600 * hours + 60 * minutes + float(timing["seconds"].replace(",", "."))


def _filled(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip("\ufeff \t"))


FORMAT = Format("subtitles", "subtitles with speakers (WebVTT or SRT)", recognise, read, merge=True)
