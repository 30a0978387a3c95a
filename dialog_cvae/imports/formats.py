"""The table of formats, and how the format of a source is recognised.

Open this to add a format: write a module with a `Format`, and name it here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.imports import (
    abcd,
    assistants,
    chatwoot,
    convokit,
    crisp,
    delimited,
    discord,
    freshdesk,
    help_scout,
    hugging_face,
    imessage,
    intercom,
    json_rows,
    kakaotalk,
    line_chat,
    livechat,
    mail,
    matrix,
    messenger,
    own_lines,
    pairs,
    parquet,
    refusals,
    schema_guided,
    skype,
    slack,
    sms_backup,
    subtitles,
    telegram,
    text_lists,
    transcript,
    turns,
    whatsapp,
    zendesk,
)
from dialog_cvae.imports.message import Format
from dialog_cvae.imports.passed_over import PassedOver, may_hold_conversations
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
        abcd.FORMAT,
        turns.NAMED_FORMAT,
        telegram.FORMAT,
        discord.JSON_FORMAT,
        discord.CSV_FORMAT,
        matrix.FORMAT,
        skype.FORMAT,
        messenger.FORMAT,
        messenger.FILE_FORMAT,
        convokit.FORMAT,
        convokit.FILE_FORMAT,
        intercom.FORMAT,
        freshdesk.FORMAT,
        zendesk.FORMAT,
        zendesk.CHAT_FORMAT,
        help_scout.FORMAT,
        livechat.FORMAT,
        chatwoot.FORMAT,
        crisp.FORMAT,
        pairs.FORMAT,
        json_rows.FORMAT,
        text_lists.FORMAT,
        slack.FORMAT,
        hugging_face.FORMAT,
        mail.FOLDER_FORMAT,
        mail.FILE_FORMAT,
        parquet.FORMAT,
        sms_backup.FORMAT,
        subtitles.FORMAT,
        imessage.FORMAT,
        line_chat.FORMAT,
        kakaotalk.FORMAT,
        whatsapp.FORMAT,
        kakaotalk.CSV_FORMAT,
        delimited.FORMAT,
        transcript.FORMAT,
    )
}
_ASSISTANTS: Final = (assistants.CHATGPT_FORMAT, assistants.CLAUDE_FORMAT)


def recognised(
    source: Source, forced: str | None = None, notes: list[str] | None = None
) -> Iterator[tuple[Source, Format]]:
    """The parts of a source that are in a known format, each with its format.

    Of a folder or archive, these are first the exports in it that have several files each, then each other file in a
    known format. In an archive, files beside an export belong to it and are skipped. So are files in no known format,
    such as pictures, and files beside a WhatsApp chat or a download of ChatGPT or Claude, which were sent in it.

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
    passed = PassedOver(source)
    if source.is_folder:
        yield from _of_folder(source, None if forced is None else FORMATS[forced], passed)
    else:
        yield source, _of_file(source, None if forced is None else FORMATS[forced])
    if notes is not None:
        notes += passed.notes


def _of_file(source: Source, forced: Format | None) -> Format:
    """The format of a file.

    Raises:
        DataError: it is in none, or the forced one is a folder.
    """
    if forced is not None and forced.folder:
        raise DataError(source.path, f"is a file, but {forced.title} is a folder or a zip archive")
    found = forced or _kind(source, [each for each in FORMATS.values() if not each.folder])
    if found is None:
        raise DataError(source.path, _unknown(source))
    return found


def _of_folder(source: Source, forced: Format | None, passed: PassedOver) -> Iterator[tuple[Source, Format]]:
    """The parts of a folder or archive.

    Raises:
        DataError: there are none.
    """
    if forced is not None and not forced.folder:
        yield from _files(source, [forced], f"has no file that looks like {forced.title}", passed)
        return
    if forced is not None and not forced.recognise(source):
        yield source, forced  # its reader says what is wrong
        return
    # Exports of several files each.
    folders = [forced] if forced is not None else [each for each in FORMATS.values() if each.folder]
    rest, whole = source, None
    while (kind := next((each for each in folders if each.recognise(rest)), None)) is not None:
        whole = kind
        export = kind.export(rest)
        yield Source(rest.path / export.folder, tuple(export.files), is_folder=True), kind
        passed.add(f"sent in the chats of {kind.title}", export.sent)
        rest = rest.without([*export.files, *export.sent])
    # Single files.
    if forced is not None:
        passed.add("in another format", rest.files)
    elif whole is not None and source.path.is_file():
        passed.add(f"beside {whole.title} in an archive", rest.files)
    else:
        kinds = [each for each in FORMATS.values() if not each.folder and not each.only_named]
        yield from _files(rest, kinds, None if whole is not None else _unknown(source), passed)


def _kind(source: Source, kinds: Sequence[Format]) -> Format | None:
    """The first of these formats that a file is in; None if it is in none.

    A file that is named like a table and does not begin with a date is not a chat, even if cells hold lines of a chat.
    """
    if delimited.FORMAT in kinds and source.file.path.lower().endswith(delimited.SUFFIXES):
        first = source.file.head_text.lstrip(f'{MARKS}"[ \t\r\n')[:1]
        kinds = [each for each in kinds if each is not whatsapp.FORMAT or first.isdigit()]
    if refusals.refusal(source):
        return None
    if subtitles.is_subtitles(source.file):  # its texts may look like a transcript
        kinds = [each for each in kinds if each is subtitles.FORMAT]
    return next((each for each in kinds if each.recognise(source)), None)


def _files(
    source: Source, kinds: Sequence[Format], nothing: str | None, passed: PassedOver
) -> Iterator[tuple[Source, Format]]:
    """The files of a folder that are in one of these formats.

    Raises:
        DataError: there are none, and `nothing` says so. With None it is the rest of a folder, which may hold none:
            there, only files with the suffix of data are opened.
    """
    chats = _lone_chats(source) if whatsapp.FORMAT in kinds else {}
    downloads = _downloads(source) if len(kinds) > 1 and source.path.is_file() else []
    found, unknown, sent, uploaded = False, [], [], []
    advice = ""  # advice about the first file of a known kind that cannot be read
    for file in source.files if nothing is not None else filter(may_hold_conversations, source.files):
        if chats.get(file.folder, file) is not file:
            sent.append(file)
            continue
        part = source.single(file)
        kind = _kind(part, kinds)
        if kind is delimited.FORMAT and nothing is None and not delimited.has_known_columns(file):
            kind = None  # a table beside an export, of which no one said that it has conversations
        if kind not in _ASSISTANTS and any(file.path.startswith(folder) for folder in downloads):
            uploaded.append(file)
        elif kind is None:
            unknown.append(file)
            if not advice and (reason := refusals.refusal(part)):
                advice = f"; {file.path} {reason}"
        else:
            found = True
            yield part, kind
    if not found and nothing is not None:
        raise DataError(source.path, f"{nothing}{advice}")
    passed.add("in no known format" if len(kinds) > 1 else "in another format", unknown, advice)
    passed.add("sent in a WhatsApp chat", sent)
    passed.add("beside conversations with ChatGPT or Claude", uploaded)


def _downloads(source: Source) -> list[str]:
    """The folders in which there is a download of ChatGPT or Claude, each with its slash; the top is empty.

    Other files there are accounts and what users sent to the model.
    """
    return [
        file.path.removesuffix(file.base)
        for file in source.files
        if file.base.startswith("conversations") and file.base.endswith(".json")
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
            chats.setdefault(file.folder, []).append(file)
    found = {}
    for folder, (first, *others) in chats.items():
        name = first.base.lower()
        if not others and (name == "_chat.txt" or ("whatsapp" in name and source.path.is_file())):
            found[folder] = first
    return found


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
