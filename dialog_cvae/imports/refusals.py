"""Files that no format reads although they may hold conversations: what they are, and what their user can do.

Open this to add such a kind of file.
"""

from __future__ import annotations

import re
from typing import Final

from dialog_cvae.imports import subtitles
from dialog_cvae.imports.source import Source

_WEB_PAGE: Final = "is a web page: export again as JSON"
_EXCEL: Final = "is an Excel workbook: save it as CSV (UTF-8)"
_WORD: Final = "is a Word document: save it as plain text"
_RICH_TEXT: Final = "is a rich text document (RTF): save it as plain text"
_DISCORD: Final = "is a Discord channel in plain text, whose lines do not tell messages apart: export it as JSON"
_OUTLOOK: Final = "is in Outlook's own form: save the mails as mbox or .eml files"
_TAR: Final = "is a tar archive: unpack it, and name the folder or the file with the messages"
_GZIP: Final = "is compressed with gzip: unpack it first"

_TAR_MARK: Final = 257  # place of the mark in the head of a tar archive
_MEMBERS: Final = {"xl/workbook.xml": _EXCEL, "word/document.xml": _WORD}  # each is in every such archive
_SUFFIXES: Final = {".xlsx": _EXCEL, ".xlsm": _EXCEL, ".docx": _WORD}
_HTML: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_HTML_SUFFIXES: Final = (".html", ".htm")
# DiscordChatExporter's head: a line of equals signs, then the server and the channel.
_DISCORD_HEAD: Final = re.compile(r"\s*={10,}\r?\n(?:.*\n){0,3}?Guild: .*\n(?:.*\n){0,3}?Channel: ")


def refusal(source: Source) -> str | None:
    """Why no format reads a source, if it is a file or archive of a kind that is known to be unreadable."""
    if not source.is_folder:
        return _of_file(source)
    paths = {file.path for file in source.files}
    return next((reason for path, reason in _MEMBERS.items() if path in paths), None)


def _of_file(source: Source) -> str | None:
    file = source.file
    head, path = file.head, file.path.lower()
    if head.startswith(b"\x1f\x8b"):
        return _GZIP
    if head[_TAR_MARK : _TAR_MARK + 5] == b"ustar":
        return _TAR
    if head.startswith(b"PK\x03\x04"):  # in a folder; an archive that the user names is opened
        return next((reason for suffix, reason in _SUFFIXES.items() if path.endswith(suffix)), None)
    if head.startswith(b"!BDN") or (head.startswith(b"\xd0\xcf\x11\xe0") and path.endswith(".msg")):
        return _OUTLOOK
    if head.startswith(b"{\\rtf"):
        return _RICH_TEXT
    text = file.head_text.removeprefix("\ufeff")
    if path.endswith(_HTML_SUFFIXES) or _HTML.match(text):
        return _WEB_PAGE
    if _DISCORD_HEAD.match(text):
        return _DISCORD
    if subtitles.is_subtitles(file) and not subtitles.recognise(source):
        return subtitles.NAMELESS
    return None
