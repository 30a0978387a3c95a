"""`python -m eval.blind` from end to end, with all kinds of sources, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus, load_split
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.generate.responder import Responder
from dialog_cvae.limits import find_name
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Profile
from eval.baselines.without_model import nearest_neighbours
from eval.blind import service
from eval.blind.__main__ import main
from eval.blind.places import ContextPlace, Task, draw_places
from eval.blind.service import Service
from eval.blind.sheet import Key
from eval.blind.sources import parse_sources
from tests.api.page.conftest import serving

ROOT = Path(__file__).parents[3]
SAMPLE = ["--data", "sample", "--contexts", "4", "--replies", "3"]


@pytest.fixture(autouse=True)
def _no_data_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    monkeypatch.delenv("DIALOG_CVAE_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def sample_places() -> list[ContextPlace]:
    return draw_places(load_split(DataConfig(name="sample"), "test")[1], 4, 0, 6)


def key_of(folder: Path) -> Key:
    return Key.load(folder / "key.json")


def texts_of(key: Key, name: str) -> list[list[str]]:
    return [[key.texts[one] for one in context.replies[name]] for context in key.contexts]


def test_a_sheet_and_its_tally(tiny_folder, tmp_path, sample_places, capsys):
    folder = tmp_path / "reading"
    sources = [f"tiny={tiny_folder}", "people", "neighbours", "random"]
    assert main(["sheet", *SAMPLE, "--out", str(folder), *sources]) == 0
    assert {path.name for path in folder.iterdir()} == {"sheet.html", "sheet.csv", "rules.md", "key.json"}
    # each source answers the same contexts
    key, corpus = key_of(folder), load_corpus(DataConfig(name="sample"))
    assert [(each.conversation, each.position) for each in key.contexts] == [p.window.place for p in sample_places]
    assert texts_of(key, "people") == [[place.window.reply.text] for place in sample_places]
    neighbours = {
        (one.conversation, one.position): list(one.replies)
        for one in nearest_neighbours(list(corpus.train), list(corpus.test), 3, 0)
    }
    assert texts_of(key, "neighbours") == [neighbours[place.window.place] for place in sample_places]
    known = {turn.text for conversation in corpus.train for turn in conversation.utterances}
    assert all(len(texts) == 3 and set(texts) <= known for texts in texts_of(key, "random"))
    responder = Responder.load(tiny_folder)
    for place, texts in zip(sample_places, texts_of(key, "tiny"), strict=True):
        seed = (0, place.conversation_number, place.window.position)
        known = replace(place.before, topic=find_name(place.before.topic or "", responder.topics))
        replies = responder.respond(known, respond_as=place.window.reply.speaker, n=3, seed=seed)
        assert texts == [reply.text for reply in replies]
    # two readers
    files = []
    for reader, answer in (("ann", "1"), ("bo", "0")):
        rows = [f"{one},1,{answer},1" for one in key.texts]
        files.append(tmp_path / f"{reader}.csv")
        files[-1].write_text("\n".join(["id,fluent,fits,specific", *rows]), encoding="utf-8")
    capsys.readouterr()
    assert main(["tally", str(folder), *map(str, files)]) == 0
    text = capsys.readouterr().out
    assert "| people | 100% | " in text
    assert "no intervals: they need at least 10 conversations" in text
    found = json.loads((folder / "tally.json").read_text(encoding="utf-8"))
    assert found["mean"]["sources"]["tiny"]["fits"]["mean"] == 0.5
    assert found["all"]["sources"]["tiny"]["fits"]["mean"] == 0


def test_contexts_of_the_same_conversation_are_named(tmp_path, capsys):
    """The note says it; more contexts than can be kept apart are refused with the limit."""
    file = tmp_path / "mine.jsonl"
    lines = [
        {"utterances": [{"speaker": "AB"[i % 2], "text": f"{subject} {verb} {i}"} for i in range(30)]}
        for subject in ("we", "you", "they", "some", "all", "few", "many", "most")
        for verb in ("see", "hear", "like", "want", "take")
    ]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    command = ["contexts", "--data", str(file), "--shown", "3", "--out", str(tmp_path / "contexts.jsonl")]
    count = len(load_split(DataConfig(name=str(file)), "test")[1])
    assert main([*command, "--contexts", str(count)]) == 0
    assert "note" not in capsys.readouterr().err
    assert main([*command, "--contexts", str(count + 1)]) == 0
    assert f"note: the split has {count} conversations for {count + 1} contexts" in capsys.readouterr().err
    assert main([*command, "--contexts", str(28 * count)]) == 2
    assert "must be more than --shown 3 utterances apart" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_bytes_in_another_process(tiny_folder, tmp_path):
    """Whatever the order in which Python's sets are gone through, and whatever the order of the sources."""
    sources = [f"tiny={tiny_folder}", "people", "neighbours", "random"]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, order, hash_seed in ((first, sources, "1"), (second, sources[::-1], "7")):
        command = [sys.executable, "-m", "eval.blind", "sheet", *SAMPLE, "--out", str(folder), *order]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    for name in ("sheet.html", "sheet.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert key_of(first).texts == key_of(second).texts


def test_replies_made_elsewhere(tmp_path, sample_places):
    listed = tmp_path / "contexts.jsonl"
    assert main(["contexts", "--data", "sample", "--contexts", "4", "--out", str(listed)]) == 0
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    for line, place in zip(lines, sample_places, strict=True):
        assert (line["conversation"], line["position"]) == place.window.place
        assert [turn["text"] for turn in line["context"]] == [turn.text for turn in place.before.utterances]
        assert line["speaker"] == place.window.reply.speaker
        assert "reference" not in line
    answers = tmp_path / "mine.jsonl"
    made = [{**line, "responses": [f"reply {i} to {line['position']}" for i in range(5)]} for line in lines]
    answers.write_text("\n".join([*map(json.dumps, made), ""]), encoding="utf-8-sig")
    folder = tmp_path / "reading"
    assert main(["sheet", *SAMPLE, "--out", str(folder), f"mine={answers}"]) == 0
    expected = [[f"reply {i} to {line['position']}" for i in range(3)] for line in lines]
    assert texts_of(key_of(folder), "mine") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "mine.jsonl, line 1: is not a JSON object in UTF-8"),
        ("[]", "mine.jsonl, line 1: the line: "),
        ('{"conversation": "x", "position": "2", "responses": []}', "mine.jsonl, line 1: position: "),
        ('\n{"conversation": "x", "position": 2}', "mine.jsonl, line 2: responses: "),
        (
            '{"conversation": "x", "position": 2, "responses": []}\n' * 2,
            "line 2: duplicate: conversation 'x', position 2",
        ),
        ('{"conversation": "x", "position": 2, "responses": []}', "mine.jsonl: has no replies to conversation '"),
    ],
)
def test_files_of_replies_that_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "mine.jsonl"
    path.write_text(content, encoding="utf-8")
    assert main(["sheet", *SAMPLE, "--out", str(tmp_path / "out"), f"mine={path}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["swda"], "SOURCE: must be people, neighbours, random alone, or NAME=FOLDER"),
        (["=x"], "SOURCE: must be"),
        (["x="], "SOURCE: must be"),
        (["people=runs/x"], "SOURCE: must be"),
        (["x=random"], "SOURCE: must be"),
        (["people", "people"], "SOURCE: duplicate name 'people'"),
        (["x=nowhere"], "nowhere"),
        (["x=nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["x=http://127.0.0.1:1"], "http://127.0.0.1:1/model: cannot be reached"),
    ],
)
def test_sources_that_are_refused(tmp_path, capsys, sources, message):
    assert main(["sheet", *SAMPLE, "--out", str(tmp_path / "out"), *sources]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_with_files_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["sheet", *SAMPLE, "--out", str(tmp_path), "people"]) == 2
    assert f"--out: {tmp_path} exists already; remove it or give another folder" in capsys.readouterr().err


def test_a_corpus_must_be_named_without_a_checkpoint(tmp_path, capsys):
    assert main(["sheet", "--out", str(tmp_path / "out"), "people"]) == 2
    assert "--data: name a corpus" in capsys.readouterr().err


def test_the_corpus_is_that_of_the_first_checkpoint(tiny_folder, tmp_path):
    folder = tmp_path / "reading"
    assert main(["sheet", "--contexts", "2", "--out", str(folder), "people", f"tiny={tiny_folder}"]) == 0
    assert key_of(folder).made["data"] == "sample (synthetic)"


def test_contexts_are_those_of_a_sheet_with_the_same_checkpoint(tiny_folder, tmp_path):
    tiny = Checkpoint.load(tiny_folder)
    fit = {"corpus": {"name": "sample", "respond_as": ["B"]}}
    provenance = tiny.config.provenance.model_copy(update={"fit": fit})
    replace(tiny, config=tiny.config.model_copy(update={"provenance": provenance})).save(tmp_path / "tiny")
    listed, source = tmp_path / "contexts.jsonl", f"tiny={tmp_path / 'tiny'}"
    assert main(["contexts", "--contexts", "4", "--out", str(listed), source]) == 0
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    assert {line["speaker"] for line in lines} == {"B"}
    assert main(["sheet", "--contexts", "4", "--out", str(tmp_path / "reading"), source]) == 0
    key = key_of(tmp_path / "reading")
    assert [(line["conversation"], line["position"]) for line in lines] == [
        (each.conversation, each.position) for each in key.contexts
    ]


def test_kinds_of_sources():
    kinds = parse_sources(["people", "a=runs/best", "b=http://host", "c=x.jsonl", "random"])
    assert [each.is_checkpoint for each in kinds] == [False, True, False, False, False]
    assert [each.needs_train for each in kinds] == [False, False, False, False, True]


def test_a_running_service_answers(tiny_folder, sample_places):
    task = Task([*map(with_profiles, sample_places)], (), 3, 0)
    with serving(tiny_folder) as url:
        answers = Service(url).answers(task)
        assert answers == Service(url).answers(task)
    assert all(1 <= len(texts) <= 3 and all(texts) for texts in answers)


def test_a_service_that_needs_a_key(tiny_folder, tmp_path, capsys, monkeypatch):
    secret = "correct-horse-battery"
    with serving(tiny_folder, api_keys=secret, max_responses=2) as url:
        assert main(["sheet", *SAMPLE, "--out", str(tmp_path / "out"), f"x={url}"]) == 2
        assert "401" in capsys.readouterr().err
        monkeypatch.setenv("DIALOG_CVAE_API_KEY", secret)
        assert main(["sheet", *SAMPLE, "--out", str(tmp_path / "out"), f"x={url}"]) == 2
        assert "--replies: must be at most 2, the limit of" in capsys.readouterr().err
        assert main(["sheet", *SAMPLE[:-1], "2", "--out", str(tmp_path / "out"), f"x={url}"]) == 0


class Stub(BaseHTTPRequestHandler):
    """A service that is busy once, and keeps the bodies of requests."""

    bodies: list[dict] = []  # noqa: RUF012  (of the class, so that a test can read it)
    busy = 1
    reads_profiles, free_topic = True, False

    def do_GET(self) -> None:
        model = {"limits": {"num_responses": 20, "context": 3}, "free_topic": Stub.free_topic}
        answers = {"/model": model, "/topics": {"topics": [] if Stub.free_topic else ["Weather"]}}
        self.reply(200, answers.get(self.path, {}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Stub.busy:
            Stub.busy -= 1
            self.reply(503, {"detail": "busy"}, {"Retry-After": "0"})
            return
        Stub.bodies.append(body)
        if "speakers" in body and not Stub.reads_profiles:
            self.reply(422, {"detail": "invalid", "errors": [{"loc": ["body"], "msg": "", "type": "no_profiles"}]})
        else:
            self.reply(200, {"responses": [{"text": "hello", "log_prob": -1.0}]})

    def reply(self, status: int, content: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[str]:
    Stub.bodies, Stub.busy, Stub.reads_profiles, Stub.free_topic = [], 1, True, False
    with HTTPServer(("127.0.0.1", 0), Stub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_a_service_is_asked(stub, sample_places, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(service.time, "sleep", waits.append)
    places = [place for place in sample_places if place.window.position > 3]
    assert Service(stub + "/").answers(Task(places, (), 3, 0)) == [["hello"]] * len(places)
    assert waits == [0]
    for place, body in zip(places, Stub.bodies, strict=True):
        last = place.before.utterances[-3:]
        assert body.pop("context") == [{"speaker": turn.speaker, "text": turn.text} for turn in last]
        assert 0 <= body.pop("seed") < 2**63
        topic = {"topic": "Weather"} if place.before.topic == "weather" else {}
        speakers = {name: asdict(profile) for name, profile in place.before.speakers.items()}
        assert body == {"respond_as": place.window.reply.speaker, "num_responses": 3, **topic, "speakers": speakers}


def with_profiles(place: ContextPlace) -> ContextPlace:
    """The same context; of A something is known."""
    speakers = {"A": Profile("female", 41), "B": Profile(), "C": Profile("male")}
    conversation = replace(place.window.conversation, speakers=speakers)
    return place._replace(window=place.window._replace(conversation=conversation))


def test_a_service_gets_known_profiles(stub, sample_places, monkeypatch):
    monkeypatch.setattr(service.time, "sleep", lambda _: None)
    places = [with_profiles(place) for place in sample_places if place.window.position > 3]
    assert Service(stub).answers(Task(places, (), 3, 0)) == [["hello"]] * len(places)
    assert [body["speakers"] for body in Stub.bodies] == [{"A": {"sex": "female", "age": 41}}] * len(places)


def test_a_language_model_that_reads_no_profiles_is_asked_without(stub, sample_places, monkeypatch):
    monkeypatch.setattr(service.time, "sleep", lambda _: None)
    Stub.reads_profiles, Stub.free_topic = False, True
    places = [with_profiles(place) for place in sample_places if place.window.position > 3]
    assert Service(stub).answers(Task(places, (), 3, 0)) == [["hello"]] * len(places)
    assert ["speakers" in body for body in Stub.bodies] == [True, *[False] * len(places)]
    assert [body["topic"] for body in Stub.bodies[1:]] == [place.before.topic for place in places]


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("http://[::1", None, r"http://\[::1: is not an address of a service \(Invalid IPv6 URL\)"),
        ("http://127.0.0.1:port", None, "is not an address of a service"),
        ("http://127.0.0.1:1", "ключ", "^DIALOG_CVAE_API_KEY must have printable ASCII characters"),
        ("http://127.0.0.1:1", "a\nb", "^DIALOG_CVAE_API_KEY must have printable ASCII characters"),
        ("http://127.0.0.1:1/ü", None, "cannot be reached"),
    ],
)
def test_an_address_or_key_that_cannot_be_used_is_refused(url: str, key: str | None, message: str) -> None:
    with pytest.raises(DialogCvaeError, match=message):
        Service(url, key)
