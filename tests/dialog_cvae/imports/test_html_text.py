"""HTML in texts of tables and JSON becomes plain text; everything else stays as it is."""

from __future__ import annotations

import json
import time

import pytest

from dialog_cvae.imports.html_text import WITH_HTML, without_html
from dialog_cvae.imports.message import Log
from dialog_cvae.imports.personal_data import Redaction
from dialog_cvae.imports.privacy import Privacy
from dialog_cvae.text.placeholders import PLACEHOLDERS


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>Hi&nbsp;Ann,</p><p>1 &lt; 2 &amp; 3</p>", "Hi Ann,\n1 < 2 & 3"),
        ("a<br>b<BR/>c<br />d", "a\nb\nc\nd"),
        ("a<br>\n<br>\n<br>b", "a\n\nb"),
        ('<div class="x">one</div>\n<div>two</div>', "one\ntwo"),
        ("<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
        ("Hello<div>How are you?</div>", "Hello\nHow are you?"),
        ("<p>First<p>Second", "First\nSecond"),
        ("Steps:<ul><li>one</li><LI>two", "Steps:\none\ntwo"),
        ("<table><tr><td>Order</td> <td>4711</td></tr><tr><th>a<th>b</table>", "Order 4711\na b"),
        ("Yes. <br> No", "Yes.\nNo"),
        ("<p>?a=1&region=de&copy=2 &copy;&copy2;&#65;&#x41; &nosuch;", "?a=1&region=de&copy=2 ©&copy2;AA &nosuch;"),
        ("<p>if a <b and c> d then print</p>", "if a <b and c> d then print"),
        ('<p><a title="a > b" href=x>this</a>', "this"),
        ("<p>see <!-- a -->b<!-- c<script>d</script>", "see b<!-- c"),
        ('<p>see <a href="<LINK>">this</a>', "see <LINK> this"),
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
        *("What is the difference between <div> and <span>?", "Use <br>.", "(<br>)", "if a <b and c> d then print"),
        *("std::vector<int> a;", "use `<br>` there", "```html\n<div>\n<p>x</p>\n```", "<p", "1<a and c>href"),
    ],
)
def test_other_text_stays(text):
    log = Log()
    assert without_html(text, log) == text
    assert not log.changed


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_placeholders_stay_in_html(name):
    text = f"{name}<p>{name}</p><td>{name}</td><td>{name}</td><li><b>{name}</b>"
    assert without_html(text, Log()) == f"{name}\n{name}\n{name} {name}\n{name}"


def test_long_text_of_open_tags_takes_little_time():
    start = time.process_time()
    for piece in ("<!--", "<script ", "<script>", "<style>", " ", "<br ", "<LINK>", "&", "<p a=\"<LINK>'"):
        without_html("<p>a" + piece * (200_000 // len(piece)) + "b", Log())
        without_html('<p>a<a href="' + piece * (200_000 // len(piece)) + "b", Log())
    for piece in ("<p a=", "<p a='", '<p a="', "<a ", "<a x ", "<!--", "<style>", "<p>`", "<p>```", "<br" + " " * 50):
        without_html("<p>" + piece * (20_000 // len(piece)), Log())
    assert time.process_time() - start < 20


def test_names_are_found_after_html_is_removed(put, imported):
    path = put("t.csv", "conversation,speaker,text\n1,A,Dear<div>Ann</div>\n1,B,<td>Ann</td><td>x@y.org</td>\n")
    assert imported(path, privacy=Privacy(Redaction(names=["Ann"]))).said == [["A: Dear\n<NAME>", "B: <NAME> <EMAIL>"]]


@pytest.mark.parametrize("fields", [("role", "content"), ("from", "value"), ("prompt", "completion")])
def test_texts_of_assistants_stay(put, imported, fields):
    said = "<p>What is the difference between <div> and <span>?</p>", "Use <br>."
    turns = [dict(zip(fields, turn, strict=True)) for turn in zip(("user", "assistant"), said, strict=True)]
    record = dict(zip(fields, said, strict=True)) if "prompt" in fields else {"messages": turns}
    result = imported(put("t.json", json.dumps([record])))
    assert result.said == [[f"user: {said[0]}", f"assistant: {said[1]}"]]


def test_html_in_tables_and_turns_is_counted(put, imported):
    table = put("t.csv", "conversation,speaker,text\n1,A,<p>hi</p>\n1,B,a<br>b\n1,A,1 < 2\n")
    turns = [{"speaker": "user", "text": "<p>hi</p>"}, {"speaker": "assistant", "text": [{"text": "a<br>b"}]}]
    for path, said in (
        (table, ["A: hi", "B: a\nb", "A: 1 < 2"]),
        (put("t.json", json.dumps({"messages": turns})), ["user: hi", "assistant: a\nb"]),
    ):
        result = imported(path)
        assert result.said == [said]
        assert f"  2 {WITH_HTML}" in result.report.lines()
