"""Each format: recognised by its content, read into the right conversations, and what is left out is counted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.assemble import NAMELESS
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import BOTS, MEDIA, SYSTEM, TURNS
from dialog_cvae.imports.source import open_source

CHAT = {
    "id": "c1",
    "messages": [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "a dog"},
    ],
}
SHAREGPT = [
    {"id": "s1", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
    {"id": "s2", "conversations": [{"from": "system", "value": "x"}, {"from": "human", "value": "hi"}]},
]
TELEGRAM = {
    "name": "Garden",
    "type": "private_group",
    "id": 1,
    "messages": [
        {"id": 1, "type": "service", "date_unixtime": "100", "actor": "Ann", "action": "create_group", "text": ""},
        {"id": 2, "type": "message", "date_unixtime": "100", "from": "Ann", "from_id": "user1", "text": "hi"},
        {
            "id": 3,
            "type": "message",
            "date_unixtime": "160",
            "from": "Bo",
            "from_id": "user2",
            "text": ["see ", {"type": "link", "text": "x.org"}, "!"],
        },
        {
            "id": 4,
            "type": "message",
            "date_unixtime": "170",
            "from": "Bo",
            "from_id": "user2",
            "photo": "p",
            "text": "",
        },
        {"id": 5, "type": "message", "date_unixtime": "99999", "from": "Ann", "from_id": "user1", "text": "late"},
        {"id": 6, "type": "message", "date_unixtime": "99999", "from": None, "from_id": "user3", "text": "?"},
    ],
}
DISCORD = {
    "guild": {"id": "1", "name": "G"},
    "channel": {"id": "2", "name": "help", "topic": None},
    "messages": [
        {"id": "1", "type": "Default", "timestamp": "2024-01-01T10:00:00+00:00", "content": "it fails"}
        | {"author": {"id": "7", "name": "ann", "nickname": "Ann", "isBot": False}},
        {"id": "2", "type": "Default", "timestamp": "2024-01-01T10:01:00.1234567+00:00", "content": "beep"}
        | {"author": {"id": "8", "name": "bot", "isBot": True}},
        {"id": "3", "type": "ChannelPinnedMessage", "timestamp": "2024-01-01T10:01:00+00:00", "content": "Pinned"}
        | {"author": {"id": "9", "name": "bo", "isBot": False}},
        {"id": "4", "type": "Reply", "timestamp": "2024-01-01T10:02:00+00:00", "content": "try again"}
        | {"author": {"id": "9", "name": "bo", "isBot": False}},
    ],
}
SLACK = {
    "users.json": [{"id": "U1", "name": "ann", "profile": {"display_name": "Ann"}}, {"id": "U2", "name": "bo"}],
    "channels.json": [{"id": "C1", "name": "help"}],
    "help/2023-12-31.json": [],
    "help/2024-01-02.json": [
        {"type": "message", "user": "U2", "text": "thread answer", "ts": "1704186000.0", "thread_ts": "1704100000.0"},
    ],
    "help/2024-01-01.json": [
        {"type": "message", "user": "U1", "text": "a thread?", "ts": "1704100000.0", "thread_ts": "1704100000.0"},
        {"type": "message", "subtype": "channel_join", "user": "U2", "text": "joined", "ts": "1704100001.0"},
        {"type": "message", "user": "U2", "text": "hi <@U1>, 1 &lt; 2 <https://x.org|x>", "ts": "1704100002.0"},
        {
            "type": "message",
            "subtype": "bot_message",
            "bot_id": "B1",
            "username": "bot",
            "text": "beep",
            "ts": "1704100003.0",
        },
        {"type": "message", "user": "U1", "text": "", "files": [{}], "ts": "1704100004.0"},
        {"type": "message", "user": "U1", "text": "yes", "ts": "1704100005.0"},
    ],
}
CONVOKIT = [
    {"id": "u1", "conversation_id": "u1", "speaker": "ann", "text": "one", "timestamp": 5, "meta": {}},
    {"id": "v1", "conversation_id": "v1", "speaker": "cy", "text": "other", "timestamp": 6},
    {"id": "u3", "conversation_id": "u1", "speaker": "ann", "text": "three", "timestamp": 9, "reply-to": "u2"},
    {"id": "u2", "conversation_id": "u1", "speaker": "bo", "text": "two", "timestamp": 7, "reply-to": "u1"},
]
SCHEMA_GUIDED = [
    {
        "dialogue_id": "1_00000",
        "services": ["Hotels_2", "Buses_1", "Hotels_4"],
        "turns": [
            {
                "frames": [{"service": "Hotels_2"}, {"actions": [{"act": "INFORM"}, {"act": "REQUEST"}]}],
                "speaker": "USER",
                "utterance": "a room",
            },
            {"frames": [], "speaker": "SYSTEM", "utterance": "where?"},
        ],
    },
    {
        "dialogue_id": "1_00001",
        "turns": [
            {"frames": 5, "speaker": "user", "utterance": "hi", "turn_id": "0"},
            {"frames": [5, {"actions": [5, {"act": 5}, {"act": " "}]}], "speaker": "Wizard", "utterance": "hello"},
        ],
    },
]
WHATSAPP = "[13.01.24, 10:00:00] Ann: hi\n[13.01.24, 10:00:02] Bo: there\n"
CSV = """\
ticket_id;author;body;created_at
1;Ann;"hello; you";2024-01-01 10:05
2;Cy;hey;1704103200
1;Bo;hi;2024-01-01 10:00
2;Di;"two
lines";1704103201
"""


def lines(*objects: object) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


def kind(path: Path) -> str:
    ((_, found),) = recognised(open_source(path))
    return found.name


def test_chat_completion(put, imported):
    path = put("chat.jsonl", lines(CHAT))
    assert kind(path) == "chat-completion"
    result = imported(path)
    assert result.said == [["user: look", "assistant: a dog"]]
    assert result.left_out == {TURNS: 3}
    assert result.lines[0]["id"] == "1:c1"


@pytest.mark.parametrize(
    "content",
    [json.dumps(SHAREGPT, indent=1), lines(*SHAREGPT), "".join(json.dumps(each, indent=2) for each in SHAREGPT)],
)
def test_sharegpt_as_a_list_and_as_objects(put, imported, content):
    path = put("talks.json", content)
    assert kind(path) == "sharegpt"
    result = imported(path)
    assert result.said == [["user: hi", "assistant: hello"]]
    assert result.left_out == {TURNS: 1}
    assert result.report.parts[0].log.changed == {"conversations of a single message, which has no reply": 1}


@pytest.mark.parametrize("content", [json.dumps(SCHEMA_GUIDED, indent=2), lines(*SCHEMA_GUIDED)])
def test_schema_guided_dialogues(put, imported, content):
    path = put("train/dialogues_001.json", content)
    put("train/schema.json", json.dumps([{"service_name": "Hotels_2", "slots": [{"name": "city"}]}]))
    assert kind(path) == "schema-guided"
    for source in (path, path.parent):  # the schema beside it is passed over
        result = imported(source)
        assert result.said == [["customer: a room", "agent: where?"], ["customer: hi", "Wizard: hello"]]
    first, second = result.lines
    assert (first["id"], first["topic"]) == ("1:1_00000", "hotels, buses")
    assert [u.get("dialog_act") for line in result.lines for u in line["utterances"]] == ["INFORM", None, None, None]
    assert "topic" not in second
    assert result.report.parts[0].log.notes == ["USER is read as customer, SYSTEM as agent"]


@pytest.mark.parametrize(
    ("services", "topic"),
    [(["Hotels_1"], "hotels"), (["hotel", "train"], "hotel, train"), ([], None), (["7", " "], None)],
)
def test_services_become_a_topic(put, imported, services, topic):
    (line,) = imported(put("d.json", json.dumps([SCHEMA_GUIDED[0] | {"services": services}]))).lines
    assert line.get("topic") == topic


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_csv_of_interleaved_conversations_in_the_order_of_times(put, imported, separator):
    quoted = CSV.replace("hello; you", "hello\0 you").replace(";", separator).replace("\0", ";")
    path = put("tickets.csv", quoted)
    assert kind(path) == "csv"
    result = imported(path)
    assert result.said == [["Bo: hi", "Ann: hello; you"], ["Cy: hey", "Di: two\nlines"]]
    assert [line["id"] for line in result.lines] == ["1:1", "2:2"]
    assert "conversation=ticket_id, speaker=author, text=body, time=created_at" in "\n".join(result.report.lines())


@pytest.mark.parametrize("head", ["sep=;\r\n", '"sep=;"\n', "\ufeffSEP=;\n"])
def test_a_line_that_names_the_separator_is_no_header(put, imported, head):
    path = put("t.txt", head + "a, b, c;speaker;text\n1;Ann;hi\n1;Bo;yo\n")
    assert kind(path) == "csv"
    assert imported(path).said == [["Ann: hi", "Bo: yo"]]


def test_a_separator_within_quotes_is_none(put, imported):
    path = put("t.csv", '"text, shown, to";speaker\n"hi, you";A\nyo;B\n')
    assert imported(path, columns={"text": "text, shown, to"}).said == [["A: hi, you", "B: yo"]]


def test_a_cell_with_lines_of_a_chat_does_not_make_a_chat_of_a_table(put, imported):
    pasted = 'conversation,speaker,text\n1,A,"look:\n13/01/24, 10:00 - Ann: hi"\n1,B,yo\n'
    assert imported(put("t.csv", pasted)).said == [["A: look:\n13/01/24, 10:00 - Ann: hi", "B: yo"]]
    assert kind(put("chat.csv", WHATSAPP)) == "whatsapp"


def test_columns_that_the_user_names(put, imported):
    path = put("odd.csv", "k,who,said,about\n1,Ann,hi,pets\n1,Bo,ho,pets\n")
    with pytest.raises(DataError, match=r"no column looks like the speaker: name it, as in --column speaker=NAME.*who"):
        imported(path)
    with pytest.raises(DataError, match="has no column 'sayd'; did you mean 'said'"):
        imported(path, columns={"text": "sayd"})
    columns = {"conversation": "k", "speaker": "who", "text": "said", "topic": "about"}
    result = imported(path, columns=columns)
    assert result.said == [["Ann: hi", "Bo: ho"]]
    assert result.lines[0]["topic"] == "pets"


def test_a_table_without_conversations_is_divided_by_silence(put, imported):
    rows = "".join(f"{name},{name} {time},{time}\n" for time, name in ((0, "A"), (60, "B"), (90000, "A"), (90060, "B")))
    path = put("log.csv", "speaker,text,time\n" + rows)
    assert len(imported(path).said) == 2
    assert len(imported(path, gap=0.0).said) == 1


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-8-sig", None), ("utf-16", None), ("utf-16-le", None), ("cp1252", "cp1252")]
)
def test_encodings(put, imported, encoding, named):
    content = "conversation,speaker,text\n" + "1,Zoë,café and a longer line\n1,Bo,sí\n"
    result = imported(put("t.csv", content.encode(encoding)), encoding=named)
    assert result.said == [["Zoë: café and a longer line", "Bo: sí"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_named_encoding_does_not_replace_a_recognised_one(put, imported, encoding):
    content = "conversation,speaker,text\n" + "1,Zoë,café and a longer line\n1,Bo,sí\n"
    result = imported(put("t.csv", content.encode(encoding)), encoding="cp1252")
    assert result.said == [["Zoë: café and a longer line", "Bo: sí"]]
    said = encoding.removesuffix("-sig").upper()
    assert result.report.parts[0].log.notes[0] == f"the text is {said}, so that --encoding is not used"


def test_a_named_encoding_that_gives_ascii_another_meaning_is_used(put, imported):
    content = "conversation,speaker,text\n1,A,日本\n1,B,語\n".encode("iso-2022-jp")
    assert content.isascii()
    assert imported(put("t.csv", content), encoding="iso-2022-jp").said == [["A: 日本", "B: 語"]]


def test_parquet_with_columns(tmp_path, imported):
    table = pa.table(
        {
            "dialog_id": [1, 2, 1, 2],
            "speaker": pa.array(["A", "A", "B", "B"]).dictionary_encode(),
            "text": ["a", "b", "c", "d"],
            "time": pa.array([1, 2, 3, 4], pa.timestamp("ns")),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    assert kind(tmp_path / "t.parquet") == "parquet"
    assert imported(tmp_path / "t.parquet").said == [["A: a", "B: c"], ["A: b", "B: d"]]


def test_parquet_with_lists_of_turns(tmp_path, imported):
    parquet.write_table(
        pa.table({"messages": [[CHAT["messages"][-1], {"role": "user", "content": "yes"}]]}), tmp_path / "t"
    )
    assert imported(tmp_path / "t").said == [["assistant: a dog", "user: yes"]]


def test_a_folder_of_datasets_with_splits(put, tmp_path, imported):
    for split in ("train", "test"):
        shards = []
        for shard in range(2):
            name = f"data-0000{shard}-of-00002.arrow"
            shards.append({"filename": name})
            table = pa.table({"conversation": [0], "speaker": ["AB"[shard]], "text": [f"{split} {shard}"]})
            (tmp_path / "set" / split).mkdir(parents=True, exist_ok=True)
            with pa.ipc.new_stream(tmp_path / "set" / split / name, table.schema) as stream:
                stream.write_table(table)
        put(f"set/{split}/state.json", json.dumps({"_data_files": shards, "_split": split}))
    put("set/dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    assert kind(tmp_path / "set") == "datasets"
    result = imported(tmp_path / "set")
    assert result.said == [["A: test 0", "B: test 1"], ["A: train 0", "B: train 1"]]
    assert [line["id"] for line in result.lines] == ["1:0", "2:0"]
    (tmp_path / "set" / "test" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"test.state.json: names data-00001-of-00002.arrow, which is missing"):
        imported(tmp_path / "set")


def test_convokit_with_topics(put, tmp_path, imported):
    put("corpus/utterances.jsonl", lines(*CONVOKIT))
    put(
        "corpus/conversations.json",
        json.dumps({"u1": {"meta": {"topic": "counting"}, "vectors": []}, "v1": {"meta": {}}}),
    )
    assert kind(tmp_path / "corpus") == "convokit"
    result = imported(tmp_path / "corpus")
    assert result.said == [["ann: one", "bo: two", "ann: three"]]
    assert result.lines[0]["topic"] == "counting"
    assert kind(tmp_path / "corpus" / "utterances.jsonl") == "convokit-file"


@pytest.mark.parametrize("key", ["reply-to", "reply_to"])
def test_convokit_without_times_is_in_the_order_of_replies(put, imported, key):
    rows = [
        {"id": 3, "speaker": "ann", "text": "three", key: 2},
        {"id": 2, "speaker": "bo", "text": "", key: 1},  # left out, but it links three to one
        {"id": 1, "speaker": "ann", "text": "one", key: None},
    ]
    result = imported(
        put("utterances.jsonl", lines(*({"conversation_id": 1, "timestamp": None} | row for row in rows)))
    )
    assert result.said == [["ann: one", "ann: three"]]
    assert "1 conversations in the order of their replies, because a message has no time" in str(result.report.lines())


def test_a_deleted_message_without_a_time_leaves_the_order_of_times(put, imported):
    rows = [
        {"id": 1, "text": "one", "timestamp": 10, "reply-to": None},
        {"id": 2, "text": "", "timestamp": None, "reply-to": 1},
        {"id": 4, "text": "four", "timestamp": 40, "reply-to": 3},
        {"id": 3, "text": "three", "timestamp": 30, "reply-to": 2},
    ]
    said = ({"conversation_id": 1, "speaker": "ab"[place % 2]} | row for place, row in enumerate(rows))
    result = imported(put("utterances.jsonl", lines(*said)))
    assert result.said == [["a: one", "b: three", "a: four"]]
    assert "because a message has no time" not in str(result.report.lines())


def test_an_empty_time_leaves_only_its_own_conversation_in_the_order_of_the_file(put, imported):
    rows = "1,Bo,b,2024-01-13 10:01\n1,Ann,a,2024-01-13 10:00\n2,Ann,x,\n2,Bo,y,2024-01-13 10:00\n"
    result = imported(put("t.csv", "conversation,speaker,text,time\n" + rows))
    assert result.said == [["Ann: a", "Bo: b"], ["Ann: x", "Bo: y"]]
    assert "1 conversations in the order of the file, because a message has no time" in str(result.report.lines())


def test_rows_without_the_name_of_a_conversation_are_counted(put, tmp_path, imported):
    rows = {
        "conversation": ["c1", None, "c2", None, None],
        "speaker": ["Ann", "Bo", "Ann", "Bo", "Bo"],
        "text": ["a", "b", "c", "d", None],
    }
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    for path in (
        put("t.csv", "conversation,speaker,text\nc1,Ann,a\n,Bo,b\nc2,Ann,c\n,Bo,d\n,Bo,\n"),
        tmp_path / "t.parquet",
    ):
        result = imported(path)
        assert result.said == [["Bo: b", "Bo: d"]]
        assert "  2 messages without the name of a conversation, read as one conversation" in result.report.lines()


def messenger(sender: str, minute: int, text: str | None, **more: object) -> dict[str, object]:
    """A message of a download, in which each byte of UTF-8 is a character."""
    said = {} if text is None else {"content": text.encode().decode("latin-1")}
    time = 1_700_000_000_123 + 60_000 * minute
    return {"sender_name": sender.encode().decode("latin-1"), "timestamp_ms": time} | said | more


def test_messenger_downloads_have_the_newest_message_first_in_several_files(put, tmp_path, imported):
    newest = [
        messenger("Zoë", 600, "next day"),
        messenger("Bo", 599, "Reacted \u2764\ufe0f to your message "),
        messenger("Bo", 598, "morning"),
        messenger("Zoë", 5, "Zoë sent an attachment.", share={"link": "https://x.org"}),
        messenger("Bo", 4, "look: https://y.org", share={"link": "https://y.org"}),
    ]
    oldest = [
        messenger("Zoë", 3, "oh", is_unsent=True),
        messenger("Zoë", 2, None, photos=[{"uri": "a.jpg"}]),
        messenger("Bo", 2, "Bo called you.", call_duration=0),
        messenger("Zoë", 1, "caf\u00e9 \U0001f600?"),
        messenger("Bo", 0, "hi", type="Generic"),
    ]
    people = [{"name": "Zo\u00c3\u00ab"}, {"name": "Bo"}]
    for name, said in (("message_1", newest), ("message_2", oldest)):
        chat = {"participants": people, "messages": said, "title": "Bo", "thread_path": "inbox/bo_1"}
        put(f"all/messages/inbox/bo_1/{name}.json", json.dumps(chat))
    put("all/messages/autofill.json", '{"a": 1}')
    assert kind(tmp_path / "all") == "messenger"
    result = imported(tmp_path / "all")
    assert result.said == [
        ["Bo: hi", "Zoë: café \U0001f600?", "Bo: look: https://y.org"],
        ["Bo: morning", "Zoë: next day"],
    ]
    assert result.left_out == {SYSTEM: 2, MEDIA: 3}
    assert [line["id"] for line in result.lines] == ["1:bo_1", "2:bo_1"]
    one = tmp_path / "all" / "messages" / "inbox" / "bo_1" / "message_2.json"
    assert kind(one) == "messenger-file"
    assert imported(one).said == [["Bo: hi", "Zoë: café \U0001f600?"]]


def test_encrypted_chats_of_messenger_are_plain_utf8(put, imported):
    said = [
        ("Zoë", "caf\u00e9?", False),
        ("Bo", "\u00c3\u00ab is no \u00eb", False),
        ("Zoë", "", False),
        ("Bo", "no!", True),
    ]
    messages = [
        {
            "isUnsent": gone,
            "media": [],
            "senderName": name,
            "text": text,
            "timestamp": 1_700_000_000_000 + i,
            "type": "text",
        }
        for i, (name, text, gone) in enumerate(said)
    ]
    chat = {"participants": ["Zoë", "Bo"], "threadName": "Bo_1", "messages": messages[::-1]}
    result = imported(put("Bo_1.json", json.dumps(chat, ensure_ascii=False)))
    assert result.said == [["Zoë: café?", "Bo: \u00c3\u00ab is no \u00eb"]]
    assert result.left_out == {MEDIA: 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "Ann: hello\nBo: hi\n\nAnn: bye\nsee you at: 5\nBo: ok: yes\n",
            [["Ann: hello", "Bo: hi"], ["Ann: bye\nsee you at: 5", "Bo: ok: yes"]],
        ),
        (
            "Ann: hello\n\nBo: hi\n\nAnn: bye\n\n\nAnn: new\n\nBo: yes",
            [["Ann: hello", "Bo: hi", "Ann: bye"], ["Ann: new", "Bo: yes"]],
        ),
        ("Ann:\nhello\nBo:\nhi\nand more\nAnn:\nbye\n", [["Ann: hello", "Bo: hi\nand more", "Ann: bye"]]),
        ("\ufeff小王：你好\r\n小李：好\r\n小王：再见\r\n", [["小王: 你好", "小李: 好", "小王: 再见"]]),
        (
            "agent: hi\nKim Lee: see http://x.org: now\nagent: ok\n\nJo: one\nmy phone is: 7\nagent: no\n",
            [["agent: hi", "Kim Lee: see http://x.org: now", "agent: ok"], ["Jo: one\nmy phone is: 7", "agent: no"]],
        ),
    ],
)
def test_transcripts(put, tmp_path, imported, content, said):
    path = put("files/chat.txt", content)
    assert kind(path) == "transcript"
    result = imported(path)
    assert (result.said, result.lines[0]["id"]) == (said, "1")
    with pytest.raises(DataError, match="none of its 1 files is in a known format"):
        imported(path.parent)
    assert imported(path.parent, format="transcript").said == said


@pytest.mark.parametrize(
    "content",
    [
        "name: x\nversion: 1\ndeps: y\nwhat: z\n",
        "Once: yes.\nThere was.\nOnce: no.\nWell.\nSo it was.\nNo.\n",
        "Ann: hi\n",
    ],
)
def test_other_text_is_no_transcript(put, content):
    with pytest.raises(DataError, match="is in no known format"):
        kind(put("x.txt", content))


def test_the_report_lists_the_speakers_of_a_transcript(put, imported):
    path = put("x.txt", "Ann: hi\nBo: hello\nAnn: so\n")
    assert imported(path).report.parts[0].log.notes == ["speakers, with their lines: Ann (2), Bo (1)"]
    assert imported(path, anonymous=True).report.parts[0].log.notes == ["2 speakers"]


@pytest.mark.parametrize("whole", [False, True])
def test_telegram_of_one_chat_and_of_all(put, imported, whole):
    content = (
        {"about": "", "contacts": {"list": [1]}, "chats": {"about": "", "list": [TELEGRAM]}} if whole else TELEGRAM
    )
    path = put("result.json", json.dumps(content, indent=1))
    assert kind(path) == "telegram"
    result = imported(path)
    assert result.said == [["Ann: hi", "Bo: see x.org!"], ["Ann: late", "user3: ?"]]
    assert result.left_out == {SYSTEM: 1, MEDIA: 1}


def test_deleted_accounts_of_old_telegram_exports_have_numbers_as_ids(put, imported):
    said = [
        {"type": "message", "date": "2019-01-01T10:00:00", "from": name, "from_id": identity, "text": "hi"}
        for name, identity in ((None, 4312345678), ("Bo", 4312345679))
    ]
    assert imported(put("result.json", json.dumps({"messages": said}))).said == [["4312345678: hi", "Bo: hi"]]


def test_messages_without_a_sender_are_left_out_and_counted(put, imported):
    said = [("1", "hi"), (None, "who says this?"), ("2", "hello")]
    time = "2024-01-01T10:00:00+00:00"
    telegram = [{"from": who, "from_id": who, "text": text, "date": time} for who, text in said]
    discord = [
        {"content": text, "timestamp": time} | ({"author": {"id": who, "name": who}} if who else {})
        for who, text in said
    ]
    slack = [{"type": "message", "text": text, "ts": "10.0"} | ({"user": who} if who else {}) for who, text in said]
    for path in (
        put("telegram.json", json.dumps({"messages": telegram})),
        put("discord.json", json.dumps({"channel": {"id": "2"}, "messages": discord})),
        put("slack/help/2024-01-01.json", json.dumps(slack)).parents[1],
    ):
        result = imported(path)
        assert result.said == [["1: hi", "2: hello"]]
        assert result.left_out == {NAMELESS: 1}


def test_telegrams_export_of_all_has_chats_that_were_left(put, imported):
    lists = {"chats": {"list": [TELEGRAM]}, "left_chats": {"about": "", "list": [TELEGRAM]}}
    result = imported(put("result.json", json.dumps({"personal_information": {"user_id": 1}} | lists)))
    assert [line["id"] for line in result.lines] == ["1:chat 1", "2:chat 1", "3:left chat 1", "4:left chat 1"]


def test_people_with_one_name_are_several_speakers(put, tmp_path, imported):
    said = [("1", "hi"), ("2", "hello"), ("1", "you too?"), ("2", "yes")]
    expected = [["Bo: hi", "Bo 2: hello", "Bo: you too?", "Bo 2: yes"]]
    time = "2024-01-01T10:00:00+00:00"
    telegram = [{"from": "Bo", "from_id": f"user{who}", "text": text, "date_unixtime": "100"} for who, text in said]
    discord = [{"author": {"id": who, "name": "Bo"}, "content": text, "timestamp": time} for who, text in said]
    rows = "".join(f"{who},Bo,{time},{text}\n" for who, text in said)
    put("slack/users.json", json.dumps([{"id": f"U{who}", "name": "Bo"} for who in "12"]))
    slack = [
        {"type": "message", "user": f"U{who}", "text": text, "ts": f"10{i}.0"} for i, (who, text) in enumerate(said)
    ]
    for path in (
        put("telegram.json", json.dumps({"messages": telegram})),
        put("discord.json", json.dumps({"channel": {"id": "2"}, "messages": discord})),
        put("discord.csv", "AuthorID,Author,Date,Content\n" + rows),
        put("slack/help/2024-01-01.json", json.dumps(slack)).parents[1],
    ):
        result = imported(path)
        assert result.said == expected
        assert "1 names of people numbered, because another has the same" in str(result.report.lines())


def test_slack_folder_and_zip(put, tmp_path, imported):
    for name, content in SLACK.items():
        put(f"slack/{name}", json.dumps(content))
    with zipfile.ZipFile(tmp_path / "slack.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SLACK.items():
            archive.writestr(name, json.dumps(content))
    assert kind(tmp_path / "slack") == kind(tmp_path / "slack.zip") == "slack"
    for path in (tmp_path / "slack", tmp_path / "slack.zip"):
        result = imported(path)
        assert result.said == [
            ["Ann: a thread?", "bo: thread answer"],  # a day later
            ["bo: hi @Ann, 1 < 2 https://x.org", "Ann: yes"],
        ]
        assert result.left_out == {SYSTEM: 1, BOTS: 1, MEDIA: 1}
        assert result.lines[0]["topic"] == "help"
    assert "bot: beep" in imported(tmp_path / "slack", bots=True).said[-1]


def test_discord_json(put, imported):
    path = put("channel.json", json.dumps(DISCORD))
    assert kind(path) == "discord"
    result = imported(path)
    assert result.said == [["Ann: it fails", "bo: try again"]]
    assert result.left_out == {BOTS: 1, SYSTEM: 1}
    assert result.lines[0]["topic"] == "help"


def test_discord_csv(put, imported):
    rows = '"7","ann","2024-01-01T10:00:00.0000000+00:00","it fails","",""\n'
    rows += '"9","bo","2024-01-01T10:02:00.0000000+00:00","","x.png",""\n'
    rows += '"9","bo","2024-01-01T10:02:00.0000000+00:00","again","",""\n'
    path = put("channel.csv", '"AuthorID","Author","Date","Content","Attachments","Reactions"\n' + rows)
    assert kind(path) == "discord-csv"
    result = imported(path)
    assert result.said == [["ann: it fails", "bo: again"]]
    assert result.left_out == {MEDIA: 1}


def test_our_own_form_keeps_everything(put, imported):
    line = {
        "id": "7",
        "topic": "pets",
        "prompt": "talk",
        "split": "train",
        "speakers": {"A": {"age": 3}},
        "utterances": [{"speaker": "A", "text": "hi", "dialog_act": "greet"}, {"speaker": "B", "text": "yo"}],
    }
    path = put("own.jsonl", lines(line))
    assert kind(path) == "jsonl"
    assert imported(path).lines == [line | {"id": "1:7"}]


def test_halves_of_characters_in_any_field_of_our_own_form_are_removed(put, imported):
    half = "\ud83d"
    line = {
        "id": f"7{half}",
        "prompt": f"talk {half}",
        "split": f"train{half}",
        "speakers": {f"A{half}": {"sex": f"male{half}"}},
        "utterances": [{"speaker": f"A{half}", "text": "hi", "dialog_act": half}, {"speaker": "B", "text": "yo"}],
    }
    (found,) = imported(put("own.jsonl", lines(line))).lines
    assert (found["id"], found["prompt"], found["split"]) == ("1:7", "talk", "train")
    assert found["speakers"] == {"A": {"sex": "male"}}
    assert found["utterances"] == [{"speaker": "A", "text": "hi"}, {"speaker": "B", "text": "yo"}]


def test_only_columns_that_are_read_need_names_of_their_own(put, imported):
    assert imported(put("t.csv", "speaker,text,x,x\nA,hi,1,2\nB,yo,3,4\n")).said == [["A: hi", "B: yo"]]


def test_a_folder_of_files_in_several_formats(put, tmp_path, imported):
    put("all/a.jsonl", lines(CHAT))
    put("all/b/c.csv", CSV)
    put("all/picture.jpg", b"\xff\xd8\xff\xe0" + bytes(range(256)))
    result = imported(tmp_path / "all")
    assert [len(part) for part in result.said] == [2, 2, 2]
    assert [part.title for part in result.report.parts] == ["chat-completion messages", "a table as text (CSV or TSV)"]
    assert result.report.notes == []


@pytest.mark.parametrize("forced", [None, "csv"])
def test_files_that_are_passed_over_are_named(put, tmp_path, imported, forced):
    put("all/a.csv", CSV)
    for name in ("b.txt", "sub/c.json", "d.jpg"):
        put(f"all/{name}", "[1]")
    why = "in another format" if forced else "in no known format"
    notes = [f"{tmp_path / 'all'}: passed over: 2 files {why} (b.txt, sub/c.json)"]
    assert imported(tmp_path / "all", format=forced).report.notes == notes


@pytest.mark.parametrize(
    ("chat", "archived"), [("_chat.txt", True), ("_chat.txt", False), ("WhatsApp Chat mit Bo.txt", True)]
)
def test_files_that_were_sent_in_a_whatsapp_chat_are_no_conversations(put, tmp_path, imported, chat, archived):
    files = {chat: WHATSAPP, "2-prices.csv": "item,price\na,3\n", "3-set.jsonl": lines(CHAT)}
    for name, content in files.items():
        path = put(f"chat/{name}", content).parent
    if archived:
        path = tmp_path / "chat.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    result = imported(path)
    assert result.said == [["Ann: hi", "Bo: there"]]
    assert result.report.notes == [f"{path}: passed over: 2 files sent in a WhatsApp chat (2-prices.csv, 3-set.jsonl)"]


def test_a_forced_format_reads_what_lies_beside_a_chat(put, tmp_path, imported):
    put("chat/_chat.txt", WHATSAPP)
    put("chat/1-tickets.csv", CSV)
    result = imported(tmp_path / "chat", format="csv")
    assert len(result.said) == 2
    assert result.report.notes == [f"{tmp_path / 'chat'}: passed over: 1 files in another format (_chat.txt)"]


def test_what_lies_beside_a_chat_that_the_user_put_there_is_read(put, tmp_path, imported):
    put("all/WhatsApp Chat with Bo.txt", WHATSAPP)
    put("all/tickets.csv", CSV)
    assert len(imported(tmp_path / "all").report.parts) == 2


def test_a_forced_format(put, imported):
    path = put("notes.txt", "who|said\n")
    with pytest.raises(DataError, match=r"is in no known format .*--format forces one"):
        imported(path)
    with pytest.raises(DataError, match="is a file, but a Slack export is a folder or a zip archive"):
        imported(path, format="slack")
    with pytest.raises(DataError, match="no column looks like the speaker"):
        imported(path, format="csv")
