"""WhatsApp's exports: the line of each locale, the order of day and month, and lines that the program wrote."""

from __future__ import annotations

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import MEDIA, SYSTEM
from dialog_cvae.imports.privacy import Privacy


@pytest.mark.parametrize(
    "begin",
    [
        "12/31/23, 11:59 PM - ",
        "12/31/23, 11:59\u202fPM - ",
        "31/12/2023, 23:59 - ",
        "31.12.23, 23:59 - ",
        "31.12.2023 klo 23.59 - ",
        "31-12-2023 23:59 - ",
        "2023-12-31, 23:59 - ",
        "2023/12/31 23:59 - ",
        "31/12/23, 11:59 p. m. - ",
        "31/12/23 à 23:59 - ",
        "[31.12.23, 23:59:58] ",
        "\u200e[12/31/23, 11:59:58\u202fPM] ",
        "[2023/12/31 下午11:59:58] ",
        "[2023. 12. 31. 오후 11:59:58] ",
        "\u200f٣١/١٢/٢٠٢٣، 23:59 - ".replace("،", ","),
    ],
)
def test_locales(put, imported, begin):
    result = imported(put("chat.txt", f"{begin}Ann: hi\n{begin}Bo: see: this\nand that\n"))
    assert result.report.parts[0].title == "a WhatsApp chat"
    assert result.said == [["Ann: hi", "Bo: see: this\nand that"]]


@pytest.mark.parametrize(
    ("dates", "found"),
    [
        (["01/02/24", "01/02/24", "13/02/24"], "day first (line 3"),
        (["01/02/24", "01/02/24", "02/13/24"], "month first (line 3"),
        (["01/31/24", "02/01/24", "02/02/24"], "month first"),
        (["10/01/24", "11/01/24", "01/02/24"], "day first (so they increase)"),
        (["01/10/24", "01/11/24", "02/01/24"], "month first (so they increase)"),
        (["01/02/24", "01/02/24", "01/02/24"], "day first (a guess from the 24-hour clock"),
        (["24/01/02", "24/01/02", "24/01/30"], "day first"),
    ],
)
def test_the_order_of_day_and_month_comes_from_the_whole_file(put, imported, dates, found):
    path = put("chat.txt", "".join(f"{date}, 10:0{i} - {'AB'[i % 2]}: hi {i}\n" for i, date in enumerate(dates)))
    (note,) = imported(path, gap=0.0).report.parts[0].log.notes
    assert note.startswith(f"dates are read {found}")


def test_dates_that_contradict_each_other(put, imported):
    path = put("chat.txt", "13/01/24, 10:00 - A: hi\n01/13/24, 10:00 - B: hi\n")
    with pytest.raises(DataError, match=r"chat.txt, line 2: a date is written mdy, but line 1 dmy"):
        imported(path)
    with pytest.raises(DataError, match=r"line 2: '01/13/24, 10:00' is no date, day first"):
        imported(path, date_order="dmy")


@pytest.mark.parametrize(
    "text",
    [
        "<Media omitted>",
        "<Medien ausgeschlossen>",
        "IMG-20240101-WA0001.jpg (file attached)",
        "\u200eIMG-20240101-WA0001.jpg (Datei angehängt)",
        "This message was deleted",
        "Diese Nachricht wurde gelöscht.",
        "null",
    ],
)
def test_lines_that_stand_for_a_file_are_counted(put, imported, text):
    said = ["Ann: one", f"Ann: {text}", "Bo: two"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in said)))
    assert result.said == [["Ann: one", "Bo: two"]]
    assert result.left_out == {MEDIA: 1}


def test_marks_of_ios_and_lines_of_the_program(put, imported):
    content = (
        "[13.01.24, 10:00:00] Garden: \u200eMessages are end-to-end encrypted.\r\n"
        "\u200e[13.01.24, 10:00:01] Ann: \u200eimage omitted\r\n"
        "[13.01.24, 10:00:02] ~\u202fAnn: hi \u200e<This message was edited>\r\n"
        "[13.01.24, 10:00:03] Bo: \u2067yo\u2069\r\n"
        "[13.01.24, 10:00:04] Bo changed the group name to “a: b”\r\n"
    )
    result = imported(put("_chat.txt", content))
    assert result.said == [["Ann: hi", "Bo: yo"]]
    assert result.left_out == {MEDIA: 2, SYSTEM: 1}


def test_runs_are_merged_and_silences_divide(put, imported):
    times = [("10:00", "A"), ("10:01", "A"), ("10:02", "B"), ("17:00", "A"), ("17:01", "B")]
    path = put("chat.txt", "".join(f"13/01/24, {time} - {who}: at {time}\n" for time, who in times))
    assert imported(path).said == [["A: at 10:00\nat 10:01", "B: at 10:02"], ["A: at 17:00", "B: at 17:01"]]
    assert [len(part) for part in imported(path, merge=False).said] == [3, 2]
    assert [len(part) for part in imported(path, gap=0.0).said] == [4]


def test_mentions_as_whatsapp_writes_them(put, imported):
    lines = [
        "10:00 - Ann: hi @\u2068Bo Smith\u2069",
        "10:01 - +49 1512 3456788: @ann and @\u2068Carl\u2069 come",
        "10:02 - Ann: @4915123456788 and @CARL JONES?",
        "20:00 - Carl Jones: late",
    ]
    path = put("chat.txt", "".join(f"13/01/24, {line}\n" for line in lines))
    said = ["A: hi @<NAME>", "B: @<NAME> and @<NAME> come", "A: @<NAME> and @<NAME>?"]
    assert imported(path, privacy=Privacy(anonymous=True), anonymous=True).said == [said]
    assert imported(path).said[0][0] == "Ann: hi @\u2068Bo Smith\u2069"
