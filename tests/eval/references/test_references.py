"""The command line `eval.references`: build, report, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_split
from dialog_cvae.errors import DataError
from eval.references import __main__ as references
from eval.references.__main__ import main
from eval.references.multi_reference import load

ROOT = Path(__file__).parents[3]


def lines(count: int, *, topics: bool = True) -> str:
    """Conversations of a user's own, which answer as they are asked."""
    found = []
    for i in range(count):
        turns = [f"what about number {i}", f"number {i} is fine", "and then", f"then comes {i + 1}"]
        said = [{"speaker": "AB"[j % 2], "text": text} for j, text in enumerate(turns)]
        found.append(json.dumps({"utterances": said} | ({"topic": f"t{i % 3}"} if topics else {})))
    return "\n".join(found)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """References for the synthetic corpus."""
    out = tmp_path_factory.mktemp("references") / "sample.json"
    assert main(["build", "--data", "sample", "--out", str(out)]) == 0
    return out


def test_a_file_and_its_report(built, capsys):
    _, conversations = load_split(DataConfig(name="sample"), "test")
    rows = load(built, conversations)
    assert len(rows) == sum(len(conversation.utterances) for conversation in conversations)
    report = json.loads(built.with_suffix(".report.json").read_text())
    assert (report["data"], report["split"], report["candidates"]) == ("sample (synthetic)", "test", 10)
    assert report["speaker changes"]["figures"]["mean_references"] == pytest.approx(9, abs=0.2)
    assert 0.5 < report["filter_accuracy"] < 1
    again = built.with_name("again.json")
    assert main(["report", str(built), "--data", "sample", "--out", str(again)]) == 0
    assert "references, mean" in capsys.readouterr().out
    counted = json.loads(again.read_text())
    assert counted["all"] == report["all"]


@pytest.mark.slow
def test_the_same_bytes_in_another_process(built, tmp_path):
    """Whatever the order in which Python's sets are gone through."""
    out = tmp_path / "sample.json"
    command = [sys.executable, "-m", "eval.references", "build", "--data", "sample", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, capture_output=True)
    assert out.read_bytes() == built.read_bytes()


@pytest.mark.slow
def test_references_for_switchboard_have_as_many_acts_as_the_published_ones(data_folder, tmp_path):
    """The mean of references is no evidence: the filter's threshold sets it."""
    if not any((data_folder / "swda").glob("*")):
        pytest.skip("needs the Switchboard Dialog Act Corpus in swda/")
    out = tmp_path / "swda.json"
    assert main(["build", "--data", "swda", "--data-dir", str(data_folder), "--out", str(out)]) == 0
    report = json.loads(out.with_suffix(".report.json").read_text())
    assert report["all"]["figures"]["contexts"] == 2662
    changes = report["speaker changes"]
    assert changes["figures"]["mean_dialog_acts"] == pytest.approx(changes["published"]["mean_dialog_acts"], abs=0.3)
    assert report["filter_accuracy"] > 0.65


@pytest.mark.parametrize("topics", [True, False])
def test_a_users_own_conversations(tmp_path, topics, capsys):
    data, out = tmp_path / "mine.jsonl", tmp_path / "refs.json"
    data.write_text(lines(40, topics=topics))
    assert (
        main(["build", "--data", str(data), "--no-filter", "--distinct", "--candidates", "3", "--out", str(out)]) == 0
    )
    _, conversations = load_split(DataConfig(name=str(data)), "test")
    rows = load(out, conversations)
    # at 2 all say the same, which counts once
    assert {(position, len(row.responses)) for (_, position), row in rows.items()} == {(0, 1), (1, 4), (2, 1), (3, 4)}
    assert {act for row in rows.values() for act in row.dialog_acts} == {None}
    assert "filter_accuracy" not in json.loads((tmp_path / "refs.report.json").read_text())
    assert main(["build", "--data", str(data), "--out", str(out)]) == 2
    assert "the filter needs at least 500 training contexts" in capsys.readouterr().err


def test_candidates_of_another_corpus(tmp_path):
    data, out = tmp_path / "mine.jsonl", tmp_path / "refs.json"
    data.write_text(lines(40))
    command = ["build", "--data", str(data), "--split", "valid", "--train", "sample", "--out", str(out)]
    assert main(command) == 0
    _, train = load_split(DataConfig(name="sample"), "train")
    known = {u.text for conversation in train for u in conversation.utterances}
    _, conversations = load_split(DataConfig(name=str(data)), "valid")
    extras = {text for row in load(out, conversations).values() for text in row.responses[1:]}
    assert extras
    assert extras <= known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--data", "sample", "--out", "x.jsonl"], "--out: must be a file whose name ends with .json"),
        (["build", "--data", "nothing", "--out", "x.json"], "unknown corpus"),
        (
            ["build", "--data", "sample", "--out", "x.json", "--no-filter", "--seed", "0"],
            "--seed: has no effect with --no-filter",
        ),
        (
            ["build", "--data", "sample", "--out", "x.json", "--no-filter", "--keep-share", "0.5"],
            "--keep-share: has no effect with --no-filter",
        ),
        (["report", "missing.json", "--data", "sample"], "missing.json: cannot be read"),
    ],
)
def test_refusals(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert message in printed[0]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file/x.json", "file/x.json cannot be written (Not a directory)"),
        ("file/new/x.json", "file/new/x.json cannot be written (Not a directory)"),
        ("folder.json", "folder.json is a folder"),
        ("refs.json", "refs.report.json is a folder"),
        ("x" * 247 + ".json", "cannot be written (File name too long)"),
        ("y" * 300 + "/x.json", "cannot be written (File name too long)"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(out, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("folder.json").mkdir()
    Path("refs.report.json").mkdir()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(references, "load_corpus", lambda *_: pytest.fail("the work has begun"))
    assert main(["build", "--data", "sample", "--out", out]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --out: ")
    assert error.endswith(f"{message}\n")
    assert sorted(tmp_path.iterdir()) == before
    assert Path("file").read_text() == "mine"


def test_a_missing_folder_is_created(built, tmp_path):
    out = tmp_path / "one" / "two" / "report.json"
    assert main(["report", str(built), "--data", "sample", "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["report.json"]


def test_a_report_never_overwrites_its_input(built, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, refs = tmp_path / "mine.jsonl", tmp_path / "refs.json"
    data.write_text(lines(40))
    assert main(["build", "--data", "mine.jsonl", "--no-filter", "--out", "refs.json"]) == 0
    kept = [data.read_bytes(), refs.read_bytes()]
    (tmp_path / "link.json").symlink_to(refs)
    for out in ("refs.json", str(refs), "./refs.json", "link.json", "mine.jsonl"):
        capsys.readouterr()
        assert main(["report", "refs.json", "--data", "mine.jsonl", "--out", out]) == 2
        assert f"--out: {Path(out)} is " in capsys.readouterr().err
    assert [data.read_bytes(), refs.read_bytes()] == kept


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["build", "--data", "sample"],
        ["build", "--data", "sample", "--out", "x.json", "--candidates", "0"],
        ["build", "--data", "sample", "--out", "x.json", "--keep-share", "1.5"],
        ["build", "--data", "sample", "--out", "x.json", "--keep-share", "nan"],
        ["build", "--data", "sample", "--out", "x.json", "--split", "train"],
        ["report"],
    ],
)
def test_bad_arguments_end_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_switchboard_is_the_default_and_no_other_corpus_takes_its_place(tmp_path, monkeypatch, capsys):
    def fetch(_: object) -> Path:
        raise DataError("swda", "cannot be downloaded")

    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("dialog_cvae.data.download.fetch", fetch)
    assert main(["build", "--out", str(tmp_path / "x.json")]) == 2
    assert "error: swda: cannot be downloaded" in capsys.readouterr().err
