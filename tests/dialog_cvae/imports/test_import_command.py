"""The command line: what it prints, its exit status, and its options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dialog_cvae import console
from dialog_cvae.imports import convert
from dialog_cvae.imports.__main__ import main

CHAT = """\
13/01/24, 10:00 - Ann: mail a@b.org, Bo
13/01/24, 10:01 - Bo: ok Ann
13/01/24, 13:00 - Ann: bye
13/01/24, 13:01 - Bo: bye
"""


def test_a_chat_is_converted_and_the_report_says_how(put, tmp_path, capsys):
    out = tmp_path / "mine.jsonl"
    assert console.main(["import", str(put("chat.txt", CHAT)), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "chat.txt: a WhatsApp chat\n  dates are read day first (line 1" in printed
    assert "1 conversations, 4 utterances" in printed
    assert printed.endswith(f"next: dialog-cvae check {out}\n")
    assert len(out.read_text().splitlines()) == 1


def test_options_reach_the_conversion(put, tmp_path, capsys):
    out = tmp_path / "mine.jsonl"
    options = ["--gap", "1h", "--no-merge", "--redact", "--names", str(put("names.txt", "Ann\nBo\n")), "--anonymous"]
    assert main([str(put("chat.txt", CHAT)), "--out", str(out), *options]) == 0
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert [u["text"] for u in first["utterances"]] == ["mail <EMAIL>, <NAME>", "ok <NAME>"]
    assert [u["speaker"] for u in second["utterances"]] == ["A", "B"]
    assert "replaced: 1 <EMAIL>, 2 <NAME>" in capsys.readouterr().out


def test_names_may_be_in_the_named_encoding(put, tmp_path, capsys):
    words = [str(put("t.csv", "speaker,text\nA,hi Zoë\nB,yo\n")), "--out", str(tmp_path / "mine.jsonl"), "--redact"]
    words += ["--names", str(put("names.txt", "Zoë\n".encode("cp1252")))]
    assert main(words) == 2
    assert "names.txt, line 1: not UTF-8; if a program wrote it in another encoding, name it: --encoding cp1252" in (
        capsys.readouterr().err
    )
    assert main([*words, "--encoding", "cp1252"]) == 0
    assert '"hi <NAME>"' in (tmp_path / "mine.jsonl").read_text()


def test_several_files_become_one(put, tmp_path):
    table = put("t.csv", "conversation,speaker,text\n1,A,hi\n1,B,yo\n")
    out = tmp_path / "mine.jsonl"
    assert main([str(put("chat.txt", CHAT)), str(table), "--out", str(out)]) == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["1", "2:1"]


def test_a_folder_is_not_read_together_with_what_an_earlier_run_wrote_into_it(put, tmp_path, capsys):
    folder = put("all/chat.txt", CHAT).parent
    put("all/notes.txt", "buy milk")
    words = [str(folder), "--out", str(folder / "mine.jsonl")]
    assert main(words) == 0
    assert f"\n{folder}: passed over: 1 files in no known format (notes.txt)\n" in capsys.readouterr().out
    written = (folder / "mine.jsonl").read_text()
    assert main(words) == 2
    assert "mine.jsonl is in the folder" in capsys.readouterr().err
    assert (folder / "mine.jsonl").read_text() == written


def test_a_link_stays_and_its_file_is_written(put, tmp_path):
    old, link = put("real/old.jsonl", "old"), tmp_path / "link.jsonl"
    link.symlink_to(old)
    assert main([str(put("chat.txt", CHAT)), "--out", str(link)]) == 0
    assert link.is_symlink()
    assert old.read_text() == link.read_text() != "old"
    assert [path.name for path in old.parent.iterdir()] == ["old.jsonl"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name on Windows")
def test_what_is_no_file_is_not_replaced(put, tmp_path, capsys):
    pipe, link, circle = tmp_path / "pipe", tmp_path / "link", tmp_path / "circle"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    circle.symlink_to(circle)
    for out, reason in ((pipe, "is no file"), (link, "is no file"), (circle, "")):
        assert main([str(put("chat.txt", CHAT)), "--out", str(out)]) == 2
        assert f"error: {out}: cannot be written ({reason}" in capsys.readouterr().err
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_no_temporary_file(name, put, tmp_path, monkeypatch, capsys):
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("Windows has no such signal")
    earlier = signal.signal(number, lambda *_: pytest.fail("not handled"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    seen = []

    def signalled(*_: object, **__: object) -> None:
        seen.extend([*temporary.iterdir(), *(tmp_path / "out").iterdir()])
        signal.raise_signal(number)

    monkeypatch.setattr(convert, "_line", signalled)
    table = put("t.csv", "conversation,speaker,text\n1,A,hi\n1,B,yo\n2,A,hi\n2,B,yo\n")
    try:
        assert main([str(table), "--out", str(tmp_path / "out" / "mine.jsonl")]) == 130
    finally:
        signal.signal(number, earlier)
    assert capsys.readouterr().err == "interrupted\n"
    assert len(seen) == 2
    assert [*temporary.iterdir(), *(tmp_path / "out").iterdir()] == []


def test_a_report_that_cannot_be_printed_is_no_error(put, tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no device that is always full")
    words = [
        sys.executable,
        "-m",
        "dialog_cvae.imports",
        str(put("chat.txt", CHAT)),
        "--out",
        str(tmp_path / "m.jsonl"),
    ]
    with full.open("w") as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == "the file is written, but the report cannot be printed (No space left on device)\n"
    assert (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gap", "6"], "argument --gap: must be a length such as 30m, 6h or 2d, or none, but is 6"),
        (["--column", "body=text"], "argument --column: must be WHAT=NAME with WHAT one of conversation"),
        (["--encoding", "klingon"], "must be the name of an encoding, such as cp1252, but is klingon"),
        (["--format", "word"], "argument --format: invalid choice: 'word'"),
    ],
)
def test_invalid_arguments(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["chat.txt", "--out", "mine.jsonl", *options])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.txt", "--out", "mine.jsonl"], "gone.txt: cannot be read (No such file or directory)"),
        (["chat.txt", "--out", "chat.txt"], "--out chat.txt is also read; name another file"),
        (["chat.txt", "--out", "mine.jsonl", "--region", "DE"], "--region and --names need --redact"),
        (["chat.txt", "--out", "chat.txt/mine.jsonl"], "chat.txt/mine.jsonl: cannot be written ("),
        (["chat.txt", "--out", "folder"], "folder: cannot be written (Is a directory)"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(words, message, put, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put("chat.txt", CHAT)
    (tmp_path / "folder").mkdir()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.txt", "folder"]
