"""LINE's text exports, in several languages.

Open this if an export is not recognised or is read wrongly. A line with a date stands above the messages of a day, and
clock, name and text of a message have tabs between them, as in `10:05<TAB>Ann<TAB>text`. A text of several lines is
in quotation marks. What LINE itself writes has no name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.clocks import HALF, hour_of_day
from dialog_cvae.imports.date_order import ORDERS, DateOrders, calendar_day
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.source import Source

_HEAD: Final = 60  # lines from which the format is recognised
_TITLE: Final = "[LINE]"
# `2024/01/15(Mon)`, `2024.01.15 Monday`, `Mon, 01/15/2024`: a date with the name of the day before or after it.
_DAY: Final = re.compile(
    r"(?P<before>[^\W\d]\S{0,12},\s)?(?P<a>\d{1,4})(?P<sign>[./-]|[年년])\s?(?P<b>\d{1,2})(?:[./-]|[月월])\s?(?P<c>\d{1,4})"
    r"[日일.]?(?P<after>\s?[(（]\D{1,12}[)）]|(?:\s|(?=[周週星]))[^\W\d][^\s\d]{0,15})?"
)
_MESSAGE: Final = re.compile(
    rf"(?:(?P<before>{HALF})\s?)?(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?:\s?(?P<after>{HALF}))?\t(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
# What stands in place of a file, in English, Japanese, traditional and simplified Chinese, Korean, Thai, Indonesian.
_FILE: Final = re.compile(
    r"(?:\[(?:photos?|stickers?|videos?|voice message|audio|files?|location|contact|albums?|notes?|gift|poll|null"
    "|写真|スタンプ|動画|ボイスメッセージ|ファイル|位置情報|連絡先|アルバム|ノート|プレゼント|投票"
    "|照片|貼圖|影片|語音訊息|檔案|位置(?:訊息|資訊)?|聯絡資訊|相簿|記事本|禮物|投票"
    "|贴图|视频|语音信息|文件|联系人|相册|礼物"
    "|사진|스티커|동영상|음성 ?메시지|파일|위치 ?정보|위치|연락처|앨범|노트|선물|투표"
    r"|รูป(?:ภาพ)?|ภาพ|สติกเกอร์|สติ๊กเกอร์|วิดีโอ|ข้อความเสียง|ไฟล์|ตำแหน่งที่ตั้ง|อัลบั้ม|โน้ต"
    r"|foto|stiker|pesan suara|file|lokasi|kontak|catatan)\](?:\s.*)?|(?:\(emoji\)\s*)+|message unsent\.)",
    re.IGNORECASE | re.DOTALL,
)
_CALL: Final = "☎"


class _Day(NamedTuple):
    """A line with a date."""

    line: int
    match: re.Match[str]

    @property
    def numbers(self) -> list[int]:
        """The three numbers, in their order."""
        return [int(self.match[part]) for part in "abc"]


class _Entry(NamedTuple):
    """A message, or a line of the program, and the lines that continue it."""

    line: int
    day: _Day
    match: re.Match[str]
    more: list[str]


def recognise(source: Source) -> bool:
    """Whether LINE's title is the first line, or a date stands above a message."""
    lines = [line for line in source.file.head_text.lstrip("\ufeff").splitlines() if line.strip()][:_HEAD]
    if lines and lines[0].startswith(_TITLE):
        return True
    days = [place for place, line in enumerate(lines) if _dated(line)]
    below = lines[days[0] :] if days else []
    return any("\t" in match["rest"] for line in below if (match := _MESSAGE.match(line)))


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat; the file is read twice.

    Raises:
        DataError: there is no message, a message has no date above it, or a date does not exist.
    """
    orders, last = DateOrders(source.file.name), 0
    for entry in _entries(source, options):
        if entry.day.line != last:
            last = entry.day.line
            orders.add(last, *entry.day.numbers, twelve=_half(entry.match) is not None)
    order, reason = (options.date_order, "as --date-order says") if options.date_order else orders.decided()
    log.notes.append(f"dates are read {ORDERS[order]} ({reason})")
    said: Counter[str] = Counter()
    for entry in _entries(source, options):
        speaker, tab, text = entry.match["rest"].partition("\t")
        text = _unquoted("\n".join([text, *entry.more]).rstrip())
        if not tab or not speaker.strip() or text.startswith(_CALL):
            log.left_out[SYSTEM] += 1
        elif _FILE.fullmatch(text.strip()):
            log.left_out[MEDIA] += 1
        else:
            said[speaker] += 1
            yield Message("", speaker, text, _time(source.file.name, entry, order))
    log.notes.append(listed(said, anonymous=options.anonymous))


def _entries(source: Source, options: Options) -> Iterator[_Entry]:
    """The messages with the dates above them. What stands above the first date is the title.

    Raises:
        DataError: there is no message, or one has no date above it.
    """
    entry: _Entry | None = None
    day: _Day | None = None
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        line = line.rstrip("\r\n").lstrip("\ufeff")
        if (found := _dated(line)) and (day is None or _shape(found) == _shape(day.match)):
            day = _Day(number, found)
        elif match := _MESSAGE.match(line):
            if day is None:
                raise DataError(source.file.name, "no line with a date in a known form is above the message", number)
            if entry is not None:
                yield entry
            entry = _Entry(number, day, match, [])
        elif entry is not None:
            entry.more.append(line)
    if entry is None:
        raise DataError(source.file.name, "has no message of LINE, whose clock, name and text have tabs between them")
    yield entry


def _dated(line: str) -> re.Match[str] | None:
    """A line with a date and the name of the day; Thai exports have BE behind it."""
    found = _DAY.fullmatch(line.strip().removesuffix(" BE"))
    return found if found and (found["before"] or found["after"]) else None


def _shape(day: re.Match[str]) -> tuple[str, bool, bool]:
    """The form of a date, which is the same in a whole file."""
    return day["sign"], day["before"] is None, (day["after"] or "").endswith((")", "）"))


def _half(match: re.Match[str]) -> str | None:
    return match["before"] or match["after"]


def _unquoted(text: str) -> str:
    """A text of several lines without the quotation marks around it."""
    if "\n" in text and text.startswith('"') and text.endswith('"'):
        return text[1:-1].replace('""', '"')
    return text


def _time(name: str, entry: _Entry, order: str) -> float:
    """The seconds of a message.

    Raises:
        DataError: there is no such date or time.
    """
    hour, minute = hour_of_day(int(entry.match["hour"]), _half(entry.match)), int(entry.match["minute"])
    try:
        day = calendar_day(entry.day.numbers, order)
        return datetime(*day, hour, minute, tzinfo=UTC).timestamp()
    except ValueError as error:
        shown = f"{entry.day.match[0]} {entry.match[0][: entry.match.start('rest')].strip()}"
        raise DataError(name, f"{shown!r} is no date, {ORDERS[order]} ({error})", entry.line) from None


FORMAT = Format("line", "a LINE chat", recognise, read, merge=True, gap=6 * HOUR)
