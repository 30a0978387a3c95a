"""Subtitles: who speaks in each cue, what is no text, and which files are refused."""

from __future__ import annotations

import time

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.source import open_source
from dialog_cvae.imports.subtitles import EARLY, NOTES

COLONS = """\
WEBVTT - a meeting
Kind: captions

STYLE
::cue { color: red }

1
00:00:01.000 --> 00:00:02.000
Ann Lee: hi &amp; welcome,
all

NOTE Bo: is late
Ann Lee: not said

second cue
00:03.500 --> 00:05.000 align:start
Ann Lee: let us <i>begin</i>

00:00:06.000 --> 00:00:07.000
Bo: 42

00:20:00.000 --> 00:20:01.000
Bo: so

00:20:02.000 --> 00:20:03.000
Ann Lee: yes
"""
VOICES = """\
WEBVTT

a-b/1-0
00:00:01.000 --> 00:00:02.000
<v Ann Lee>see: this
works</v>

a-b/2-0
00:00:03.000 --> 00:00:04.000
<v.loud ann><b>no</b></v> <v Bo>yes</v>
"""
SRT = """\
1
00:00:00,000 --> 00:00:01,000
[music]

2
00:00:01,000 --> 00:00:02,000
Ann: hi
- Bo: yo
3
00:00:03,000 --> 00:00:04,000
and more

4
00:00:05,000 --> 00:00:06,000
Ann: well
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            COLONS,
            ["Ann Lee: hi & welcome, all\nlet us begin", "Bo: 42\nso", "Ann Lee: yes"],
        ),
        (VOICES, ["Ann Lee: see: this works", "ann: no", "Bo: yes"]),
        ("\ufeff" + SRT.replace("\n", "\r\n"), ["Ann: hi", "Bo: yo and more", "Ann: well"]),
    ],
    ids=["colons", "voices", "SRT"],
)
def test_subtitles_with_speakers_are_one_conversation(put, imported, content, said):
    path = put("files/x.txt", content)
    for each in (path, path.parent):
        assert [kind.name for _, kind in recognised(open_source(each))] == ["subtitles"]
        assert imported(each).said == [said]


def test_what_is_left_out_of_subtitles_is_counted(put, imported):
    assert imported(put("x.vtt", COLONS)).left_out == {NOTES: 1}
    assert imported(put("x.srt", SRT)).left_out == {EARLY: 1}


def test_options_divide_subtitles_at_silences_and_keep_each_cue(put, imported):
    path = put("x.vtt", COLONS)
    assert imported(path, gap=300.0).said == [
        ["Ann Lee: hi & welcome, all\nlet us begin", "Bo: 42"],
        ["Bo: so", "Ann Lee: yes"],
    ]
    assert len(imported(path, merge=False).said[0]) == 5


def test_the_report_lists_the_speakers_of_subtitles(put, imported):
    path = put("x.vtt", VOICES)
    notes = ["speakers, with their lines: Ann Lee (1), ann (1), Bo (1)"]
    assert imported(path).report.parts[0].log.notes == notes
    assert imported(path, anonymous=True).report.parts[0].log.notes == ["3 speakers"]


@pytest.mark.parametrize("forced", [None, "subtitles"])
def test_subtitles_without_speakers_are_refused(put, imported, forced):
    cue = "00:00:01.000 --> 00:00:02.000\nhello\n\n"
    with pytest.raises(DataError, match=r"x.vtt: holds subtitles, but most do not name a speaker: write `Ann: text`"):
        imported(put("x.vtt", "WEBVTT\n\n" + 3 * cue), format=forced)


def test_subtitles_with_few_names_are_read_only_if_the_user_says_so(put, imported):
    texts = ["Ann: a", "b", "c", "d", "e", "f", "Bo: g", "h", "i", "j"]
    path = put("x.srt", "".join(f"{i}\n00:00:{i:02},0 --> 00:00:{i:02},9\n{text}\n\n" for i, text in enumerate(texts)))
    with pytest.raises(DataError, match="holds subtitles"):
        imported(path)
    assert imported(path, format="subtitles").said == [["Ann: a b c d e f", "Bo: g h i j"]]


def test_other_files_are_no_subtitles(put, imported):
    with pytest.raises(DataError, match=r"x.txt: is neither WebVTT nor SRT: no line of times"):
        imported(put("x.txt", "Ann: hi\nBo: yo\n"), format="subtitles")


def test_subtitles_are_no_transcript_in_a_folder_either(put, imported, tmp_path):
    for name in ("Ann", "Bo"):
        put(f"all/{name}.txt", f"{name}: hi\nCy: yo\n{name}: so\n")
    put("all/x.vtt", "WEBVTT\n\n" + 4 * "00:01.000 --> 00:02.000\nAnn: hi\n\n")
    result = imported(tmp_path / "all", format="transcript")
    assert len(result.said) == 2
    assert "1 files in another format (x.vtt)" in result.report.notes[0]


def test_only_tags_of_subtitles_are_removed(put, imported):
    tags = '<c.red.big>r</c> <I>i</I> <font color="red">f</font> <lang de>g</lang> <ruby>x<rt>y</rt></ruby> <00:01.5>z'
    texts = ("mail <ann@x.de> or <name>", "a <b and c> d, ?a=1&copy=2 &amp; <NAME>", tags)
    cues = "".join(f"00:0{number}.000 --> 00:09.000\nAnn: {text}\n\n" for number, text in enumerate(texts))
    result = imported(put("x.vtt", f"WEBVTT\n\n{cues}"), format="subtitles", merge=False)
    assert result.said == [
        [f"Ann: {text}" for text in (texts[0], "a <b and c> d, ?a=1&copy=2 & <NAME>", "r i f g xy z")]
    ]


@pytest.mark.parametrize("hours", ["9" * 5000, "9" * 400])
def test_a_time_with_many_digits_is_text(put, imported, hours):
    lines = f"00:01.000 --> 00:02.000\nAnn: hi\n{hours}:00:01.000 --> {hours}:00:02.000\n"
    result = imported(put("x.vtt", f"WEBVTT\n\n{lines}\n00:03.000 --> 00:04.000\nBo: yo\n"))
    assert [said[:8] for said in result.said[0]] == ["Ann: hi ", "Bo: yo"]


def test_a_voice_with_many_spaces_takes_little_time(put, imported):
    start = time.process_time()
    cue = f"00:01.000 --> 00:02.000\nAnn: hi <v{' ' * 40_000}x\n"
    assert imported(put("x.vtt", f"WEBVTT\n\n{cue}\n00:03.000 --> 00:04.000\nBo: yo\n")).said[0][-1] == "Bo: yo"
    assert time.process_time() - start < 5
