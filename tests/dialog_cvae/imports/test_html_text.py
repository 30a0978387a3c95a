"""HTML in texts of tables and JSON becomes plain text; everything else stays as it is."""

from __future__ import annotations

import json
import time

import pytest

from dialog_cvae.imports.html_text import WITH_HTML, without_html
from dialog_cvae.imports.message import Log


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>Hi&nbsp;Ann,</p><p>1 &lt; 2 &amp; 3</p>", "Hi Ann,\n1 < 2 & 3"),
        ("a<br>b<BR/>c<br />d", "a\nb\nc\nd"),
        ("a<br>\n<br>\n<br>b", "a\n\nb"),
        ('<div class="x">one</div>\n<div>two</div>', "one\n\ntwo"),
        ("<ul><li>one</li><li>two</li></ul>", "<ul><li>one</li><li>two</li></ul>"),
        ("<div><ul><li>one</li><li>two</li></ul></div>", "one\ntwo"),
        ('see <a href="https://x.org/?a=1&amp;b=2" target=_blank>this</a> <b>now</b>', "see this now"),
        ("<span style='color:red'>red</span><td nowrap><style>p {a: b}</style><!-- no -->", "red"),
        ("<p>write to <EMAIL> or &lt;br&gt; <3 <unk></p>", "write to <EMAIL> or <br> <3 <unk>"),
        ("<p>a</p>`<p>` and\n```\n<div>&amp;</div>\n```", "a\n`<p>` and\n```\n<div>&amp;</div>\n```"),
    ],
)
def test_tags_become_lines_or_nothing(text, plain):
    log = Log()
    assert without_html(text, log) == plain
    assert log.changed[WITH_HTML] == (text != plain)


@pytest.mark.parametrize(
    "text",
    [
        *("a < b", "I <3 you", "<unk>", "<EMAIL> &amp; <PHONE>", "if (a<p && b>c) {}", "x <b>bold</b>", "a <brave> b"),
        *("std::vector<int> a;", "use `<br>` there", "```html\n<div>\n<p>x</p>\n```", "<p", "1<a and c>href"),
    ],
)
def test_other_text_stays(text):
    log = Log()
    assert without_html(text, log) == text
    assert not log.changed


def test_long_text_of_open_tags_takes_little_time():
    start = time.process_time()
    for piece in ("<p a=", "<p a='", '<p a="', "<a ", "<a x ", "<!--", "<style>", "<p>`", "<p>```", "<br" + " " * 50):
        without_html("<p>" + piece * (20_000 // len(piece)), Log())
    assert time.process_time() - start < 20


def test_html_in_tables_and_turns_is_counted(put, imported):
    table = put("t.csv", "conversation,speaker,text\n1,A,<p>hi</p>\n1,B,a<br>b\n1,A,1 < 2\n")
    turns = [{"role": "user", "content": "<p>hi</p>"}, {"role": "assistant", "content": [{"text": "a<br>b"}]}]
    for path, said in (
        (table, ["A: hi", "B: a\nb", "A: 1 < 2"]),
        (put("t.json", json.dumps({"messages": turns})), ["user: hi", "assistant: a\nb"]),
    ):
        result = imported(path)
        assert result.said == [said]
        assert f"  2 {WITH_HTML}" in result.report.lines()
