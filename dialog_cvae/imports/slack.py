"""Slack exports, as a folder or a zip archive: a folder for each channel, with a JSON file for each day.

Open this if an export is read wrongly. Each thread is one conversation, whatever its silences. Messages outside threads
form the channel's conversation, which silences divide.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.exports import Export, above, below
from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import BOTS, HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import People
from dialog_cvae.imports.source import File, Source
from dialog_cvae.text.placeholders import NAME

_USERS: Final = "users.json"
_DAY: Final = re.compile(r"(?:.*/)?\d{4}-\d{2}-\d{2}\.json")
# What Slack writes beside the folders of channels; none of it holds messages.
_ABOUT: Final = frozenset(
    f"{each}.json"
    for each in (
        *("users", "org_users", "channels", "groups", "dms", "mpims", "integration_logs", "canvases", "lists"),
        *("file_conversations", "huddle_transcripts"),
    )
)
_UPLOADS: Final = "__uploads"  # where the program slackdump puts files that people sent
_SAID: Final = {"", "thread_broadcast", "me_message", "file_share", "bot_message", "reply_broadcast"}  # subtypes
_DIRECT = re.compile(r"mpdm-.*|D[A-Z0-9]{8,}")
_MARKUP: Final = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")


def recognise(source: Source) -> bool:
    """Whether there are files of days, and in a workspace the first one that is not empty holds messages."""
    return any(map(_hold_messages, _workspaces(source).values()))


def export(source: Source) -> Export:
    """The first workspace of a source."""
    folder, days = next(each for each in _workspaces(source).items() if _hold_messages(each[1]))
    about = [file for file in source.files if file.folder == folder and file.base in _ABOUT]
    uploads = f"{folder}/{_UPLOADS}".lstrip("/")
    sent = below(source.without(days), {uploads, *(file.folder for file in days)})
    return Export(folder, [*days, *about], sent)


def _workspaces(source: Source) -> dict[str, list[File]]:
    """The files of days of each workspace, by its folder.

    That is the nearest folder above those of the channels that lists users, else the folder that the channel is in.
    """
    homes = {file.folder for file in source.files if file.base == _USERS}
    found: dict[str, list[File]] = {}
    for file in source.files:
        if _DAY.fullmatch(file.path):
            folders = above(file.folder) or [""]
            folder = next((each for each in folders if each in homes), folders[0])
            found.setdefault(folder, []).append(file)
    return found


def _hold_messages(days: Sequence[File]) -> bool:
    """Whether the first file that is not empty holds messages."""
    return {"[].ts", "[].type"} <= next((file.paths for file in days if file.paths), frozenset())


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all channels.

    Raises:
        DataError: a file is malformed.
    """
    users = source.named(_USERS)
    names = {} if users is None else _names(users)
    days = [file for file in source.files if _DAY.fullmatch(file.path)]
    people = People(log)
    channels = {file.folder for file in days}
    log.notes.append(f"{len(channels):,} channels, {len(names):,} known users; each thread is a conversation")
    for file in days:
        stream = JsonStream(file, None)
        for number in stream.items():
            message = stream.value()
            try:
                found = _message(message, file.folder, names, people, options, log)
            except ValueError as error:
                raise stream.error(f"message {number}: {error}") from None
            if found is not None:
                yield found


def _message(
    message: Any, folder: str, names: dict[str, str], people: People, options: Options, log: Log
) -> Message | None:
    """A message, or None if it is left out.

    Args:
        message: as in the file.
        folder: that of its channel.
        names: of users by their id; receives that of a user who is not listed.
        people: those of the workspace.
        options: whether bots are kept, and mentions replaced.
        log: counts what is left out.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(message, dict):
        raise ValueError(f"must be an object, is {kind_of(message)}")
    subtype = message.get("subtype") or ""
    if message.get("type", "message") != "message" or subtype not in _SAID:
        log.left_out[SYSTEM] += 1
        return None
    if _is_bot(message) and not options.bots:
        log.left_out[BOTS] += 1
        return None
    text, ts = message.get("text") or "", message.get("ts")
    if not isinstance(text, str):
        raise ValueError(f"text must be text, is {kind_of(text)}")
    try:
        time = float(str(ts))
    except ValueError:
        raise ValueError(f"ts must be a time, is {ts!r:.40}") from None
    if not text.strip():
        log.left_out[MEDIA] += 1
        return None
    thread = message.get("thread_ts")
    channel = folder.rpartition("/")[2]
    name = f"{folder}\0{channel} {thread}" if thread else f"{folder}\0{channel}"
    speaker, plain = _speaker(message, names, people), _plain(text, names, people, options)
    return Message(name, speaker, plain, time, _topic(channel), in_thread=bool(thread))


def _topic(channel: str) -> str | None:
    """The name of a channel; None for direct messages, which are named after people."""
    return None if not channel or _DIRECT.fullmatch(channel) else channel


def _is_bot(message: Mapping[str, Any]) -> bool:
    return message.get("subtype") == "bot_message" or bool(message.get("bot_id"))


def _speaker(message: Mapping[str, Any], names: dict[str, str], people: People) -> str:
    """The name of the user or bot who wrote a message; empty if it names none.

    A user who is not listed keeps the first name, because people change theirs. A bot that gives names to its messages,
    such as a bridge between networks, counts as several people.

    Raises:
        ValueError: the name is not text.
    """
    user = message.get("user")
    profile = message.get("user_profile")
    own = profile if isinstance(profile, Mapping) else {}
    choices = (names.get(str(user)), own.get("display_name"), own.get("real_name"), message.get("username"), user)
    found = next((each for each in (*choices, message.get("bot_id")) if each), "")
    if not isinstance(found, str):
        raise ValueError(f"user must be text, is {kind_of(found)}")
    if isinstance(user, str) and user and not _is_bot(message) and not message.get("username"):
        names.setdefault(user, found)
    return people.name(user or message.get("bot_id"), found)


def _plain(text: str, names: Mapping[str, str], people: People, options: Options) -> str:
    """The text without Slack's markup: names for users and channels, addresses for links."""

    def shown(mark: re.Match[str]) -> str:
        sign, target, label = mark[1], mark[2], mark[3]
        if sign == "@":
            return NAME if options.anonymous else f"@{label or people.name(target, names.get(target, target))}"
        if sign == "#":
            return f"#{label or target}"
        if sign == "!":
            return label or f"@{target.partition('^')[0]}"
        return target.removeprefix("mailto:").removeprefix("tel:")

    return html.unescape(_MARKUP.sub(shown, text))


def _names(file: File) -> dict[str, str]:
    """Names of users by their id.

    Raises:
        DataError: the file is malformed.
    """
    found = {}
    stream = JsonStream(file, None)
    for number in stream.items():
        user = stream.value()
        if not isinstance(user, dict) or not isinstance(user.get("id"), str):
            raise DataError(file.name, f"user {number} must be an object with an id")
        profile = user["profile"] if isinstance(user.get("profile"), dict) else {}
        choices = (profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name"))
        found[user["id"]] = next((each for each in choices if isinstance(each, str) and each), user["id"])
    return found


FORMAT = Format(
    "slack", "a Slack export", recognise, read, folder=True, export=export, interleaved=True, merge=True, gap=6 * HOUR
)
