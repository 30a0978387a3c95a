"""Personal data is replaced by placeholders, what only resembles it is kept, and speakers stay different."""

from __future__ import annotations

import json
import sys
import time
import unicodedata

import pytest

from dialog_cvae.errors import ConfigError
from dialog_cvae.imports.assemble import SHORT_TEXT, SHORT_TOPIC
from dialog_cvae.imports.message import Log, Message
from dialog_cvae.imports.personal_data import Redaction
from dialog_cvae.imports.privacy import Privacy
from dialog_cvae.limits import MAX_TEXT_CHARS, MAX_TOPIC_CHARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ann.b+c@mail.example.org, or me", "mail <EMAIL>, or me"),
        ("(see https://x.org/a?b=1&c=d). Or www.x.org!", "(see <LINK>). Or <LINK>!"),
        ("t.me/garden and x.org/a are links", "<LINK> and <LINK> are links"),
        ("see http://intranet/users/ann", "see <LINK>"),
        ("e.g. and 3.5 and Mr.Smith and and/or are not", "e.g. and 3.5 and Mr.Smith and and/or are not"),
        ("card 4111 1111 1111 1111, or 4111-1111-1111-1111", "card <CARD>, or <CARD>"),
        ("order 4111 1111 1111 1112 is no card", "order 4111 1111 1111 1112 is no card"),
        ("4111 1111 1111 1111 12/27, and 4111 1111 1111 1111 123", "<CARD> 12/27, and <CARD> 123"),
        ("pay 100 4111 1111 1111 1111", "pay 100 <CARD>"),
        ("order 12 4111-1111-1111-1111- or 4111.1111.1111.1111", "order 12 <CARD>- or <CARD>"),
        ("4111\xa01111\xa01111\xa01111", "<CARD>"),
        ("4111 1111 1111 1111 5500 0000 0000 0004", "<CARD> <CARD>"),
        ("41111111111111111111 has too many digits", "41111111111111111111 has too many digits"),
        ("DE89\xa03704\xa00044\xa00532\xa00130\xa000", "<ACCOUNT>"),
        ("DE89 3704 0044 0532 0130 00 please", "<ACCOUNT> please"),
        ("to GB82WEST12345698765432.", "to <ACCOUNT>."),
        ("de89370400440532013000 is lower case", "<ACCOUNT> is lower case"),
        ("DE88 3704 0044 0532 0130 00 has wrong digits", "DE88 3704 0044 0532 0130 00 has wrong digits"),
        ("call +49 30 901820 or +1 (202) 555-0143", "call <PHONE> or <PHONE>"),
        ("hi @4915123456788, @12345 and a@4915123456788", "hi @<PHONE>, @12345 and a@4915123456788"),
        ("hi @\u2068+49 1512 3456788\u2069", "hi @\u2068<PHONE>\u2069"),
        ("https://x.org/@<NAME>/a and x.org/@<NAME>?", "<LINK> and <LINK>?"),
        ("in 2024 we had 1,000,000 of 12345", "in 2024 we had 1,000,000 of 12345"),
        ("already <EMAIL>", "already <EMAIL>"),
    ],
)
def test_kinds_of_personal_data(text, expected):
    assert Redaction()(text) == expected


@pytest.mark.parametrize(
    "text", ["1 ", "12345678 ", "12345678901234567890 ", "a@", "@1234567", "a.", "(1) ", "王.", "王@"]
)
def test_long_texts_take_little_time(text):
    start = time.process_time()
    Redaction()(text * 2000)
    assert time.process_time() - start < 2


def test_numbers_without_a_country_need_a_region():
    assert Redaction()("call 030 901820") == "call 030 901820"
    assert Redaction("DE")("call 030 901820") == "call <PHONE>"
    with pytest.raises(ConfigError, match="--region is 'de', not the two capital letters"):
        Redaction("de")


def test_names_of_a_list_in_any_case_and_whole():
    redact = Redaction(names=["Ann", "Bo  Li", "", "Zoë"])
    assert redact("ann's friend BO LI met Anna, zoë and Bo") == "<NAME>'s friend <NAME> met Anna, <NAME> and Bo"
    assert redact.counts == {"<NAME>": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("昨天和王伟吃饭, 我叫Ann。", "昨天和<NAME>吃饭, 我叫<NAME>。"),
        ("田中さんは", "<NAME>さんは"),
        ("คุณสมชายครับ", "คุณ<NAME>ครับ"),
        ("철수가 Ann이랑", "<NAME>가 <NAME>이랑"),
        ("アンケート, アン。", "アンケート, <NAME>。"),
        ("请看www.example.com/a 和example.com/b", "请看<LINK> 和<LINK>"),
        ("邮箱是ann@example.com谢谢, 王@例子.公司", "邮箱是<EMAIL>谢谢, <EMAIL>"),
        ("账号DE89370400440532013000谢谢", "账号<ACCOUNT>谢谢"),
        ("问@4915123456788吧", "问@<PHONE>吧"),
    ],
)
def test_personal_data_beside_letters_of_scripts_without_spaces(text, expected):
    assert Redaction(names=["王伟", "田中", "สมชาย", "철수", "アン", "Ann"])(text) == expected


def test_names_in_angle_brackets_but_not_those_of_placeholders():
    redact = Redaction(names=["Ann", "Card", "Name"])
    assert redact("<Ann> <card> 4111 1111 1111 1111, hi <NAME>") == "<<NAME>> <card> <CARD>, hi <NAME>"


def test_counts_are_by_kind():
    redact = Redaction()
    redact("a@b.org c@d.org https://x.org")
    assert redact.counts == {"<EMAIL>": 2, "<LINK>": 1}


def test_anonymous_speakers_are_letters_in_each_conversation():
    said = [Message("c", name, f"hi @Ann, {name}") for name in ("Ann", "Bo", "Ann")]
    found = Privacy(anonymous=True).applied(said, Log())
    assert [message.speaker for message in found] == ["A", "B", "A"]
    assert found[1].text == "hi @<NAME>, Bo"
    many = Privacy(anonymous=True).applied([Message("c", f"s{i}", "hi") for i in range(28)], Log())
    assert [message.speaker for message in many[24:]] == ["Y", "Z", "AA", "AB"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@Annabel, @ANN LEE or @ann lee's", "@<NAME>, @<NAME> or @<NAME>'s"),
        ("@carl, who is silent; (@bo_smith.x-1). @Zoë!", "@<NAME>, who is silent; (@<NAME>). @<NAME>!"),
        ("hi @\u2068Carl von Ort\u2069 and @\u2068Bo", "hi @<NAME> and @<NAME>"),
        ("@4915123456788 und 你好@小明 and hi@Bo", "@<NAME> und 你好@<NAME> and hi@<NAME>"),
        ("@here @Everyone @all, at 5 @ 3 @10pm", "@here @Everyone @all, at 5 @ 3 @10pm"),
        ("mail carl@bo.org or x.y@ann.de, ü@müller.de", "mail carl@bo.org or x.y@ann.de, ü@müller.de"),
        ("already @<NAME>", "already @<NAME>"),
        ("问@4915123456788吧, @all大家好", "问@<NAME>吧, @all大家好"),
    ],
)
def test_anonymous_mentions_name_no_one(text, expected):
    said = [Message("c", "Ann Lee", text), Message("c", "Bo", "yo")]
    assert Privacy(anonymous=True).applied(said, Log())[0].text == expected


def test_a_mention_in_a_link_is_replaced_with_the_link():
    said = [Message("c", "Ann", "see https://x.org/@Bo/page and x.org/@bo"), Message("c", "Bo", "yo")]
    assert Privacy(Redaction(), anonymous=True).applied(said, Log())[0].text == "see <LINK> and <LINK>"


def test_redacted_speakers_stay_different_and_profiles_follow_them():
    kept = {"speakers": {"+49 30 901820": {"age": 3}, "silent": {}}, "prompt": "mail a@b.org"}
    said = [
        Message("c", "+49 30 901820", "hi", topic="a@b.org", kept=kept),
        Message("c", "+49 30 901821", "hi"),
        Message("c", "Ann", "hi"),
    ]
    found = Privacy(Redaction()).applied(said, Log())
    assert [message.speaker for message in found] == ["<PHONE>", "<PHONE> 2", "Ann"]
    assert found[0].topic == "<EMAIL>"
    assert found[0].kept == {"speakers": {"<PHONE>": {"age": 3}}, "prompt": "mail <EMAIL>"}


def test_many_redacted_speakers_take_little_time():
    said = [Message("c", f"ann{number}@b.org", "hi") for number in range(1000)]
    start = time.process_time()
    found = Privacy(Redaction()).applied(said, Log())
    assert time.process_time() - start < 2
    assert [message.speaker for message in found[:3] + found[-1:]] == [
        "<EMAIL>",
        "<EMAIL> 2",
        "<EMAIL> 3",
        "<EMAIL> 1000",
    ]


def test_without_phonenumbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigError, match=r"need phonenumbers: pip install 'dialog-cvae\[import\]'"):
        Redaction()


def test_a_name_is_found_in_either_normal_form():
    names = [unicodedata.normalize("NFD", "Zoë Müller")]
    assert Redaction(names=names)("hi Zoë Müller") == "hi <NAME>"


def test_an_anonymous_topic_has_no_name_of_a_speaker():
    said = [Message("c", name, "hi", topic="Ann and bo's parcel") for name in ("Ann", "Bo")]
    assert Privacy(anonymous=True).applied(said, Log())[0].topic == "<NAME> and <NAME>'s parcel"
    said = [Message("c", name, "hi", topic="和王伟聊天") for name in ("王伟", "Bo")]
    assert Privacy(anonymous=True).applied(said, Log())[0].topic == "和<NAME>聊天"


def test_parts_of_telegram_that_name_a_person(put, imported):
    parts = {"mention": "@bo_smith", "mention_name": "Carl", "phone": "030 901820", "email": "a@b.org", "bold": "now"}
    text = [each for kind, part in parts.items() for each in ({"type": kind, "text": part}, " ")]
    said = [{"type": "message", "date_unixtime": "1", "from": name, "text": text} for name in ("Ann", "Bo")]
    path = put("result.json", json.dumps({"messages": said}))
    assert imported(path).said[0][0] == "Ann: @bo_smith Carl 030 901820 a@b.org now"
    result = imported(path, privacy=Privacy(anonymous=True), anonymous=True)
    assert result.said[0][0] == "A: @<NAME> <NAME> <PHONE> <EMAIL> now"


def test_what_placeholders_make_too_long_is_shortened(imported, put):
    said = [
        {"speaker": name, "text": "a@b.de " * (MAX_TEXT_CHARS // 7)}
        for name in (f"{'a@b.de ' * 28}{end}" for end in ("x", "y"))
    ]
    line = {"topic": "a@b.de " * (MAX_TOPIC_CHARS // 7), "utterances": said}
    result = imported(put("mine.jsonl", json.dumps(line)), privacy=Privacy(Redaction()))
    (found,) = result.lines
    assert [len(turn["text"]) for turn in found["utterances"]] == [MAX_TEXT_CHARS - 1] * 2  # a space at the end is cut
    assert len({turn["speaker"] for turn in found["utterances"]}) == 2
    assert len(found["topic"]) <= MAX_TOPIC_CHARS
    assert result.report.parts[0].log.changed == {SHORT_TEXT: 2, SHORT_TOPIC: 1}
