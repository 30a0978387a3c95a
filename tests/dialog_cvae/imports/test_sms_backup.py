"""SMS Backup & Restore: a whole backup, groups, what is left out, and XML that is refused."""

from __future__ import annotations

import re
import zipfile

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports import source
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA
from dialog_cvae.imports.sms_backup import UNSENT
from dialog_cvae.imports.source import File, open_source
from dialog_cvae.imports.xml_stream import tags

ANN, BO = "+4930111111", "+4930222222"
HEAD = """<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>
<!--File Created By SMS Backup & Restore v10.19.015 on 02/01/2024 10:00:00-->
<?xml-stylesheet type="text/xsl" href="sms.xsl"?>
<smses count="9" backup_set="6a0b" backup_date="1704190000000" type="full">
"""


def sms(box: int, minute: int, body: str, address: str = ANN, name: str = "Ann Lee") -> str:
    """A message as the program writes it, some minutes after 10 o'clock."""
    return (
        f'  <sms protocol="0" address="{address}" date="{1704186000000 + 60000 * minute}" type="{box}" '
        f'subject="null" body="{body}" toa="null" sc_toa="null" service_center="null" read="1" status="-1" locked="0" '
        f'date_sent="0" sub_id="1" readable_date="2 Jan 2024 10:00:00" contact_name="{name}" />\n'
    )


def mms(box: int, minute: int, text: str, sender: str, address: str = f"{ANN}~{BO}", name: str = "Ann Lee, Bo") -> str:
    """A message with a picture, and with a text unless it is empty."""
    part = f'      <part seq="0" ct="text/plain" name="null" chset="106" text="{text}" />\n' if text else ""
    return (
        f'  <mms date="{1704186000000 + 60000 * minute}" rr="null" sub="null" ct_t="application/vnd.wap.multipart" '
        f'msg_box="{box}" address="{address}" m_type="132" readable_date="2 Jan 2024" contact_name="{name}">\n'
        '    <parts>\n      <part seq="-1" ct="application/smil" text="&lt;smil&gt;&lt;/smil&gt;" />\n'
        f'{part}      <part seq="0" ct="image/jpeg" name="a.jpg" text="null" data="/9j/4AAQSkZJRg==" />\n    </parts>\n'
        f'    <addrs>\n      <addr address="{sender}" type="137" charset="106" />\n'
        f'      <addr address="{ANN}" type="151" charset="106" />\n    </addrs>\n  </mms>\n'
    )


def backup(*messages: str) -> str:
    return f"{HEAD}{''.join(messages)}</smses>\n"


TWO = backup(sms(1, 0, "hi"), sms(2, 1, "yo"))


def kind(path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


def test_a_backup(put, imported):
    path = put(
        "sms-20240102.xml",
        backup(
            sms(1, 0, "hi &#55357;&#56842; &lt;3&#10;&quot;you&quot; &amp; me"),
            sms(2, 1, "yo"),
            sms(1, 2, "code 123", "MYBANK", "(Unknown)"),
            sms(2, 3, "thanks", "MYBANK", "(Unknown)"),
            sms(3, 4, "a draft"),
            sms(5, 5, "not sent"),
            sms(1, 6, "there?", "+49 (30) 111-111"),
            sms(1, 600, "late"),
            sms(2, 601, "good night"),
            mms(1, 2, "", "null"),
        ),
    )
    assert kind(path) == "sms-backup"
    result = imported(path)
    assert result.said == [
        ['Ann Lee: hi 😊 <3\n"you" & me', "Me: yo", "Ann Lee: there?"],
        ["Ann Lee: late", "Me: good night"],
        ["MYBANK: code 123", "Me: thanks"],
    ]
    assert [line["id"] for line in result.lines] == ["1:Ann Lee", "2:Ann Lee", "3:MYBANK"]
    assert result.left_out == {UNSENT: 2, MEDIA: 1}


def test_a_number_of_a_contact_may_lack_the_code_of_the_country(put, imported):
    path = put(
        "sms.xml",
        backup(
            sms(1, 0, "hi", "+4930111111"),
            sms(2, 1, "yo", "030 111111"),
            sms(1, 2, "code", "+4940333333", "(Unknown)"),
            sms(2, 3, "to whom?", "040333333", "(Unknown)"),
        ),
    )
    result = imported(path)
    assert result.said == [["Ann Lee: hi", "Me: yo"]]
    assert [line["id"] for line in result.lines] == ["1:Ann Lee"]


def test_messages_to_a_group_have_the_sender_of_each(put, imported):
    path = put(
        "sms.xml",
        backup(
            mms(1, 0, "who comes?", BO),
            mms(2, 1, "I do", "insert-address-token"),
            mms(1, 2, "me too", ANN, f"{BO}~{ANN}", "Bo, Ann Lee"),
            mms(1, 3, "and I", "+4930333333"),
            sms(1, 90, "hi"),
            sms(2, 91, "hi"),
            mms(1, 92, "look", ANN, ANN, "Ann Lee"),
        ),
    )
    result = imported(path)
    # Bo wrote no message to the owner alone, so the number is not known to be Bo's.
    group = [f"{BO}: who comes?", "Me: I do", "Ann Lee: me too", "+4930333333: and I"]
    assert result.said == [group, ["Ann Lee: hi", "Me: hi", "Ann Lee: look"]]
    assert [line["id"] for line in result.lines] == ["1:Ann Lee, Bo", "2:Ann Lee"]


def test_numbers_of_known_contacts_are_left_out(put, imported):
    assert ANN not in str(imported(put("sms.xml", TWO)).lines)


def test_in_an_archive(tmp_path, imported):
    path = tmp_path / "phone.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("backup/sms-1.xml", TWO)
        archive.writestr("backup/calls-1.xml", "<calls count='0'></calls>")
    result = imported(path)
    assert result.said == [["Ann Lee: hi", "Me: yo"]]
    assert result.report.notes == [f"{path}: passed over: 1 files in no known format (backup/calls-1.xml)"]


BOMB = '<!DOCTYPE smses [<!ENTITY a "ha">\n<!ENTITY b "&a;&a;&a;&a;">]>\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TWO[:-40], "sms.xml, line 6: the file ends too early"),
        (TWO[: len(HEAD) + 60], "sms.xml, line 5: the file ends too early"),
        (TWO.replace('type="2"', "type=2"), "sms.xml, line 6: not XML: not well-formed (invalid token)"),
        (TWO.replace("yo", "&nbsp;"), "sms.xml, line 6: not XML: undefined entity"),
        (TWO.replace('type="2"', 'kind="2"'), "sms.xml, line 6: sms: has no attribute 'type'"),
        (TWO.replace("1704186060000", "noon"), "sms.xml, line 6: sms: the time 'noon' is not ISO 8601"),
        (TWO.replace("<smses", BOMB + "<smses"), "sms.xml, line 4: declares a document type (DOCTYPE), which is not"),
        (TWO + "<smses/>", "sms.xml, line 8: not XML: junk after document element"),
    ],
)
def test_a_broken_backup_is_refused(put, imported, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        imported(put("sms.xml", content))


def test_another_xml_file_is_refused(put, imported):
    calls = put("calls.xml", "<?xml version='1.0'?>\n<calls count='1'><call number='1'/></calls>")
    with pytest.raises(DataError, match=r"calls\.xml: is in no known format"):
        imported(calls)
    with pytest.raises(DataError, match=r"calls\.xml, line 2: is no backup of SMS and MMS: it begins with <calls>"):
        imported(calls, format="sms-backup")


def test_a_web_page_is_no_backup(put, imported):
    with pytest.raises(DataError, match="is a web page"):
        imported(put("x.xml", "<!DOCTYPE html>\n<html><body><smses></smses></body></html>"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 13, 29, 30, 31, 40, 1000])
def test_characters_in_two_references_that_a_piece_cuts(put, monkeypatch, size):
    text = "a&#55357;&#56842;&#xD83D;&#xDE0A;&#55357;b&#11;&#10;&amp;&#8205;&#99999999;c"
    path = put("x.xml", f'<r t="{text.replace("&#99999999;", "")}"/>')
    monkeypatch.setattr(source, "CHUNK", size)
    found = list(tags(File(str(path), "x.xml", lambda: path.open("rb")), None))
    assert [tag.fields for tag in found] == [{"t": "a😊😊b\n&\u200dc"}, None]
