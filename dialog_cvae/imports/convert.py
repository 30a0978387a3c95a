"""The whole import: from files in any known format to one file in our own format.

Open this to change what an import writes or reports.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from dialog_cvae.errors import DataError, DialogCvaeError
from dialog_cvae.imports import parquet
from dialog_cvae.imports.assemble import Thread, cleaned, threads
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.privacy import Privacy
from dialog_cvae.imports.source import Source, open_source
from dialog_cvae.imports.spill import grouped_by_conversation

_LONG: Final = 6  # messages of a conversation in which someone speaks twice, unless it is no talk
_CROWD: Final = 0.8  # least share of different speakers in a conversation in which hardly anyone speaks twice


@dataclass
class Part:
    """What was read from one source.

    Attributes:
        name: the source's name.
        title: the title of its format.
        log: what was left out and changed.
        conversations, utterances: numbers of those written.
        monologues: number of conversations with a single speaker.
        long: number of conversations long enough that in a talk someone speaks again.
        crowds: number of these in which hardly anyone does.
    """

    name: str
    title: str
    log: Log = field(default_factory=Log)
    conversations: int = 0
    utterances: int = 0
    monologues: int = 0
    long: int = 0
    crowds: int = 0

    def add(self, speakers: Sequence[str]) -> None:
        """Count a conversation that was written, by the speakers of its messages."""
        count = len(set(speakers))
        self.conversations += 1
        self.utterances += len(speakers)
        self.monologues += count == 1
        self.long += len(speakers) >= _LONG
        self.crowds += len(speakers) >= _LONG and count >= _CROWD * len(speakers)

    def counts(self) -> str:
        """What was written, left out and changed, in one line."""
        changed = [f"{count:,} {kind}" for kind, count in self.log.changed.items() if count]
        left_out = _counted(self.log.left_out)
        written = f"{self.conversations:,} conversations, {self.utterances:,} utterances"
        return "; ".join([written, *([f"left out: {left_out}"] if left_out else []), *changed])


@dataclass(frozen=True)
class Report:
    """What an import did.

    Attributes:
        parts: what was read.
        redacted: how often personal data was replaced, by placeholder.
        notes: on what was not read.
    """

    parts: Sequence[Part]
    redacted: Mapping[str, int]
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The report as text: a few lines for each source."""
        found = []
        for part in self.parts:
            found.append(f"{part.name}: {part.title}")
            found += [f"  {note}" for note in part.log.notes]
            found += [f"  {piece}" for piece in part.counts().split("; ")]
        found += self.notes
        if self.redacted:
            found.append(f"replaced: {_counted(self.redacted)}")
        return found


def convert(paths: Sequence[Path], out: Path, options: Options, privacy: Privacy | None = None) -> Report:
    """Write the conversations of files, folders and archives to one file; it appears whole or not at all.

    Args:
        paths: in any known formats.
        out: the file to write; for a link, the file that it points to.
        options: how they are read.
        privacy: what is replaced.

    Raises:
        DataError: a source cannot be read, is in no known format or malformed, or has no conversation.
        DialogCvaeError: the file cannot be written.
    """
    privacy = privacy or Privacy()
    parts: list[Part] = []
    notes: list[str] = []
    target = _target(out)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise DialogCvaeError(f"{out}: cannot be written ({error.strerror})") from None
    fresh = Path(name)
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
            for source, kind in _sources(paths, options, notes):
                parts.append(Part(str(source.path), kind.title))
                parts[-1].log.notes += _on_encoding(source, kind, options.encoding)
                _write(file, out, parts, _threads(source, kind, options, parts[-1].log), privacy)
                parts[-1].log.notes += _on_speakers(parts[-1])
            if not sum(part.conversations for part in parts):
                raise DataError(", ".join(map(str, paths)), _nothing(parts))
            _finish(file, out)
        _put(fresh, target, out)
    finally:
        fresh.unlink(missing_ok=True)
    return Report(parts, dict(privacy.redaction.counts) if privacy.redaction else {}, notes)


def _sources(paths: Sequence[Path], options: Options, notes: list[str]) -> Iterator[tuple[Source, Format]]:
    for path in paths:
        yield from recognised(open_source(path), options.format, notes)


def _threads(source: Source, kind: Format, options: Options, log: Log) -> Iterator[Thread]:
    """The conversations of a source."""
    messages: Iterator[Message] = cleaned(kind.read(source, options, log), log)
    if kind.interleaved:
        messages = grouped_by_conversation(messages, log)
    # The reader may set the gap as soon as it gives a message.
    first = next(messages, None)
    if first is None:
        return
    default = kind.gap if log.gap is None else log.gap
    yield from threads(
        _from(first, messages),
        merge=kind.merge if options.merge is None else options.merge,
        gap=default if options.gap is None else options.gap,
        log=log,
    )


def _on_encoding(source: Source, kind: Format, named: str | None) -> list[str]:
    """A note if the encoding that the user named is not used."""
    if named is None or source.is_folder or kind is parquet.FORMAT or source.file.used_encoding(named) == named:
        return []
    return [f"the text is {source.file.encoding.removesuffix('-sig').upper()}, so that --encoding is not used"]


def _on_speakers(part: Part) -> list[str]:
    """A warning if the column of speakers seems to be the wrong one, or the rows of a table no conversations."""
    if part.log.speaker_column is None:
        return []
    if part.crowds * 2 > part.long:
        return [
            f"warning: in {part.crowds:,} of {part.long:,} conversations of {_LONG} messages or more, hardly anyone "
            "speaks twice: the rows may be reviews or comments, of which none answers another"
        ]
    if part.monologues * 2 <= part.conversations:
        return []
    return [
        f"warning: {part.monologues:,} of {part.conversations:,} conversations have a single speaker: "
        f"if column {part.log.speaker_column!r} does not say who speaks, name another: --column speaker=NAME"
    ]


def _from(first: Message, rest: Iterator[Message]) -> Iterator[Message]:
    yield first
    yield from rest


def _write(file: IO[str], out: Path, parts: Sequence[Part], found: Iterator[Thread], privacy: Privacy) -> None:
    """Write conversations, each with a running number in its id."""
    part = parts[-1]
    number = sum(each.conversations for each in parts)
    for thread in found:
        number += 1
        messages = privacy.applied(thread.messages, part.log)
        line = json.dumps(_line(messages, number, keeps_name=privacy.keeps_names), ensure_ascii=False)
        try:
            file.write(line + "\n")
        except OSError as error:
            raise DialogCvaeError(f"{out}: cannot be written ({error.strerror})") from None
        part.add([message.speaker for message in messages])


def _line(messages: Sequence[Message], number: int, *, keeps_name: bool) -> dict[str, Any]:
    """A conversation as an object of our own format."""
    first = messages[0]
    name = first.conversation.rpartition("\0")[2]
    found: dict[str, Any] = {"id": f"{number}:{name}" if name and keeps_name else str(number)}
    if first.topic is not None:
        found["topic"] = first.topic
    found.update(first.kept or {})
    found["utterances"] = [
        {"speaker": each.speaker, "text": each.text} | ({"dialog_act": each.dialog_act} if each.dialog_act else {})
        for each in messages
    ]
    return found


def _nothing(parts: Sequence[Part]) -> str:
    """The reason why there is no conversation."""
    read: Counter[str] = Counter()
    for part in parts:
        read.update(part.log.left_out)
        read.update(part.log.changed)
    counts = _counted(read)
    return f"no conversation of two or more messages{f' ({counts})' if counts else ''}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)


def _finish(file: IO[str], out: Path) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise DialogCvaeError(f"{out}: cannot be written ({error.strerror})") from None


def _target(out: Path) -> Path:
    """The file to write, with links resolved.

    Raises:
        DialogCvaeError: the path exists but is not a file, for example a device.
    """
    try:
        target = out.resolve()
        mode = out.stat().st_mode if out.exists() else stat.S_IFREG
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DialogCvaeError(f"{out}: cannot be written ({getattr(error, 'strerror', error)})") from None
    if not stat.S_ISREG(mode):
        raise DialogCvaeError(f"{out}: cannot be written ({'Is a directory' if stat.S_ISDIR(mode) else 'is no file'})")
    return target


def _put(fresh: Path, target: Path, out: Path) -> None:
    try:
        fresh.chmod(0o666 & ~_umask())
        fresh.replace(target)
    except OSError as error:
        raise DialogCvaeError(f"{out}: cannot be written ({error.strerror})") from None


def _umask() -> int:
    """The user's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
