"""Files that no format reads: the reason says what they are and what to do."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.refusals import refusal
from dialog_cvae.imports.source import open_source

HTML = "<!DOCTYPE html>\n<html><body>Ann: hi</body></html>\n"
LINE = "=" * 62 + "\n"
DISCORD = (
    f"{LINE}Guild: Garden\nChannel: text / help\n{LINE}\n[01/13/2024 10:00 AM] ann\nBo: hello\n\n"
    f"[01/13/2024 10:01 AM] bo\nAnn: hi\n\n{LINE}Exported 2 message(s)\n{LINE}"
)
TABLE = "speaker,text\nA,hi\nB,yo\n"
WEB_PAGE = "is a web page: export again as JSON"
WORKBOOK = "is an Excel workbook: save it as CSV (UTF-8)"


def refused(path: Path, forced: str | None = None) -> str:
    with pytest.raises(DataError) as found:
        list(recognised(open_source(path), forced))
    return found.value.reason


@pytest.fixture
def packed(tmp_path: Path) -> Callable[..., Path]:
    """An archive with members of these names."""

    def write(name: str, *members: str, content: str = "<a/>") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, content)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.txt", HTML, WEB_PAGE),
        ("x.csv", "\ufeff\n<HTML lang='de'>a,b\n", WEB_PAGE),
        ("messages.html", "<div>hi, you</div>", WEB_PAGE),
        ("x.pst", "!BDN\0\1", "is in Outlook's own form: save the mails as mbox or .eml files"),
        ("x.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is in Outlook's own form"),
        ("x.rtf", '{\\rtf1\\ansi {"a": 1}\nAnn: hi\\par\nBo: yo\\par\nAnn: so}', "is a rich text document (RTF)"),
        (
            "x.txt",
            DISCORD,
            "is a Discord channel in plain text, whose lines do not tell messages apart: export it as JSON",
        ),
        ("x.txt", "\ufeff" + DISCORD.replace("\n", "\r\n"), "is a Discord channel in plain text"),
    ],
)
def test_a_file_with_the_remedy(put, name, content, reason):
    assert refused(put(name, content)).startswith(reason)


@pytest.mark.parametrize("forced", [None, "csv"])
def test_office_documents(packed, forced):
    assert refused(packed("x.xlsx", "[Content_Types].xml", "xl/workbook.xml"), forced) == WORKBOOK
    assert refused(packed("x.docx", "word/document.xml"), forced) == "is a Word document: save it as plain text"


@pytest.mark.parametrize("name", ["messages.html", "inbox/bo_1/message_1.html"])
def test_folders_and_archives_of_web_pages(put, packed, tmp_path, name):
    put(f"chat/{name}", HTML)
    for path in (tmp_path / "chat", packed("chat.zip", name, content=HTML)):
        assert refused(path).startswith("none of its 1 files is in a known format (")
        assert refused(path).endswith(f"; {name} {WEB_PAGE}")


def test_what_is_passed_over_in_a_folder_has_the_remedy_too(put, packed, imported, tmp_path):
    put("all/a.csv", TABLE)
    packed("all/b.xlsx", "xl/workbook.xml")
    note = f"{tmp_path / 'all'}: passed over: 1 files in no known format (b.xlsx); b.xlsx {WORKBOOK}"
    assert imported(tmp_path / "all").report.notes == [note]


def test_a_discord_channel_in_plain_text_is_no_whatsapp_chat_in_a_folder(put, tmp_path):
    put("all/_chat.txt", DISCORD)
    assert re.search(r"none of its 1 files.*; _chat.txt is a Discord channel", refused(tmp_path / "all"))


def test_many_comments_before_a_text_take_no_long_time(put):
    """Tried one by one in two ways each, 5,000 would never end."""
    assert refusal(open_source(put("x.md", "<!-- -->\n" * 5_000 + "Ann: hi\nBo: yo\nAnn: so\n"))) is None
    assert refusal(open_source(put("y.txt", "<!-- -->\n <!-- a --> <html>"))) == "is a web page: export again as JSON"
