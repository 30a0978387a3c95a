"""A folder or archive that holds an export: other exports and files in it are read too, or named in the report."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from dialog_cvae.errors import DataError

TICKETS = "ticket_id,author,body\n1,Cy,hey\n1,Di,hello\n"


def day(*said: tuple[str, str]) -> str:
    return json.dumps(
        [{"type": "message", "user": user, "text": text, "ts": str(n)} for n, (user, text) in enumerate(said)]
    )


def users(**names: str) -> str:
    return json.dumps([{"id": key, "name": name} for key, name in names.items()])


def messenger(*said: tuple[str, str]) -> str:
    return json.dumps(
        {"messages": [{"sender_name": a, "content": b, "timestamp_ms": n} for n, (a, b) in enumerate(said)]}
    )


def corpus(*said: tuple[str, str]) -> str:
    rows = [{"id": str(n), "conversation_id": "c", "speaker": a, "text": b} for n, (a, b) in enumerate(said)]
    return "".join(json.dumps(row) + "\n" for row in rows)


SLACK = {
    "users.json": users(U1="Ann", U2="Bo"),
    "channels.json": '[{"id": "C1", "name": "help"}]',
    "integration_logs.json": "[]",
    "help/2024-01-01.json": day(("U1", "hi"), ("U2", "yo")),
    "help/attachments/prices.csv": "speaker,text\nx,y\n",
    "__uploads/F1/list.csv": "item,price\na,3\n",
}
MESSENGER = {
    "messages/inbox/ann_1/message_1.json": messenger(("Ann", "hi"), ("Bo", "yo")),
    "messages/inbox/ann_1/files/prices.csv": "item,price\na,3\n",
    "messages/inbox/ann_1/photos/1.jpg": "no data",
    "posts/posts_1.json": "[]",
}
CONVOKIT = {
    "utterances.jsonl": corpus(("Ann", "hi"), ("Bo", "yo")),
    "conversations.json": '{"c": {"meta": {"topic": "counting"}}}',
    "speakers.json": "{}",
    "corpus.json": "{}",
    "index.json": "{}",
    "info.parsed.jsonl": '{"id": "0", "value": []}\n',
}


def filled(path: Path, files: dict[str, str], *, archived: bool) -> Path:
    """A folder or an archive with these files."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    if not archived:
        return path
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.with_suffix(".zip")


@pytest.mark.parametrize(
    ("files", "title", "skipped"),
    [
        (
            SLACK,
            "a Slack export",
            ["2 files sent in the chats of a Slack export (__uploads/F1/list.csv, help/attachments/prices.csv)"],
        ),
        (
            MESSENGER,
            "a download of Messenger or Instagram",
            [
                "1 files sent in the chats of a download of Messenger or Instagram "
                "(messages/inbox/ann_1/files/prices.csv)",
                "1 files in no known format (posts/posts_1.json)",
            ],
        ),
        (CONVOKIT, "a ConvoKit corpus", []),
    ],
)
def test_files_beside_an_export_are_read_and_those_sent_in_it_named(tmp_path, imported, files, title, skipped):
    said = [["Ann: hi", "Bo: yo"]]
    path = filled(tmp_path / "all", files, archived=False)
    result = imported(path)
    assert result.said == said
    assert result.report.notes == [f"{path}: passed over: {each}" for each in skipped]
    # With another file in a known format.
    (path / "tickets.csv").write_text(TICKETS)
    result = imported(path)
    assert result.said == [*said, ["Cy: hey", "Di: hello"]]
    assert [part.title for part in result.report.parts] == [title, "a table as text (CSV or TSV)"]
    assert result.report.notes == [f"{path}: passed over: {each}" for each in skipped]


def test_a_table_beside_an_export_that_is_no_conversation_is_named(tmp_path, imported):
    path = filled(tmp_path / "all", SLACK | {"members.csv": "username,email\nann,a@b.c\n"}, archived=False)
    result = imported(path)
    assert result.said == [["Ann: hi", "Bo: yo"]]
    assert f"{path}: passed over: 1 files in no known format (members.csv)" in result.report.notes
    with pytest.raises(DataError, match=r"members.csv: no column looks like the text"):  # a user may name its columns
        imported(filled(tmp_path / "one", {"members.csv": "username,email\nann,a@b.c\n"}, archived=False))


def test_files_beside_an_export_in_an_archive_are_named(tmp_path, imported):
    path = filled(tmp_path / "all", MESSENGER | {"tickets.csv": TICKETS}, archived=True)
    result = imported(path)
    assert result.said == [["Ann: hi", "Bo: yo"]]
    title = "a download of Messenger or Instagram"
    assert result.report.notes == [
        f"{path}: passed over: 1 files sent in the chats of {title} (messages/inbox/ann_1/files/prices.csv)",
        f"{path}: passed over: 2 files beside {title} in an archive (posts/posts_1.json, tickets.csv)",
    ]


def test_files_beside_an_export_of_a_named_format_are_named(tmp_path, imported):
    path = filled(tmp_path / "all", CONVOKIT | {"tickets.csv": TICKETS}, archived=False)
    result = imported(path, format="convokit")
    assert result.said == [["Ann: hi", "Bo: yo"]]
    assert result.report.notes == [f"{path}: passed over: 1 files in another format (tickets.csv)"]
    with pytest.raises(DataError, match="all: no conversation of two or more messages"):
        imported(path, format="slack")


@pytest.mark.parametrize("archived", [False, True])
def test_several_exports_in_one_folder_are_read_separately(tmp_path, imported, archived):
    files = {
        "one/users.json": users(U1="Ann", U2="Bo"),
        "one/help/2024-01-01.json": day(("U1", "a"), ("U2", "b")),
        "two/users.json": users(U1="Cy", U2="Di"),
        "two/help/2024-01-01.json": day(("U1", "c"), ("U2", "d")),
        "three/help/2024-01-01.json": day(("U1", "e"), ("U2", "f")),
        **{f"corpus/{name}": content for name, content in CONVOKIT.items()},
        "second/utterances.jsonl": corpus(("Ed", "g"), ("Flo", "h")),
        "chat/message_1.json": messenger(("Gil", "i"), ("Hal", "j")),
    }
    path = filled(tmp_path / "all", files, archived=archived)
    result = imported(path)
    assert sorted(result.said) == [
        ["Ann: a", "Bo: b"],
        ["Ann: hi", "Bo: yo"],
        ["Cy: c", "Di: d"],
        ["Ed: g", "Flo: h"],
        ["Gil: i", "Hal: j"],
        ["U1: e", "U2: f"],
    ]
    folders = {"one", "two", "three", "corpus", "second"}
    assert {part.name for part in result.report.parts} == {str(path), *(f"{path}/{each}" for each in folders)}
    assert result.report.notes == []


def test_channels_of_one_name_in_two_folders_of_a_workspace_are_two(tmp_path, imported):
    files = {
        "users.json": users(U1="Ann", U2="Bo"),
        "public/help/2024-01-01.json": day(("U1", "a"), ("U2", "b")),
        "private/help/2024-01-01.json": day(("U1", "c"), ("U2", "d")),
    }
    result = imported(filled(tmp_path / "all", files, archived=False))
    assert sorted(result.said) == [["Ann: a", "Bo: b"], ["Ann: c", "Bo: d"]]
    assert [line["id"] for line in result.lines] == ["1:help", "2:help"]


def test_a_damaged_file_beside_an_export_is_an_error(tmp_path, imported):
    path = filled(tmp_path / "all", SLACK | {"tickets.csv": TICKETS + "2,Cy\n"}, archived=False)
    with pytest.raises(DataError, match=r"tickets.csv, line 4: has 2 fields, but the first line 3"):
        imported(path)
