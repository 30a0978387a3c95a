"""Broken files of each format: the message has the file, the line or row, and the reason, and nothing is left."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports import source
from dialog_cvae.imports.convert import convert
from dialog_cvae.imports.message import Options

DEEP = "[" * 100_000 + "]" * 100_000
TURN = '{"role": "user", "content": "hi"}'
GOOD = f'{{"messages": [{TURN}]}}\n'
HEAD = '[{"conversations": [{"from": "human", "value": "x"}]}'
GUIDED = '[{"dialogue_id": "1_0", "services": ["Hotels_1"], "turns": [{"speaker": "USER", "utterance": "x"}]}'
TABLE = "conversation,speaker,text,time\n1,A,hi,1\n"
TELEGRAM = (
    '{"name": "x", "messages": [{"type": "message", "from": "A", "from_id": "u", "date_unixtime": "1", "text": "hi"}'
)
MESSENGER = '{"messages": [{"sender_name": "A", "timestamp_ms": 1, "content": "hi"}'
DISCORD = '{"channel": {"id": "1"}, "messages": [{"content": "x", "author": {"name": "a"}, "timestamp": "1"}'
SLACK = '[{"type": "message", "user": "U", "ts": "1", "text": "hi"}'
CHAT = "13/01/24, 10:00 - A: hi\n"


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


NESTED = written(pa.table({"speaker": ["A"], "text": [{"de": "hallo"}]}))
PLAIN = written(pa.table({"speaker": ["A"] * 500, "text": [f"text {i}" for i in range(500)]}))

TWICE = written(pa.Table.from_arrays([pa.array(["A"])] * 3, names=["speaker", "text", "text"]))
TURNS_TWICE = written(
    pa.Table.from_arrays([pa.array([[{"role": "user", "content": "hi"}]])] * 2, names=["messages"] * 2)
)
LATE = written(pa.table({"speaker": ["A"] * 2, "text": ["x"] * 2, "time": pa.array([0, 2**52], pa.timestamp("ms"))}))
NOT_UTF8 = written(
    pa.table(
        {
            "speaker": ["A", "B"],
            "text": pa.Array.from_buffers(
                pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"hi\xff\xfe")]
            ),
        }
    )
)

BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("x.csv", "", "x.csv: is empty"),
    "one message": ("x.csv", TABLE, "x.csv: no conversation of two or more messages (1 conversations of a single"),
    "no format": ("x.bin", b"\x00\x01\x02\x03" * 40, "x.bin: is in no known format (jsonl, chat-completion"),
    "unknown JSON": (
        "x.json",
        '{"rows": [{"a": 1}]}',
        "x.json: is in no known format: its JSON has the keys rows, rows[].a",
    ),
    "gzip": ("x.gz", b"\x1f\x8b\x08\x00", "x.gz: is compressed with gzip: unpack it first"),
    # Chat completion.
    "cut line": ("x.jsonl", GOOD + '{"messages": [{"role"', "x.jsonl, line 2: not JSON: Expecting"),
    "cut string of a line": (
        "x.jsonl",
        GOOD + '{"messages": "a b',
        "x.jsonl, line 2: not JSON: the line ends within a string",
    ),
    "no list": ("x.jsonl", GOOD + '{"messages": 1}', "line 2: messages must be a list, is a number"),
    "part": (
        "x.jsonl",
        '{"messages": [{"role": "user", "content": {"a": 1}}]}',
        "line 1: messages[0].content must be text or a list of parts, is an object",
    ),
    "deep line": ("x.jsonl", GOOD + f'{{"messages": {DEEP}}}', "x.jsonl, line 2: nested too deeply"),
    "own over lines": (
        "x.json",
        '{"utterances": [\n{"speaker": "A", "text": "x"}]}',
        "x.json, line 1: not JSON: Expecting value at character 18; each line must be a whole object",
    ),
    "cut object": (
        "x.json",
        '{"messages": [\n{"role": "user", "content": "h',
        "x.json, line 2: the file ends too early",
    ),
    "second object": (
        "x.json",
        f'{{"messages":\n[{TURN}]}}\n\n[1]',
        "x.json, line 4: object 2 must be an object, is a list",
    ),
    "array line": ("x.jsonl", GOOD + "[1]\n", "x.jsonl, line 2: must be an object, is a list"),
    # ShareGPT.
    "cut list": ("x.json", HEAD + ',\n{"conv', "x.json, line 2: the file ends too early"),
    "cut string": ("x.json", HEAD + ',\n{"conversations": "a b', "x.json, line 2: the file ends too early"),
    "cut word": ("x.json", HEAD + ',\n{"conversations": tru', "x.json, line 2: the file ends too early"),
    "other word": ("x.json", HEAD + ',\n{"conversations": yes', "x.json, line 2: not JSON: Expecting value"),
    "deep list": ("x.json", f"{HEAD},\n{DEEP}]", "line 2: nested too deeply"),
    "after the list": ("x.json", HEAD + "]\n5", "x.json, line 2: text after the end"),
    "role": (
        "x.json",
        '[{"conversations": [{"from": 1, "value": "x"}]}]',
        "element 1: conversations[0].from must be text",
    ),
    # Schema-Guided Dialogues.
    "guided cut": ("x.json", GUIDED + ',\n{"dial', "x.json, line 2: the file ends too early"),
    "guided deep": ("x.json", f"{GUIDED},\n{DEEP}]", "x.json, line 2: nested too deeply"),
    "guided element": ("x.json", GUIDED + ",\n5]", "x.json, line 2: element 2 must be an object, is a number"),
    "guided name": ("x.json", GUIDED + ", {}]", "x.json: element 2: dialogue_id must be text, is null"),
    "guided turns": (
        "x.json",
        GUIDED + ', {"dialogue_id": "1_1", "turns": {}}]',
        "x.json: element 2 ('1_1'): turns must be a list, is an object",
    ),
    "guided turn": (
        "x.json",
        GUIDED + ', {"dialogue_id": "1_1", "turns": [[]]}]',
        "element 2 ('1_1'): turns[0] must be an object, is a list",
    ),
    "guided text": (
        "x.json",
        GUIDED + ', {"dialogue_id": "1_1", "turns": [{"speaker": "USER"}]}]',
        "element 2 ('1_1'): turns[0].utterance must be text, is null",
    ),
    "guided services": (
        "x.json",
        GUIDED + ', {"dialogue_id": "1_1", "turns": [], "services": ["a", 5]}]',
        "element 2 ('1_1'): services must be a list of names",
    ),
    # Tables.
    "columns": ("x.csv", "a,b\n1,2\n", "x.csv: no column looks like the speaker: name it"),
    "width": ("x.csv", TABLE + "1,B,yo\n", "x.csv, line 3: has 3 fields, but the first line 4"),
    "quote": ("x.csv", TABLE + '1,B,"yo,1\n', "x.csv, line 3: not a table: a quoted field is not closed"),
    "named separator": (
        "x.csv",
        "sep=,\n" + TABLE + "1,B\n",
        "x.csv, line 4: has 2 fields, but the first line 4",
    ),
    "time": ("x.csv", TABLE + "1,B,yo,noon\n", "x.csv: line 3: the time 'noon' is not ISO 8601 or seconds since 1970"),
    "mixed encodings": ("x.csv", TABLE.encode() + "1,B,café,2\n".encode("cp1252"), "x.csv, line 3: not UTF-8"),
    "cut UTF-16": ("x.csv", TABLE.encode("utf-16")[:-1], "x.csv, line 2: not UTF-16"),
    "nested": ("x.parquet", NESTED, "x.parquet: column 'text' (text) holds struct<de: string>, not one value"),
    "cut Parquet": ("x.parquet", PLAIN[:-20], "x.parquet: not a whole Parquet file ("),
    "damaged Parquet": ("x.parquet", PLAIN[:60] + b"\xff" * 300 + PLAIN[360:], "x.parquet: not a whole Parquet file ("),
    "Parquet names": ("x.parquet", TWICE, "x.parquet: has 2 columns 'text': give them different names"),
    "Parquet turns": ("x.parquet", TURNS_TWICE, "x.parquet: has 2 columns 'messages': give them different names"),
    "Parquet time": ("x.parquet", LATE, "x.parquet: row 2: column 'time' cannot be read ("),
    "Parquet text": ("x.parquet", NOT_UTF8, "x.parquet: row 2: column 'text' is not UTF-8"),
    "names": ("x.csv", "speaker,text,text\nA,,x\nB,,y\n", "x.csv: has 2 columns 'text': give them different names"),
    # Chats.
    "WhatsApp line": (
        "x.txt",
        "what is this\n" + CHAT,
        "x.txt, line 1: not a message of WhatsApp: the line has no time",
    ),
    "WhatsApp date": ("x.txt", CHAT + "45/99/24, 10:00 - A: hi\n", "line 2: a date is written ymd, but line 1 dmy"),
    "Telegram cut": ("x.json", TELEGRAM + ",\n", "x.json, line 2: the file ends too early"),
    "Telegram text": (
        "x.json",
        TELEGRAM + ',\n{"from": "A", "text": 5}]}',
        "line 2: message 2: text must be text or a list",
    ),
    "Telegram deep": ("x.json", TELEGRAM + f', {{"text": {DEEP}}}]}}', "x.json, line 1: nested too deeply"),
    "transcript": ("x.txt", "A chat\nA: x\nB: y\nA: z\n", "x.txt, line 1: no speaker and colon begin the line"),
    "Messenger text": (
        "x.json",
        MESSENGER + ',\n{"content": 5}]}',
        "line 2: message 2: content must be text, is a number",
    ),
    "Messenger time": (
        "x.json",
        MESSENGER + ',\n{"sender_name": "B", "content": "x", "timestamp_ms": "noon"}]}',
        "line 2: message 2: the time 'noon' is not ISO 8601",
    ),
    "Messenger cut": ("s/a_1/message_1.json", MESSENGER, "message_1.json, line 1: not JSON: , or ] is expected"),
    "Discord author": (
        "x.json",
        DISCORD + ',\n{"author": 5}]}',
        "line 2: message 2: author must be an object, is a number",
    ),
    "Discord cut": ("x.json", DISCORD, "x.json, line 1: not JSON: ,] is expected".replace(",]", ", or ]")),
    "Slack time": (
        "s/c/2024-01-01.json",
        SLACK + ',\n{"text": "x", "ts": "noon"}]',
        "01.json, line 2: message 2: ts must be a time",
    ),
    "Slack cut": ("s/c/2024-01-01.json", SLACK, "01.json, line 1: not JSON"),
    "Slack users": ("s/users.json", "[5]", "s: none of its 1 files is in a known format"),
    # Ours.
    "own field": (
        "x.jsonl",
        '{"utterances": [{"speaker": "A", "text": "x"}], "tpic": 1}',
        'x.jsonl, line 1: unknown field "tpic"',
    ),
    "own text": (
        "x.jsonl",
        '{"utterances": [{"speaker": "A", "text": 5}]}',
        "line 1: utterances[0].text must be text, is a number",
    ),
    # ConvoKit and datasets.
    "ConvoKit": (
        "s/utterances.jsonl",
        '{"conversation_id": "1", "speaker": "A", "text": "x"}\n{"conversation_id": null, "speaker": "A", "text": "x"}',
        "utterances.jsonl, line 2: conversation_id must be text, is null",
    ),
    "unknown folder": ("s/readme.md", "# hello\n", "s: none of its 1 files is in a known format"),
    "broken zip": ("x.zip", b"PK\x03\x04" + b"\0" * 50, "x.zip: is not a whole zip archive"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file(case: str, put: Callable[..., Path], tmp_path: Path) -> None:
    name, content, message = BROKEN[case]
    written = put(name, content)
    path = tmp_path / "s" if name.startswith("s/") else written
    out = tmp_path / "out" / "mine.jsonl"
    with pytest.raises(DataError, match=re.escape(message)) as found:
        convert([path], out, Options())
    assert "\n" not in str(found.value)
    assert list(out.parent.iterdir()) == []


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_bomb_is_refused_by_its_ratio_and_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(tmp_path / "bomb.zip", chat=b"0" * (source.SMALL + 1))
    with pytest.raises(DataError, match=r"bomb.zip/chat: unpacks from [\d,]+ to 16,777,217 bytes: more than 200 times"):
        source.open_source(bomb)
    # Many small members.
    monkeypatch.setattr(source, "SMALL", 1000)
    many = zipped(tmp_path / "many.zip", **{f"f{i}": b"0" * 1000 for i in range(100)})
    monkeypatch.setattr(source, "MAX_RATIO", 2)
    with pytest.raises(DataError, match=r"many.zip: unpacks from [\d,]+ to 100,000 bytes"):
        source.open_source(many)
    monkeypatch.setattr(source, "MAX_RATIO", 200)
    monkeypatch.setattr(source, "MAX_UNPACKED", 99_999)
    with pytest.raises(DataError, match=r"many.zip: unpacks to 100,000 bytes, at most 99,999"):
        source.open_source(many)


def test_a_member_that_lies_about_its_size_is_not_read_further(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lie.zip", chat=CHAT.encode() * 1000)
    raw = path.read_bytes().replace((len(CHAT) * 1000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"lie.zip/chat: cannot be unpacked \(Bad CRC-32"):
        convert([path], tmp_path / "mine.jsonl", Options())


def test_a_very_long_line(put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_LINE", 100)
    path = put("x.jsonl", GOOD[:-3] + f", {TURN}" * 9 + "]}\n")
    with pytest.raises(DataError, match=r"x\.jsonl, line 1: the line is longer than 100 characters"):
        convert([path], tmp_path / "mine.jsonl", Options())


def test_without_pyarrow(put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"x.parquet: reading Parquet.* need pyarrow: pip install 'dialog-cvae\[import\]'"
    ):
        convert([put("x.parquet", PLAIN)], tmp_path / "mine.jsonl", Options())


def test_the_earlier_file_stays_on_an_error(put: Callable[..., Path], tmp_path: Path) -> None:
    good = put("good.csv", TABLE + "1,B,yo,2\n")
    out = put("out/mine.jsonl", "earlier")
    with pytest.raises(DataError, match=r"bad\.csv, line 3"):
        convert([good, put("bad.csv", TABLE + "1\n")], out, Options())
    assert [path.name for path in out.parent.iterdir()] == ["mine.jsonl"]
    assert out.read_text() == "earlier"
