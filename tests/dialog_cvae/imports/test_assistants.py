"""Downloads of ChatGPT and Claude: the path that the user saw last, without tools, hidden messages and pictures."""

from __future__ import annotations

import json
import zipfile

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.assemble import INVISIBLE
from dialog_cvae.imports.assistants import GUESSED, HIDDEN, MARKED, OTHERS
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA, TURNS
from dialog_cvae.imports.source import open_source


def node(parent, role, *parts, kind="text", **more):
    content = {"content_type": kind, "parts": list(parts)}
    return {"parent": parent, "message": {"author": {"role": role}, "content": content, "create_time": 1.5} | more}


MAPPING = {
    "root": {"parent": None, "message": None, "children": ["s"]},
    "s": node("root", "system", ""),
    "h": node("s", "user", "profile", metadata={"is_visually_hidden_from_conversation": True}),
    "q": node("h", "user", "hi", {"content_type": "image_asset_pointer"}, "there", kind="multimodal_text"),
    "old": node("q", "assistant", "first try"),
    "call": node("q", "assistant", "search()", recipient="web"),
    "tool": node("call", "tool", "found"),
    "thought": node("tool", "assistant", kind="thoughts"),
    "a": node("thought", "assistant", "second try"),
    "picture": node("a", "user", {"content_type": "image_asset_pointer"}, kind="multimodal_text"),
    "empty": node("picture", "assistant", ""),
    "b": node("empty", "assistant", "a dog"),
}
CHATGPT = [{"title": "Greeting", "conversation_id": "c1", "mapping": MAPPING, "current_node": "b"}]
CLAUDE = [
    {
        "uuid": "k1",
        "name": "Greeting",
        "chat_messages": [
            {
                "uuid": "1",
                "parent_message_uuid": "0",
                "sender": "human",
                "text": "hi",
                "created_at": "2024-01-13T10:00Z",
            },
            {"uuid": "2", "parent_message_uuid": "1", "sender": "assistant", "text": "first try"},
            {
                "uuid": "3",
                "parent_message_uuid": "1",
                "sender": "assistant",
                "text": "not supported\nsecond try",
                "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "second try"}],
            },
            {"uuid": "4", "parent_message_uuid": "3", "sender": "human", "text": "", "files": [{}]},
        ],
    }
]


def test_chatgpt(put, imported):
    path = put("conversations.json", json.dumps(CHATGPT))
    ((_, kind),) = recognised(open_source(path))
    assert kind.name == "chatgpt"
    result = imported(path)
    assert result.said == [["user: hi\nthere", "assistant: second try", "assistant: a dog"]]
    assert (result.lines[0]["id"], result.lines[0]["topic"]) == ("1:c1", "Greeting")
    assert result.left_out == {TURNS: 4, HIDDEN: 1, MEDIA: 1, OTHERS: 1, INVISIBLE: 1}


def test_chatgpt_without_the_name_of_the_last_message(put, imported):
    result = imported(put("conversations.json", json.dumps([CHATGPT[0] | {"current_node": None}])))
    assert result.said[0][-1] == "assistant: a dog"
    assert result.report.parts[0].log.changed[GUESSED] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("France won. \ue200cite\ue202turn0search3\ue202turn0search8\ue201", "France won."),
        ("In 2018 \ue200filecite\ue202turn0file1\ue201, France won.", "In 2018, France won."),
        ('The \ue200entity\ue202["team","Les Bleus","France"]\ue201 won.', "The Les Bleus won."),
        ("It won.\n\ue200navlist\ue202News\ue202turn0news1\ue201\nMore?", "It won.\nMore?"),
    ],
)
def test_marks_of_chatgpt_for_sources_are_no_text(put, imported, text, expected):
    mapping = {"q": node(None, "user", "who won?"), "a": node("q", "assistant", text)}
    changed = {"mapping": mapping, "current_node": "a"}
    result = imported(put("conversations.json", json.dumps([CHATGPT[0] | changed])))
    assert result.said == [["user: who won?", f"assistant: {expected}"]]
    assert result.report.parts[0].log.changed[MARKED] == 1


def test_claude(put, imported):
    path = put("conversations.json", json.dumps(CLAUDE))
    result = imported(path)
    assert result.said == [["user: hi", "assistant: second try"]]
    assert (result.lines[0]["id"], result.lines[0]["topic"]) == ("1:k1", "Greeting")
    assert result.left_out == {MEDIA: 1, OTHERS: 1}


def test_claude_without_the_message_before_each_keeps_all(put, imported):
    messages = [{**message, "parent_message_uuid": None} for message in CLAUDE[0]["chat_messages"]]
    result = imported(put("conversations.json", json.dumps([CLAUDE[0] | {"chat_messages": messages}])))
    assert result.said == [["user: hi", "assistant: first try", "assistant: second try"]]


@pytest.mark.parametrize("archived", [True, False])
def test_a_folder_or_zip_with_what_users_sent(put, tmp_path, imported, archived):
    """In a folder, users may have put other chats beside it."""
    files = {
        "x/conversations.json": json.dumps(CHATGPT),
        "x/files/t.csv": "speaker,text\nA,a\nB,b\n",
        "x/user.json": "{}",
    }
    for name, content in files.items():
        put(f"all/{name}", content)
    path = tmp_path / "all"
    if archived:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    result = imported(path)
    assert len(result.said) == 1 + (not archived)
    (note,) = result.report.notes
    passed = "2 files beside conversations with ChatGPT or Claude (x/files/t.csv, x/user.json)"
    assert f"passed over: {passed if archived else '1 files in no known format (x/user.json)'}" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping": 5}, r"element 2 \('c1'\): mapping must be an object, is a number"),
        ({"mapping": {"a": 5}}, r"mapping\['a'\] must be an object with a message"),
        ({"mapping": {"a": {"parent": "a"}}, "current_node": "a"}, "the parents of 'a' form a cycle"),
        (
            {
                "mapping": {
                    "a": node("x", "user")
                    | {"message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": "hi"}}}
                }
            },
            "parts must be a list, is text",
        ),
    ],
)
def test_a_broken_download_of_chatgpt(put, imported, change, message):
    with pytest.raises(DataError, match=f"conversations.json: .*{message}"):
        imported(put("conversations.json", json.dumps([*CHATGPT, CHATGPT[0] | change])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current_node": {}}, "current_node must be text, is an object"),
        (
            {"mapping": {"a": node(None, "user", "hi", create_time=10**400)}},
            r"mapping\['a'\].message.create_time must be seconds since 1970, is 10{39}$",
        ),
        (
            {"mapping": {"a": node(None, "user", "hi", create_time=float("nan"))}},
            r"mapping\['a'\].message.create_time must be seconds since 1970, is nan",
        ),
    ],
    ids=["node", "digits", "nan"],
)
def test_values_of_chatgpt_of_another_kind_are_refused(put, imported, change, message):
    with pytest.raises(DataError, match=rf"conversations.json: element 2 \('c1'\): {message}"):
        imported(put("conversations.json", json.dumps([*CHATGPT, CHATGPT[0] | change])))


@pytest.mark.parametrize("broken", [node("b", [], "x"), node("b", "user", "x", recipient=["all"])])
def test_messages_of_chatgpt_with_a_list_as_their_author_are_left_out(put, imported, broken):
    changed = {"mapping": MAPPING | {"x": broken}, "current_node": "x"}
    result = imported(put("conversations.json", json.dumps([CHATGPT[0] | changed])))
    assert len(result.said[0]) == 3
    assert result.left_out[TURNS] == 5


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (5, "chat_messages must be a list"),
        ([5], r"chat_messages\[0\] must be an object"),
        ([{"sender": "human", "text": 5}], r"chat_messages\[0\].text must be text, is a number"),
        ([{"sender": ["human"], "text": "x"}], r"chat_messages\[0\].sender must be text, is a list"),
        (
            [{"uuid": 1, "parent_message_uuid": "0", "sender": "human", "text": "x"}],
            r"chat_messages\[0\].uuid must be text, is a number",
        ),
        (
            [{"uuid": "1", "parent_message_uuid": [], "sender": "human", "text": "x"}],
            r"chat_messages\[0\].parent_message_uuid must be text, is a list",
        ),
        ([{"sender": "human", "text": "x", "created_at": "noon"}], "the time 'noon' is not ISO 8601"),
    ],
)
def test_a_broken_download_of_claude(put, imported, messages, message):
    with pytest.raises(DataError, match=rf"conversations.json: element 1 \('k'\): {message}"):
        imported(put("conversations.json", json.dumps([{"uuid": "k", "chat_messages": messages}])))
