"""WhatsApp's exports: the line of each locale, the order of day and month, and lines that the program wrote."""

from __future__ import annotations

import time

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import MEDIA, SYSTEM
from dialog_cvae.imports.privacy import Privacy
from dialog_cvae.imports.whatsapp import PASTED, UNKNOWN

CLOCKS = (("23:58", 30, "A"), ("23:59:20", 30, "B"), ("00:01", 31, "A"), ("00:02:10", 31, "B"))


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
        "[2023/12/31 晚上11:59:58] ",
        "2023/12/31 中午12:30 - ",
        "2023年12月31日 23:59 - ",
        "2023년 12월 31일 오후 11:59 - ",
        "\u200f٣١\u200f/١٢\u200f/٢٠٢٣، ١١:٥٩ م - ",
        "31/12/23, 11:59 PTG - ",
        "31/12/2566 23:59 - ",
        "2023-12-31 23 h 59 - ",
        "23:59, 31/12/2023 - ",
        "[23:59:58, 31/12/2023] ",
        "31.12.23 г., 23:59 ч. - ",
        "31.12.23 г., 23:59 - ",
        "31. 12. 2023. u 23:59 - ",
        "31.12.23 во 23:59 - ",
        "31/12/23, பிற்பகல் 11:59 - ",
        "31/12/23, 11:59 ಅಪರಾಹ್ನ - ",
        "31.12.23, 11:59 e pasdites - ",
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
    note, _ = imported(path, gap=0.0).report.parts[0].log.notes
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
        "Bob's list, v2.pdf (file attached)",
        "\u200eBob's list, v2.pdf (přiloženo)",
        "IMG-20240101-WA0001.jpg (přiloženo)",
        "This message was deleted by admin Ann",
        "Pesan ini dihapus",
        "Esta mensagem foi apagada",
        "Missed voice call, tap to call back",
        "Verpasster Sprachanruf um 10:30 Uhr",
    ],
)
def test_lines_that_stand_for_a_file_are_counted(put, imported, text):
    said = ["Ann: one", f"Ann: {text}", "Bo: two"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in said)))
    assert result.said == [["Ann: one", "Bo: two"]]
    assert result.left_out == {MEDIA: 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see you at 10.30 (maybe)", "see you at 10.30 (maybe)"),
        ("it costs 3.50 (each)\nand bring 2 bags", "it costs 3.50 (each)\nand bring 2 bags"),
        ("read notes.pdf (page 2)", "read notes.pdf (page 2)"),
        ("IMG-20240101-WA0001.jpg (file attached)\nin Rome", "in Rome"),
        ("<Media omitted>\nHappy new year", "Happy new year"),
        ("<Медиа>\nhi", "hi"),
        ("<b>\nis a tag", "<b>\nis a tag"),
        ("hallo <Diese Nachricht wurde bearbeitet.>", "hallo"),
        ("hallo\u200e <Pesan ini diedit>", "hallo"),
        ("I <3 you >", "I <3 you >"),
    ],
)
def test_only_the_words_of_people_stay(put, imported, text, expected):
    result = imported(put("chat.txt", f"13/01/24, 10:00 - Ann: {text}\n13/01/24, 10:01 - Bo: two\n"))
    assert result.said == [[f"Ann: {expected}", "Bo: two"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("look at this \u200eimage omitted", "look at this"),
        ("look\nat this \u200e<attached: 00000002-PHOTO.jpg>", "look\nat this"),
        ("das hier\n\u200eBild weggelassen", "das hier"),
        ("Resume.pdf • \u200e2 pages \u200edocument omitted", None),
        ("read it:\nMy Resume.pdf • \u200edocument omitted", "read it:"),
        ("Resume.pdf • \u200e2 pages \u200e<attached: 00000003-Resume.pdf>", None),
        (
            "read it:\nMy own CV as a file.pdf • \u200e2 pages \u200e<Anhang: 00000003-My own CV as a file.pdf>",
            "read it:",
        ),
        ("a \u200emark in words that were omitted by me today", "a \u200emark in words that were omitted by me today"),
        ("image omitted", "image omitted"),
    ],
)
def test_words_before_a_picture_of_ios_stay(put, imported, text, expected):
    lines = ["Ann: one", f"Bo: {text}", "Carl: two"]
    result = imported(put("chat.txt", "".join(f"[13.01.24, 10:00:00] {line}\n" for line in lines)))
    assert result.said == [["Ann: one", *([f"Bo: {expected}"] if expected else []), "Carl: two"]]


@pytest.mark.parametrize(
    "speaker", ['Ann "Annie" Lee', "Ann „Annie“ Lee", "Ann “Annie” Lee", "Ann «Annie»", "Ann's ‘pal’"]
)
def test_speakers_may_have_quotes(put, imported, speaker):
    result = imported(put("chat.txt", f"13/01/24, 10:00 - {speaker}: hi\n13/01/24, 10:01 - Bo: yo\n"))
    assert result.said == [[f"{speaker}: hi", "Bo: yo"]]


@pytest.mark.parametrize(
    "line",
    [
        "Ann hat die Gruppe „Ausflug: Harz“ erstellt.",
        'Ann created group "Trip: Harz"',
        "Ann a changé le sujet de « A » à « B: c »",
        "Ann 建立了「群組: 一」群組",
        "Ann changed the group description to: be nice",
        "Ann hat die Gruppenbeschreibung geändert: sei nett",
        "+1 234 added you to a group in the community: Trips",
    ],
)
def test_system_lines_with_a_colon_are_no_speakers(put, imported, line):
    lines = ["Ann: one", line, "Bo: two"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {each}\n" for each in lines)))
    assert result.said == [["Ann: one", "Bo: two"]]
    assert result.left_out == {SYSTEM: 1}


@pytest.mark.parametrize(
    ("begin", "odd", "shown"),
    [
        ("2024/1/13 上午10:01 - ", "2024/1/13 黄昏6:30 - ", "2024/1/13 黄昏6:30"),
        ("13/01/24, 10:01 - ", "13/01/24, 10:30 XY - ", "13/01/24, 10:30 XY"),
        ("[13.01.24, 10:01:00] ", "[14.01.24, at ten] ", "14.01.24, at ten"),
    ],
)
def test_a_time_in_an_unknown_form_is_an_error(put, imported, begin, odd, shown):
    content = f"{begin}Ann: one\n{begin}Bo: two\n{odd}Ann: three\n"
    with pytest.raises(DataError, match=f"line 3: the time '{shown}' is in no known form; put a space before the line"):
        imported(put("chat.txt", content))
    assert imported(put("chat.txt", content.replace(odd, f" {odd}"))).said[0][1] == f"Bo: two\n {odd}Ann: three"


def test_a_clock_before_the_date_is_read(put, imported):
    content = "".join(f"{clock}, {day}/12/23 - {name}: hi\n" for clock, day, name in CLOCKS)
    assert imported(put("chat.txt", content), gap=90.0).said == [["A: hi", "B: hi"], ["A: hi", "B: hi"]]


def test_a_pasted_chat_in_another_frame_is_text(put, imported):
    pasted = "look:\n[14.01.24, 09:00:00] Carl: no\n[1/14/24, 9:00 AM] Ann: yes\n9:00, 14/01/24 - Ann: no"
    pasted += "\n13.01.24 - room 5: math"
    result = imported(put("chat.txt", f"13/01/24, 10:00 - Ann: hi\n13/01/24, 10:01 - Bo: {pasted}\n"))
    assert result.said == [["Ann: hi", f"Bo: {pasted}"]]
    assert result.report.parts[0].log.changed[PASTED] == 3
    begin = "[13.01.24, 10:01:00] "
    for other in ("[1/3/24, 9:00:00 AM] ", "[1/14/24, 9:00:00 AM] ", "[14.01.24, 9:00:00 AM] ", "[14.01.24, 9:00] "):
        result = imported(put("chat.txt", f"{begin}Ann: hi\n{begin}Bo: look:\n{other}Cy: no\n"))
        assert result.said == [["Ann: hi", f"Bo: look:\n{other}Cy: no"]]
        assert result.report.parts[0].log.changed[PASTED] == 1
    pasted = "look:\n13/01/24, 09:00 - Carl: no\n[14.1., 09:00] Ann: yes"
    result = imported(put("chat.txt", f"[13/01/24, 10:00:00] Ann: hi\n[13/01/24, 10:01:00] Bo: {pasted}\n"))
    assert result.said == [["Ann: hi", f"Bo: {pasted}"]]


def test_halves_of_the_day_and_years_of_thailand(put, imported):
    times = ["凌晨12:30", "早上8:30", "中午12:30", "下午1:30", "晚上11:30"]
    said = "".join(f"2024/1/13 {time} - {'AB'[i % 2]}: {i}\n" for i, time in enumerate(times))
    assert [len(part) for part in imported(put("chat.txt", said), gap=3600.5).said] == [2]
    leap = "".join(f"{date} 23:59 - {who}: hi\n" for date, who in [("29/2/2567", "A"), ("1/3/2567", "B")])
    assert [len(part) for part in imported(put("chat.txt", leap), gap=86400.0).said] == [2]


@pytest.mark.parametrize(
    "text",
    ["hi{}x", "<{}x", "a.b ({}x", "\u200e{}x", "x{}> <", "a\n{}13/01/24", "a\n13/01/24{}x", "a\n13/01/24, 10:00{}x: "],
)
@pytest.mark.parametrize("part", [" ", "\u200e", ".a (", "< ", "@\u2068"])
def test_long_messages_take_little_time(put, imported, text, part):
    said = text.format(part * 20_000)
    start = time.process_time()
    imported(
        put("chat.txt", f"13/01/24, 10:00 - Ann: {said}\n13/01/24, 10:01 - Bo: yo\n"),
        privacy=Privacy(anonymous=True),
        anonymous=True,
    )
    assert time.process_time() - start < 2


def test_marks_of_ios_and_lines_of_the_program(put, imported):
    content = (
        "[13.01.24, 10:00:00] Garden: \u200eMessages are end-to-end encrypted.\r\n"
        "\u200e[13.01.24, 10:00:01] Bo: \u200eimage omitted\r\n"
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


@pytest.mark.parametrize(
    ("begin", "line"),
    [
        ("02/01/2024 10:00 - ", "02/01/2024 das 10:00 - 12:00 reunião: sala 3"),
        ("1/2/24, 10:00 - ", "1/2/24, Tue 10:00 - 12:00 meeting: room 3"),
        ("[02-01-2024 10:00:00] ", "[02-01-2024] Huur: 500"),
    ],
)
def test_an_unknown_time_before_what_no_speaker_says_is_text(put, imported, begin, line):
    result = imported(put("chat.txt", f"{begin}Ann: look\n{line}\n{begin}Bo: ok\n"))
    assert result.said == [[f"Ann: look\n{line}", "Bo: ok"]]
    assert result.report.parts[0].log.changed[UNKNOWN] == 1


def test_a_line_of_the_program_without_a_colon_has_no_speaker(put, imported):
    content = "13.05.23, 10:00 - Ann: hi\n13.05.23, 10:01 - Bo: yes\n13.05.23, 10:02 - Bo left\n\nfoo\n"
    assert imported(put("chat.txt", content)).said == [["Ann: hi", "Bo: yes"]]


def test_several_chats_in_one_folder_are_all_read(tmp_path, imported):
    folder = tmp_path / "chats"
    folder.mkdir()
    for name, speaker in (("_chat.txt", "Ann"), ("_chat (1).txt", "Bo"), ("cy.txt", "Cy")):
        chat = f"[13/01/24, 10:00:00] {speaker}: hi\n[13/01/24, 10:01:00] Di: yes\n"
        (folder / name).write_text(chat, encoding="utf-8")
    assert sorted(said[0] for said in imported(folder).said) == ["Ann: hi", "Bo: hi", "Cy: hi"]


@pytest.mark.parametrize("space", [" ", "\u202f", "\xa0", ""])
def test_an_unsaved_contact_and_a_saved_one_of_the_same_name_are_two(put, imported, space):
    lines = ["Max: one", f"~{space}Max: two", "Max: three", f"~{space}Bo: @Max four", "~: five"]
    path = put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in lines))
    unsaved = f"~{' ' * bool(space)}Max"
    assert imported(path).said == [["Max: one", f"{unsaved}: two", "Max: three", "Bo: @Max four", "~: five"]]
    anonymous = imported(path, privacy=Privacy(anonymous=True), anonymous=True)
    assert anonymous.said == [["A: one", "B: two", "A: three", "C: @<NAME> four", "D: five"]]


def test_names_may_have_a_colon(put, imported):
    lines = ["Work: Ann: one", "Work: Bo: two", "Me: three", "Work: Ann:\nfour: a", "Work: Bo: <Media omitted>"]
    path = put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in lines))
    result = imported(path)
    assert result.said == [["Work: Ann: one", "Work: Bo: two", "Me: three", "Work: Ann: four: a"]]
    assert result.left_out == {MEDIA: 1}
    pair = put("pair.txt", "13/01/24, 10:00 - Work: Ann: one\n13/01/24, 10:00 - Work: Bo: two\n")
    assert [each["speaker"] for each in imported(pair).lines[0]["utterances"]] == ["Work: Ann", "Work: Bo"]
    odd = put("odd.txt", path.read_text() + "13/01/24, 黄昏10:00 - Work: Ann: five\n")
    with pytest.raises(DataError, match="line 7: the time '13/01/24, 黄昏10:00' is in no known form"):
        imported(odd)


@pytest.mark.parametrize(
    "lines",
    [
        ["Ann: note: one", "Bo: two", "Ann: note: three"],
        ["Ann: note: one", "Bo: two", "Ann: note: three", "Ann: four"],
        ["Ann: a: one", "Bo: two", "Ann: b: three", "Ann: b: four"],
        ["Ann: a: one", "Bo: two", "Ann: a: three", "Ann:\nb: four"],
    ],
)
def test_a_colon_in_what_is_said_belongs_to_no_name(put, imported, lines):
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in lines)), merge=False)
    assert {each["speaker"] for each in result.lines[0]["utterances"]} == {"Ann", "Bo"}


@pytest.mark.parametrize("name", ["Ann »", "Ann «the boss", 'ד"ר כהן', "「Ann"])
def test_names_may_have_a_single_quotation_mark(put, imported, name):
    lines = [f'{name}: I say "yes" «now» »then« 「so」', "Bo: two", f"{name}: three"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in lines)))
    assert result.said == [[f"{name}: {line.partition(': ')[2]}" if "two" not in line else line for line in lines]]
    assert result.left_out == {}


def test_the_report_lists_the_speakers(put, imported):
    lines = ["Garden: \u200eMessages are end-to-end encrypted.", "Ann: one", "Bo: two", "Ann: three\nfour"]
    path = put("chat.txt", "".join(f"[13.01.24, 10:00:00] {line}\n" for line in lines))
    assert imported(path).report.parts[0].log.notes[1:] == ["speakers, with their lines: Ann (2), Bo (1)"]
    hidden = imported(path, privacy=Privacy(anonymous=True), anonymous=True).report
    assert hidden.parts[0].log.notes[1:] == ["2 speakers"]
    assert "Ann" not in str(hidden.lines())
