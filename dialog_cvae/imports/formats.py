"""The table of formats, and how the format of a source is recognised.

Open this to add a format: write a module with a `Format`, and name it here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.imports import (
    assistants,
    convokit,
    delimited,
    discord,
    hugging_face,
    json_rows,
    messenger,
    own_lines,
    pairs,
    parquet,
    refusals,
    schema_guided,
    slack,
    subtitles,
    telegram,
    text_lists,
    transcript,
    turns,
    whatsapp,
)
from dialog_cvae.imports.message import Format
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.whatsapp_words import MARKS

# The first format that recognises a source reads it, so more specific formats come first.
FORMATS: Final = {
    each.name: each
    for each in (
        own_lines.FORMAT,
        turns.CHAT_FORMAT,
        turns.SHAREGPT_FORMAT,
        assistants.CHATGPT_FORMAT,
        assistants.CLAUDE_FORMAT,
        schema_guided.FORMAT,
        turns.NAMED_FORMAT,
        telegram.FORMAT,
        discord.JSON_FORMAT,
        discord.CSV_FORMAT,
        messenger.FORMAT,
        messenger.FILE_FORMAT,
        convokit.FORMAT,
        convokit.FILE_FORMAT,
        pairs.FORMAT,
        json_rows.FORMAT,
        text_lists.FORMAT,
        slack.FORMAT,
        hugging_face.FORMAT,
        parquet.FORMAT,
        subtitles.FORMAT,
        whatsapp.FORMAT,
        delimited.FORMAT,
        transcript.FORMAT,
    )
}
_ASSISTANTS: Final = (assistants.CHATGPT_FORMAT, assistants.CLAUDE_FORMAT)
# Files that may hold conversations: the report says if they are skipped. Skipped pictures are not reported.
_DATA_SUFFIXES: Final = (
    *(".txt", ".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".html", ".htm", ".xlsx"),
    *(".parquet", ".arrow", ".zip", ".gz", ".vtt", ".srt", ".docx", ".rtf"),
)
_SHOWN: Final = 5  # most names of files in a line of the report


def recognised(
    source: Source, forced: str | None = None, notes: list[str] | None = None
) -> Iterator[tuple[Source, Format]]:
    """The parts of a source that are in a known format, each with its format.

    A folder or archive is one part if it is in a format of folders. Otherwise each of its files is one part. Files in
    no known format, such as pictures, are skipped, and so are files beside a WhatsApp chat or a download of ChatGPT or
    Claude, which were sent in it.

    Args:
        source: a file, a folder or an archive.
        forced: name of the format; None recognises it.
        notes: receives, after the last part, which files with data were skipped.

    Raises:
        ConfigError: there is no such format.
        DataError: nothing in the source is in a known format, or in the forced one.
    """
    if forced is not None and forced not in FORMATS:
        raise ConfigError(f"there is no format {forced!r}: choose from {', '.join(FORMATS)}")
    if source.is_folder and (reason := refusals.refusal(source)):
        raise DataError(source.path, reason)
    if forced is not None:
        yield from _forced(source, FORMATS[forced], notes)
        return
    # A folder as a whole, or a file.
    whole = _kind(source, [each for each in FORMATS.values() if each.folder is source.is_folder])
    if whole is not None:
        yield source, whole
        return
    if not source.is_folder:
        raise DataError(source.path, _unknown(source))
    kinds = [each for each in FORMATS.values() if not each.folder and not each.only_named]
    yield from _files(source, kinds, _unknown(source), notes)


def _kind(source: Source, kinds: Sequence[Format]) -> Format | None:
    """The first of these formats that a source is in; None if it is in none.

    A file that is named like a table and does not begin with a date is not a chat, even if cells hold lines of a chat.
    """
    if delimited.FORMAT in kinds and source.file.path.lower().endswith(delimited.SUFFIXES):
        first = source.file.head_text.lstrip(f'{MARKS}"[ \t\r\n')[:1]
        kinds = [each for each in kinds if each is not whatsapp.FORMAT or first.isdigit()]
    if not source.is_folder:
        if refusals.refusal(source):
            return None
        if subtitles.is_subtitles(source.file):  # its texts may look like a transcript
            kinds = [each for each in kinds if each is subtitles.FORMAT]
    return next((each for each in kinds if each.recognise(source)), None)


def _forced(source: Source, kind: Format, notes: list[str] | None) -> Iterator[tuple[Source, Format]]:
    if kind.folder is source.is_folder:
        yield source, kind
    elif kind.folder:
        raise DataError(source.path, f"is a file, but {kind.title} is a folder or a zip archive")
    else:
        yield from _files(source, [kind], f"has no file that looks like {kind.title}", notes)


def _files(
    source: Source, kinds: Sequence[Format], nothing: str, notes: list[str] | None
) -> Iterator[tuple[Source, Format]]:
    """The files of a folder that are in one of these formats.

    Raises:
        DataError: there are none; `nothing` says so.
    """
    chats = _lone_chats(source) if whatsapp.FORMAT in kinds else {}
    downloads = _downloads(source) if len(kinds) > 1 and source.path.is_file() else []
    found, unknown, sent, uploaded = False, [], [], []
    advice = ""  # advice about the first file of a known kind that cannot be read
    for file in source.files:
        if chats.get(_folder(file), file) is not file:
            sent.append(file.path)
            continue
        part = source.single(file)
        kind = _kind(part, kinds)
        if kind not in _ASSISTANTS and any(file.path.startswith(folder) for folder in downloads):
            uploaded.append(file.path)
        elif kind is None:
            unknown.append(file.path)
            if not advice and (reason := refusals.refusal(part)):
                advice = f"; {file.path} {reason}"
        else:
            found = True
            yield part, kind
    if not found:
        raise DataError(source.path, f"{nothing}{advice}")
    for paths, why, more in (
        (unknown, "in no known format" if len(kinds) > 1 else "in another format", advice),
        (sent, "sent in a WhatsApp chat", ""),
        (uploaded, "beside conversations with ChatGPT or Claude", ""),
    ):
        data = [path for path in paths if path.lower().endswith(_DATA_SUFFIXES)]
        if data and notes is not None:
            names = ", ".join([*data[:_SHOWN], *(["..."] if len(data) > _SHOWN else [])])
            notes.append(f"{source.path}: passed over: {len(data):,} files {why} ({names}){more}")


def _downloads(source: Source) -> list[str]:
    """The folders in which there is a download of ChatGPT or Claude, each with its slash; the top is empty.

    Other files there are accounts and what users sent to the model.
    """
    return [
        file.path.removesuffix(name)
        for file in source.files
        if (name := file.path.rpartition("/")[2]).startswith("conversations") and name.endswith(".json")
        if any(kind.recognise(source.single(file)) for kind in _ASSISTANTS)
    ]


def _lone_chats(source: Source) -> dict[str, File]:
    """The chat of each folder that WhatsApp exported: one chat and the files sent in it, none of which is a chat.

    iOS names the chat `_chat.txt`, Android after its people. Android's name counts only in an archive, because in a
    folder users put other files beside it.
    """
    chats: dict[str, list[File]] = {}
    for file in source.files:
        if file.path.lower().endswith(".txt") and _kind(source.single(file), [whatsapp.FORMAT]):
            chats.setdefault(_folder(file), []).append(file)
    found = {}
    for folder, (first, *others) in chats.items():
        name = first.path.rpartition("/")[2].lower()
        if not others and (name == "_chat.txt" or ("whatsapp" in name and source.path.is_file())):
            found[folder] = first
    return found


def _folder(file: File) -> str:
    return file.path.rpartition("/")[0]


def _unknown(source: Source) -> str:
    names = ", ".join(FORMATS)
    if source.is_folder:
        return f"none of its {len(source.files):,} files is in a known format ({names})"
    if reason := refusals.refusal(source):
        return reason
    if source.file.paths:
        keys = ", ".join(sorted(source.file.paths)[:8])
        return f"is in no known format: its JSON has the keys {keys} (known formats: {names})"
    return f"is in no known format ({names}); --format forces one"
