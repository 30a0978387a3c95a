"""The tutorial, followed: every command and request of docs/tutorial.md runs in its order, at a tiny size."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from dialog_cvae import console
from dialog_cvae.storage.find_backbone import DEFAULT_FILE
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf
from training import final_report, fit

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
# Commands that a test cannot run, by how they begin.
SKIPPED = {
    "make env": "installs packages from the network",
    "source ": "is of the shell; the test has the environment already",
    "curl --fail ": "downloads the data; the test writes a file in the publisher's form",
    "dialog-cvae backbone": "downloads the language model; the test writes a tiny one",
}
ADDRESS = "http://127.0.0.1:8000"
GRU = {
    f"{name}_size": 8 for name in ("embedding", "utterance", "context", "decoder", "topic", "prior", "bow", "latent")
}
LANGUAGE = {"rank": 2, "latent_size": 3, "z_layers": 1, "hidden_size": 5, "max_context_tokens": 20}
TRAIN = {"batch_size": 7, "segment": 4, "early_stopping": False, "threads": 1, "precision": "fp32", "accumulation": 1}
WORDS = ("table", "flight", "bus", "room", "two", "now", "yes", "no", "ok", "hi")


def publisher_dialogues(count: int) -> list[dict[str, Any]]:
    rng = random.Random(3)
    turns = [("USER", "INFORM"), ("SYSTEM", "REQUEST")] * 2
    return [
        {
            "dialogue_id": f"1_{number:05}",
            "services": [f"{rng.choice(('Restaurants', 'Buses'))}_1"],
            "turns": [
                {
                    "frames": [{"actions": [{"act": act, "slot": "", "values": []}], "service": "Buses_1"}],
                    "speaker": speaker,
                    "utterance": " ".join(rng.sample(WORDS, 3)),
                }
                for speaker, act in turns
            ],
        }
        for number in range(count)
    ]


def commands(block: str) -> list[str]:
    """The commands of a block: a line each, or all lines of a request, whose body goes on."""
    return [block.strip()] if block.startswith("curl -s") else block.splitlines()


class Reader:
    """Follows the page in a folder of its own, and remembers what it ran."""

    def __init__(self, tiny: Path) -> None:
        self.tiny = tiny
        self.ran: list[str] = []
        self.skipped: set[str] = set()
        self.answers: list[Any] = []

    def follow(self, kind: str, block: str, address: str | None) -> None:
        """Run a block; outputs are passed over."""
        if kind == "python":
            assert address is not None
            exec(compile(block.replace(ADDRESS, address), str(PAGE), "exec"), {})
        for line in commands(block) if not kind else ():
            if reason := next((begin for begin in SKIPPED if line.startswith(begin)), None):
                self.skipped.add(reason)
            elif line.startswith("curl -s"):
                self.request(line, address)
            else:
                self.command(line)

    def request(self, line: str, address: str | None) -> None:
        assert address is not None, "a request is shown before the service is started"
        words = shlex.split(line)
        url, body = words[2], words[words.index("-d") + 1]
        assert words[3:5] == ["-H", "Content-Type: application/json"]
        answer = httpx2.post(url.replace(ADDRESS, address), content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text
        self.answers.append(answer.json())

    def command(self, line: str) -> None:
        words = shlex.split(line)
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            os.environ[name] = value  # put back by the test's monkeypatch
        assert words[0] == "dialog-cvae", line
        if words[1:3] == ["blind", "tally"]:
            fill_in(Path(words[3], "sheet.csv"), Path(words[4]))
        assert console.main(self.smaller(words[1:])) == 0, line
        self.ran.append(" ".join(words[1:3]) if words[1] == "blind" else words[1])

    def smaller(self, words: Sequence[str]) -> list[str]:
        """The same command on a tiny model."""
        if words[0] == "fit":
            at = words.index("--max-minutes")
            words = [*words[:at], *words[at + 2 :], "--max-steps", "2", "--config", str(self.tiny)]
            words += ["--no-report"] if "fit" in self.ran else []  # the first one is measured at its end
        if words[0] == "eval":
            assert Path(words[1]).parent.joinpath("test", "report.html").is_file()  # the training made it
            words = [*words, "--limit", "2", "--samples", "2", "--max-tokens", "6", "--candidates", "3"]
        if words[:2] == ["blind", "sheet"]:
            words = [*words, "--contexts", "2", "--replies", "2"]
        return list(words)


def fill_in(sheet: Path, returned: Path) -> None:
    """Answer yes to every question, as a reader does in a spreadsheet."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    for row in rows[rows.index(next(row for row in rows if row[:1] == ["id"])) + 1 :]:
        row[-3:] = "111"
    with returned.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The address of each service that `dialog-cvae serve` started, in a thread instead of this process."""
    addresses: list[str] = []
    started: list[tuple[uvicorn.Server, threading.Thread]] = []

    def run(app: str, *, host: str, port: int, **options: Any) -> None:
        server = uvicorn.Server(uvicorn.Config("api.app:create_app", factory=True, host=host, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        started.append((server, thread))
        while thread.is_alive() and not server.started:
            thread.join(0.01)
        addresses.append(f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}")
        while httpx2.get(f"{addresses[-1]}/health/ready").status_code != 200:
            thread.join(0.05)

    monkeypatch.setattr(uvicorn, "run", run)
    yield addresses
    for server, thread in started:
        server.should_exit = True
        thread.join(20)


def test_the_tutorial_can_be_followed_to_its_end(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit, "draw_learning_curves", lambda *_: None)
    monkeypatch.setattr(final_report, "MOST", 10)
    for name in ("DIALOG_CVAE_CHECKPOINT", "DIALOG_CVAE_FEEDBACK", "DIALOG_CVAE_DATA"):
        monkeypatch.setenv(name, "")  # so that what a command sets is removed again
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    backbone = tmp_path / "cache" / "dialog_cvae" / "backbones" / DEFAULT_FILE  # where its command would put it
    backbone.parent.mkdir(parents=True)
    write_gguf(backbone, drawn())
    monkeypatch.setenv("DIALOG_CVAE_MAX_TOKENS", "6")
    (tmp_path / "tiny.json").write_text(
        json.dumps({"model": GRU, "language": LANGUAGE, "train": TRAIN, "beta": {"cycles": 1}})
    )
    (tmp_path / "sgd").mkdir()
    (tmp_path / "sgd" / "dialogues_001.json").write_text(json.dumps(publisher_dialogues(30), indent=2))
    reader = Reader(tmp_path / "tiny.json")
    for kind, block in BLOCKS:
        reader.follow(kind, block, served[-1] if served else None)
    # every step was there
    steps = [
        "import",
        "check",
        "fit",
        "fit",
        "eval",
        "blind sheet",
        "blind tally",
        "serve",
        "feedback",
        "import",
        "fit",
    ]
    assert reader.ran == steps
    assert reader.skipped == set(SKIPPED)
    asked, stored = reader.answers
    assert len(asked["responses"]) == 3
    assert stored == {"status": "stored"}
    # what was sent is what the last model learnt from too
    texts = [json.loads(line) for line in Path("more.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(texts) == 31
    assert texts[-1]["utterances"][-1] == {"speaker": "agent", "text": "Sure. What type of cuisine would you like?"}
    assert Path("runs/more/best/model.safetensors").is_file()
    assert Path("runs/sgd/test/report.html").is_file()
    printed = capsys.readouterr().out
    assert "take --respond-as agent" in printed
    assert "edited 1 of 1" in printed
