"""Mailboxes: which mails are together, what is left out, and what a broken mail does."""

from __future__ import annotations

import zipfile
from email.message import EmailMessage

import pytest

from dialog_cvae import console
from dialog_cvae.errors import DataError
from dialog_cvae.imports import mail
from dialog_cvae.imports.assemble import INVISIBLE
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.mail import BROKEN, COPIES
from dialog_cvae.imports.mail_head import DELETED, DIGESTS, PROGRAMS
from dialog_cvae.imports.source import open_source

ANN, BO, CY = "Ann Lee <ann@example.com>", "Bo Ray <bo@shop.example>", "cy@example.org"
MARK = "From MAILER Sat Jan 13 10:00:00 2024\n"


def letter(sender, to, subject, body, minute, number="", parents=(), **fields):
    """A mail as bytes; fields have underscores for dashes."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", f"Date: Sat, 13 Jan 2024 10:{minute:02}:00 +0000"]
    lines += [f"Message-ID: <{number}@x>"] if number else []
    lines += (
        [f"In-Reply-To: <{parents[-1]}@x>", "References: " + "\n ".join(f"<{p}@x>" for p in parents)] if parents else []
    )
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "", body, ""]).encode()


def box(*letters, mark=MARK):
    return b"\n".join(mark.encode() + each for each in letters)


ASKED = letter(ANN, BO, "Parcel", "Where is it?\n>From here it looks lost.", 0, "a1")
SAID = letter(BO, ANN, "Re: Parcel", "On its way.\n\nOn 13 Jan 2024 10:00, Ann wrote:\n> Where is it?", 5, "b1", ["a1"])
THANKS = letter(ANN, BO, "AW: Re: Parcel", "Thanks.\n-- \nAnn", 9, "a2", ["a1", "b1"])
TALK = ["Ann Lee: Where is it?\nFrom here it looks lost.", "Bo Ray: On its way.", "Ann Lee: Thanks."]


@pytest.mark.parametrize(
    "mark",
    [
        MARK,
        "From - Sat Jan 13 10:00:00 2024\n",
        "From 1788@xxx Sat Jan 13 10:00:00 +0000 2024\n",
        "From ann at example.com  Sat Jan 13 10:00:00 2024\n",
        "From \n",
        "From ann@example.com Sat Jan 13 10:00:00 2024\r\n",
    ],
)
def test_an_mbox(put, imported, mark):
    content = box(ASKED, SAID, THANKS, mark=mark)
    path = put("Inbox", content.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") if "\r" in mark else content)
    assert [kind.name for _, kind in recognised(open_source(path))] == ["mbox"]
    result = imported(path)
    assert result.said == [TALK]
    assert result.lines[0]["topic"] == "Parcel"
    assert result.left_out == {}


def test_a_byte_order_mark_and_blank_lines_above_the_first_mail(put, imported):
    above = b"\xef\xbb\xbf\r\n\n"
    assert imported(put("x.mbox", above + box(ASKED, SAID, THANKS))).said == [TALK]
    folder = put("mails/1.eml", above + ASKED.replace(b">From", b"From")).parent
    put("mails/2.eml", above + SAID)
    put("mails/3.eml", above + THANKS)
    assert imported(folder).said == [TALK]


def test_a_file_named_as_a_mail_needs_a_sender_and_a_date_only(put, imported):
    def mail_of(who, to, subject, clock, text):
        return f"From: {who}\nTo: {to}\nSubject: {subject}\nDate: Mon, 1 Jan 2024 {clock}:00 +0000\n\n{text}\n".encode()

    ann, bo = "Ann <ann@x.org>", "Bo <bo@x.org>"
    asked = mail_of(ann, bo, "Parcel", "10:00", "Where is it?")
    folder = put("mails/1.eml", asked).parent
    put("mails/2.eml", mail_of(bo, ann, "Re: Parcel", "11:00", "On its way."))
    assert imported(folder).said == [["Ann: Where is it?", "Bo: On its way."]]
    with pytest.raises(DataError, match="is in no known format"):
        imported(put("notes.txt", asked))


def test_the_order_of_the_file_does_not_matter(put, imported):
    assert imported(put("x.mbox", box(THANKS, SAID, ASKED))).said == [TALK]


def test_a_missing_mail_does_not_divide_a_thread(put, imported):
    assert imported(put("x.mbox", box(ASKED, THANKS))).said == [[TALK[0], TALK[2]]]
    siblings = [letter(who, BO, "Re: x", who[:2], 1 + i, f"s{i}", ["gone"]) for i, who in enumerate((ANN, CY))]
    assert imported(put("y.mbox", box(*siblings))).said == [["Ann Lee: An", "cy@example.org: cy"]]


def test_a_reply_that_names_no_mail_belongs_to_its_subject_and_people(put, imported):
    letters = [
        letter(ANN, BO, "Order", "I want one.", 0),
        letter(CY, BO, "Order", "I want two.", 1),
        letter(BO, CY, "RE: Order", "Two are gone.", 2),
        letter(BO, ANN, "WG: Re[2]: order", "Here is one.", 3),
        letter(ANN, BO, "Order", "I want another.", 4),
    ]
    expected = [
        ["Ann Lee: I want one.", "Bo Ray: Here is one."],
        ["cy@example.org: I want two.", "Bo Ray: Two are gone."],
    ]
    assert imported(put("x.mbox", box(*letters))).said == expected
    newest_first = imported(put("y.mbox", box(*letters[3::-1]))).said
    assert sorted(newest_first) == expected


def test_threads_of_gmail_and_exchange(put, imported):
    gmail = [letter(who, BO, f"s{i}", "hi", i, f"g{i}", X_GM_THRID="17") for i, who in enumerate((ANN, CY))]
    index = "AdpGAbCdEfGhIjKlMnOpQrStUvWxYz" + "A" * 10
    exchange = [
        letter(who, BO, f"t{i}", "yo", i, f"e{i}", Thread_Index=index + "B" * i) for i, who in enumerate((ANN, CY))
    ]
    said = [["Ann Lee: hi", "cy@example.org: hi"], ["Ann Lee: yo", "cy@example.org: yo"]]
    assert imported(put("x.mbox", box(*gmail, *exchange))).said == said


def test_what_no_person_wrote_is_left_out(put, imported):
    programs = [
        letter(CY, BO, "Re: Parcel", "away", 1, "p1", ["b1"], Auto_Submitted="auto-replied (vacation)"),
        letter(CY, BO, "Abwesenheitsnotiz: Parcel", "away", 1, "p2", ["b1"]),
        letter("MAILER-DAEMON@x", BO, "Undelivered", "back", 1, "p3", ["b1"]),
        letter(CY, BO, "Failure", "back", 1, "p4", ["b1"], Content_Type="multipart/report; boundary=x"),
        letter(CY, BO, "Re: Parcel", "back", 1, "p5", ["b1"], Return_Path="<>"),
    ]
    digests = [letter(CY, BO, "Garden Digest, Vol 3, Issue 1", "all", 1, "d1", ["a1"])]
    deleted = [
        letter(CY, BO, "Re: Parcel", "buy", 1, "s1", ["a1"], X_Gmail_Labels="Spam,Unread"),
        letter(CY, BO, "Re: Parcel", "old", 1, "s2", ["a1"], X_Mozilla_Status="0009"),
    ]
    result = imported(put("x.mbox", box(ASKED, *programs, SAID, *digests, SAID, *deleted, THANKS)))
    assert result.said == [TALK]
    assert result.left_out == {PROGRAMS: 5, DIGESTS: 1, DELETED: 2, COPIES: 1}


def test_answers_that_a_help_desk_sends_are_read(put, imported):
    answer = letter(BO, ANN, "[Shop] Re: [Shop] Parcel", "Done.", 3, "b7", ["a1"], Auto_Submitted="auto-generated")
    result = imported(put("x.mbox", box(letter(ANN, BO, "[Shop] Parcel", "Hi", 0, "a1"), answer)))
    assert result.said == [["Ann Lee: Hi", "Bo Ray: Done."]]
    assert result.lines[0]["topic"] == "[Shop] Parcel"


def test_names_and_subjects_in_encoded_words(put, imported):
    first = letter("=?utf-8?B?WsO8bGU=?= <z@x>", BO, "=?iso-8859-1?Q?Gr=FC=DFe?=\n =?utf-8?q?_an_Bo?=", "Hi", 0, "1")
    second = letter("z@x", BO, "Re: Gr", "Yo", 1, "2", ["1"])
    third = letter("\"'Bo Ray' via Help\" <help@x>", ANN, "Re: Gr", "So", 2, "3", ["1"])
    result = imported(put("x.mbox", box(first, second, third, letter("Zoë <q@x>", ANN, "é", "Ah", 3, "4", ["1"]))))
    assert result.said == [["Züle: Hi", "Züle: Yo", "Bo Ray: So", "Zoë: Ah"]]
    assert result.lines[0]["topic"] == "Grüße an Bo"


def built(text=None, html=None, charset="utf-8"):
    found = EmailMessage()
    found["From"], found["To"], found["Subject"], found["Message-ID"], found["In-Reply-To"] = (
        BO,
        ANN,
        "p",
        "<b@x>",
        "<a1@x>",
    )
    found["Date"] = "Sat, 13 Jan 2024 10:05:00 +0000"
    if text is not None:
        found.set_content(text, charset=charset)
    if html is not None:
        (found.add_alternative if text is not None else found.set_content)(html, subtype="html")
    return found


HTML = (
    "<html><head><style>p {}</style><title>no</title></head><body><!--[if mso]>no<![endif]--><p>On its\nway &amp; <b>"
    'safe</b>.</p><div class="gmail_quote"><div>On 13 Jan 2024 10:00, Ann &lt;a@b&gt; wrote:<br></div>'
    '<blockquote class="gmail_quote">Where <blockquote type="cite">old</blockquote>is it?</blockquote></div></body>'
)


def test_plain_text_comes_before_html_and_files_are_not_read(put, imported):
    plain, html, both = built("Plain."), built(None, HTML), built("Plain.", HTML)
    with_files = built("Plain.", HTML)
    with_files.add_attachment("not this", filename="log.txt")
    with_files.add_attachment(built("nor this"))
    for found, text in ((plain, "Plain."), (html, "On its way & safe."), (both, "Plain."), (with_files, "Plain.")):
        result = imported(put("x.mbox", box(ASKED, found.as_bytes())))
        assert result.said == [[TALK[0], f"Bo Ray: {text}"]]


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        # Outlook
        "<html xmlns:o='x'><body><p class=MsoNormal>On its way &amp; <b>safe</b>.<o:p></o:p></p><div style='x'><p>"
        "<b>From:</b> Ann<br><b>Sent:</b> Saturday, January 13, 2024 10:00 AM<br><b>To:</b> Bo<br><b>Subject:</b> p"
        "<o:p></o:p></p></div><p>Where is it?</p></body></html>",
        # Apple Mail
        'On its way &amp; safe.<div><blockquote type="cite"><div>On 13 Jan 2024, at 10:00, Ann &lt;a@b&gt; wrote:</div>'
        "Where?</blockquote></div>",
        # Thunderbird, with the answer below
        '<p>On 13.01.24 10:00, Ann wrote:<br></p><blockquote type="cite" cite="mid:x">Where?</blockquote><p>On its way'
        ' &amp; safe.</p><pre class="moz-signature">-- \nBo</pre>',
        # A block that does not end
        'On its way &amp; <tt>safe</tt>.<blockquote class="quote">Where?',
    ],
)
def test_html_without_earlier_mails(put, imported, body):
    result = imported(put("x.mbox", box(ASKED, built(None, body).as_bytes())))
    assert result.said == [[TALK[0], "Bo Ray: On its way & safe."]]


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-8", "koi8-r"])
def test_encodings(put, imported, charset):
    text = "Да, жду." if charset == "koi8-r" else "Schöne Grüße"
    assert imported(put("x.mbox", box(ASKED, built(text, charset=charset).as_bytes()))).said[0][1] == f"Bo Ray: {text}"


def test_text_whose_encoding_is_not_named(put, imported):
    for content, options, text in (
        ("Größe".encode(), {}, "Größe"),
        ("Größe “x”".encode("cp1252"), {}, "Größe “x”"),
        ("Жду".encode("cp1251"), {"encoding": "cp1251"}, "Жду"),
    ):
        reply = letter(BO, ANN, "Re: p", "", 1, "b", ["a1"]) + content
        assert imported(put("x.mbox", box(ASKED, reply)), **options).said[0][1] == f"Bo Ray: {text}"


def test_soft_line_ends(put, imported):
    body = "This is \none line.\n And this \nanother.\n\n> quoted \n> too\n-- \nBo"
    reply = letter(BO, ANN, "Re: p", body, 1, "b", ["a1"], Content_Type="text/plain; format=flowed")
    assert imported(put("x.mbox", box(ASKED, reply))).said[0][1] == "Bo Ray: This is one line.\nAnd this another."


def test_mails_that_only_quote_hold_a_thread_together(put, imported):
    only = letter(BO, ANN, "Re: Parcel", "> Where is it?", 5, "b1", ["a1"])
    result = imported(put("x.mbox", box(ASKED, only, letter(ANN, BO, "x", "Thanks.", 9, "a2", ["b1"]))))
    assert result.said == [[TALK[0], TALK[2]]]
    assert result.left_out == {INVISIBLE: 1}


def test_broken_mails_are_counted(put, imported):
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(2000))
    broken = [letter(CY, BO, "x", "", 1, "c1").rstrip() + b"\n" + deep.encode(), b"Subject: nobody\n\nhi\n"]
    strange = letter(CY, BO, "=?x?B?===?=", "Ok", 2, "c2", ["a1"], Content_Type='text/plain; charset="rot13"')
    strange = strange.replace(b"Date: Sat, 13", b"Date: Foo, 99")
    result = imported(put("x.mbox", box(ASKED, *broken, SAID, strange)))
    assert result.said == [[*TALK[:2], "cy@example.org: Ok"]]
    assert result.left_out == {BROKEN: 2}


def test_long_mails_are_read_to_a_limit(put, imported, monkeypatch):
    monkeypatch.setattr(mail, "_CHUNK", 700)
    monkeypatch.setattr(mail, "_MOST_MARK", 200)
    monkeypatch.setattr(mail, "_MAX_MAIL", 3000)
    long = letter(CY, BO, "Re: Parcel", "word\n" * 2000, 2, "c", ["a1"])
    result = imported(put("x.mbox", box(ASKED, long, SAID, THANKS)))
    assert [result.said[0][0], *result.said[0][2:]] == TALK
    assert 2000 < len(result.said[0][1]) < 3000


def test_a_line_that_only_looks_like_a_mark(put, imported):
    body = "From me, at 10:00 in 2024\nthis: comes\nFrom Sat to Sun\nso: on\n"
    body += "\nFrom ann Sat Jan 13 10:00:00 2024\nno header\nFrom x"
    reply = letter(BO, ANN, "Re: p", body, 1, "b", ["a1"])
    said = imported(put("x.mbox", box(ASKED, reply))).said[0][1]
    assert said.endswith("no header\nFrom x")


def test_a_folder_of_mailboxes_is_one_export(put, tmp_path, imported):
    put("mail/Inbox", box(ASKED, THANKS))
    put("mail/Inbox.msf", "index")
    put("mail/sent/1.eml", SAID)
    put("mail/cur/17.M1P2.host,S=1:2,S", letter(CY, BO, "Re: p", "me too", 10, "c", ["a1"]))
    put("mail/t.csv", "conversation,speaker,text\n1,A,hi\n1,B,yo\n")
    with zipfile.ZipFile(tmp_path / "mail.zip", "w") as archive:
        for name in ("Inbox", "sent/1.eml", "cur/17.M1P2.host,S=1:2,S"):
            archive.write(tmp_path / "mail" / name, name)
    assert [kind.name for _, kind in recognised(open_source(tmp_path / "mail"))] == ["mail", "csv"]
    talk = [*TALK, "cy@example.org: me too"]
    assert imported(tmp_path / "mail").said == [talk, ["A: hi", "B: yo"]]
    assert imported(tmp_path / "mail.zip").said == [talk]
    assert imported(tmp_path / "mail", format="mail").said == [talk]


@pytest.mark.parametrize(
    "content",
    [
        "From: Ann\nTo: Bo\nSubject: x\n\nhi\n",
        "From here on, at 10:00 in 2024\nAnn: hi\nBo: yo\nAnn: so\n",
        "Ann: hi\nBo: yo\nAnn: so\n",
        '{"From": "a"}',
        "From,To,Date\na,b,c\n",
    ],
)
def test_other_texts_are_no_mailbox(put, content):
    source = open_source(put("x.txt", content))
    assert not mail.FILE_FORMAT.recognise(source)
    with pytest.raises(DataError, match=r"x\.txt: is no mailbox: its first line must begin a mail"):
        list(mail.FILE_FORMAT.read(source, None, None))


def test_a_single_mail_is_no_conversation(put, imported):
    with pytest.raises(
        DataError, match=r"x\.eml: no conversation of two or more messages \(1 conversations of a single"
    ):
        imported(put("x.eml", ASKED))


def test_the_command_line(put, tmp_path, capsys):
    path, out = put("x.mbox", box(ASKED, SAID, THANKS)), tmp_path / "mine.jsonl"
    assert console.main(["import", str(path), "--out", str(out), "--redact", "--anonymous"]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: a mailbox\n  a conversation is a mail and all replies to it; quoted mails and sign" in printed
    assert '"speaker": "A"' in out.read_text()
    assert console.main(["check", str(path), "--cache", "off"]) == 1  # too few conversations for three splits
    assert "read as       a mailbox\n" in capsys.readouterr().out
