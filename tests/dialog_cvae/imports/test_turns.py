"""Lists of turns under all common names, in JSON and Parquet."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.json_paths import json_paths
from dialog_cvae.imports.message import TURNS
from dialog_cvae.imports.source import open_source

FIELDS = {
    ("role", "content"): "chat-completion",
    ("from", "value"): "sharegpt",
    ("speaker", "text"): "turns",
    ("speaker", "utterance"): "turns",
}


def kind(path):
    ((_, found),) = recognised(open_source(path))
    return found.name


def record(name, role="role", text="content"):
    return {"meta": 1, name: [{role: "user", text: "hi"}, {role: "assistant", text: "yo"}]}


@pytest.mark.parametrize("name", ["messages", "conversation", "conversations", "items", "turns", "dialog", "dialogue"])
@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("form", ["line", "list", "data", "parquet"])
def test_lists_of_turns(put, tmp_path, imported, name, fields, form):
    found = record(name, *fields)
    path = tmp_path / "t.parquet"
    if form == "parquet":
        parquet.write_table(pa.table({name: [found[name]]}), path)
    else:
        content = {"line": found, "list": [found], "data": {"version": [1], "data": [found], "end": 1}}[form]
        path = put("t.json", json.dumps(content))
        assert kind(path) == FIELDS[fields]
    assert imported(path).said == [["user: hi", "assistant: yo"]]


@pytest.mark.parametrize("form", ["lines", "list", "data"])
def test_the_first_record_alone_does_not_decide(put, imported, form):
    records = [{"messages": []}, {"messages": [{"role": "user"}]}, record("messages")]
    content = {"lines": "\n".join(map(json.dumps, records)), "list": json.dumps(records)}
    path = put("t.json", content.get(form, json.dumps({"data": records})))
    assert kind(path) == "chat-completion"
    assert imported(path).said == [["user: hi", "assistant: yo"]]


def test_paths_of_the_first_few_objects_only():
    lines = [f'{{"k{number}": {{"x": 1}}}}' for number in range(20)]
    assert {path for path in json_paths("\n".join(lines)) if "." not in path} == {f"k{number}" for number in range(10)}
    assert json_paths('{"a": 1} and {"b": 1}') == {"a"}
    assert json_paths('[13.01.24] Ann: {"b": 1}') == set()


@pytest.mark.parametrize("role", ["function-call", "function_response", "Tool Result", "system"])
def test_turns_that_nobody_speaks(put, imported, role):
    found = record("items", "from", "value")
    found["items"].insert(1, {"from": role, "value": "{}"})
    result = imported(put("t.json", json.dumps(found)))
    assert (len(result.said[0]), result.left_out) == (2, {TURNS: 1})


def test_speakers_keep_their_names_even_if_one_is_called_system(put, imported):
    turns = [{"speaker": name, "text": "hi"} for name in ("SYSTEM", "Human", 0)]
    turns.append({"speaker": "function_call", "text": "{}"})
    result = imported(put("t.json", json.dumps({"dialogue_id": "d1", "dialogue": turns})))
    assert result.said == [["SYSTEM: hi", "Human: hi", "0: hi"]]
    assert (result.lines[0]["id"], result.left_out) == ("1:d1", {TURNS: 1})


OWN = {"topic": "pets", "split": "test", "utterances": [{"speaker": "A", "text": "hi"}, {"speaker": "B", "text": "yo"}]}


def test_our_own_form_as_a_list(put, imported):
    path = put("t.json", json.dumps([OWN, OWN], indent=1))
    assert kind(path) == "jsonl"
    result = imported(path)
    assert result.said == [["A: hi", "B: yo"]] * 2
    assert [line["split"] for line in result.lines] == ["test"] * 2
    with pytest.raises(DataError, match=r"t.json: element 1: utterances\[0\].text must be text, is a number"):
        imported(put("t.json", json.dumps([{"utterances": [{"speaker": "A", "text": 5}]}])))
    other = put("t.json", json.dumps([OWN | {"source": "x"}]))
    assert kind(other) == "turns"
    assert imported(other).lines[0]["topic"] == "pets"


def test_each_line_may_be_a_wrapper(put, imported):
    wrapped = json.dumps({"data": [record("messages")]})
    assert imported(put("t.json", f"{wrapped}\n{wrapped}\n")).said == [["user: hi", "assistant: yo"]] * 2
    with pytest.raises(DataError, match=r"t\.json, line 3: object 3, data, element 1 must be an object, is a number"):
        imported(put("t.json", f'{wrapped}\n{wrapped}\n{{"data": [5]}}'))
    with pytest.raises(DataError, match=r"t\.json, line 2: object 2 has no list 'data': remove it"):
        imported(put("t.json", f'{wrapped}\n{{"messages": []}}'))


def test_a_broken_wrapper(put, imported):
    with pytest.raises(DataError, match=r"t.json, line 2: data, element 2 must be an object, is a number"):
        imported(put("t.json", json.dumps({"data": [record("messages")]})[:-2] + ",\n5]}"))
    with pytest.raises(DataError, match="has no list of turns with role and content, such as messages"):
        imported(put("t.json", "[{}]"), format="chat-completion")
