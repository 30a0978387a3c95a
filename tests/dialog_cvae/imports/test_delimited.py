"""Tables with tabs, which many programs write without quoting: a quotation mark may be text or begin a quoted field."""

from __future__ import annotations

import pytest

from dialog_cvae.errors import DataError

HEAD = "speaker\ttext\n"


def notes(result) -> list[str]:
    return [note for note in result.report.parts[0].log.notes if "quotation" in note]


@pytest.mark.parametrize(
    "content",
    [
        'A\t"hi\nB\tyo\nA\tthe 5"\nB\tok\n',  # would close in another row
        'A\t"hi\nB\tyo\nA\tthe 5"\nB\tok',
        'A\t"hi\nB\tyo\nA\tthe 5"\n\nB\tok\n\n',  # blank lines
        'A\t"hi\r\nB\tyo\r\nA\tthe 5"\r\nB\tok\r\n',
    ],
)
def test_a_mark_that_begins_a_text_swallows_no_rows(put, imported, content):
    result = imported(put("t.tsv", HEAD + content))
    assert result.said == [['A: "hi', "B: yo", 'A: the 5"', "B: ok"]]
    assert notes(result) == ["quotation marks are read as text, because of line 2"]


@pytest.mark.parametrize("text", ['"never closed', '"closed" too early', '"', '"x""y'])
def test_a_mark_that_is_no_quoting_is_text(put, imported, text):
    result = imported(put("t.tsv", f"sep=\t\n{HEAD}A\thi\nB\t{text}\nA\tyo\n"))
    assert result.said == [["A: hi", f"B: {text}", "A: yo"]]
    assert notes(result) == ["quotation marks are read as text, because of line 4"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('A\t"two\nlines"\nB\t"a\ttab"\nA\t"so ""it"" is"\n', ["A: two\nlines", "B: a\ttab", 'A: so "it" is']),
        ('A\t"look:\nx\ty\nend"\nB\tyo\n', ["A: look:\nx\ty\nend", "B: yo"]),
    ],
)
def test_quoted_fields_stay_quoted(put, imported, content, said):
    result = imported(put("t.tsv", HEAD + content))
    assert result.said == [said]
    assert notes(result) == []


def test_quoted_fields_of_the_first_column_stay_quoted(put, imported):
    result = imported(put("t.tsv", 'text\tspeaker\n"two\nlines"\tA\nyo\tB\n'))
    assert result.said == [["A: two\nlines", "B: yo"]]
    result = imported(put("t.tsv", '"speaker"\t"text"\n"A"\t"two\nB\tlines"\n"B"\t"yo"\n'))  # the names are quoted
    assert result.said == [["A: two\nB\tlines", "B: yo"]]


def test_a_mark_in_the_first_column_swallows_no_rows(put, imported):
    result = imported(put("t.tsv", 'text\tspeaker\n"hi\tA\nyo\tB\nthe 5"\tA\nok\tB\n'))
    assert result.said == [['A: "hi', "B: yo", 'A: the 5"', "B: ok"]]


def test_commas_need_quoting(put, imported):
    result = imported(put("t.csv", 'speaker,text\nA,"x\nB,y"\nB,z\n'))
    assert result.said == [["A: x\nB,y", "B: z"]]


DOUBT = "quotation marks are read as quoting: check whether the field that begins in line {} holds several rows"
EXCEL = 'ann\t"He said ""hi"" and sent\ncolour\tred"\nbo\tok\n'


@pytest.mark.parametrize("other", ["", 'ann\t"two\nlines"\n'])
def test_a_cell_with_line_ends_whose_last_line_has_all_tabs_stays_quoted(put, imported, other):
    result = imported(put("t.tsv", HEAD + EXCEL + other))
    assert result.said[0][:2] == ['ann: He said "hi" and sent\ncolour\tred', "bo: ok"]
    assert notes(result) == [DOUBT.format(2)]


def test_doubled_marks_are_text_if_another_line_is_wrongly_quoted(put, imported):
    result = imported(put("t.tsv", HEAD + EXCEL + 'ann\t"closed" too early\n'))
    assert len(result.said[0]) == 4
    assert notes(result) == ["quotation marks are read as text, because of line 2"]


@pytest.mark.parametrize("other", ['A\t"two\nlines"\n', 'A\t"a\ttab"\n', 'A\t"x\n\ty\tz"\n'])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_line_with_other_tabs_keeps_the_quoting_of_all(put, imported, other, is_last):
    rows = 'A\t"sent\ncolour\tred"\nB\tok\n'
    result = imported(put("t.tsv", HEAD + (rows + other if is_last else other + rows)))
    assert "A: sent\ncolour\tred" in result.said[0]
    assert len(result.said[0]) == 3
    line = 2 if is_last else 2 + other.count("\n")
    assert notes(result) == [DOUBT.format(line)]


def test_a_wrong_mark_beside_a_line_with_other_tabs_is_refused(put, imported):
    path = put("t.tsv", HEAD + 'A\thi\nB\t"closed" too early\nA\tx\ty\n')
    with pytest.raises(DataError, match="line 3: not a table: "):
        imported(path)


def test_an_open_field_names_the_line_where_its_row_begins(put, imported):
    with pytest.raises(DataError, match=r"line 4: not a table: a quoted field is not closed in the row that .* line 2"):
        imported(put("t.csv", 'speaker,text\nA,"x\nB,y\nA,z\n'))
