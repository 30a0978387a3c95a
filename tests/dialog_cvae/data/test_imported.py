"""Files of other programs as a corpus: converted once, under their own name, with the format in the notes."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data import imported
from dialog_cvae.data.cache import CACHE_VARIABLE
from dialog_cvae.data.corpora import is_path, load_corpus, source_files
from dialog_cvae.errors import DataError
from training.check.__main__ import main as check

CHAT = "".join(f"{day}/01/24, 10:0{i} - {'AB'[i]}: hi {day}\n" for day in range(13, 23) for i in range(2))


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    path = tmp_path / "garden.txt"
    path.write_text(CHAT)
    return path


def test_a_chat_is_a_corpus(chat: Path) -> None:
    corpus = load_corpus(DataConfig(name=str(chat)))
    assert corpus.name == "garden"
    assert len(corpus.train) + len(corpus.valid) + len(corpus.test) == 10
    assert corpus.notes[0] == "a WhatsApp chat"
    assert source_files(DataConfig(name=str(chat))) == [chat]


def test_it_is_converted_once_until_it_changes(chat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = imported.readable(chat)
    with monkeypatch.context() as patch:
        patch.setattr(imported.convert, "convert", None)
        assert imported.readable(chat) == first
    chat.write_text(CHAT + "23/01/24, 10:00 - A: more\n23/01/24, 10:01 - B: yes\n")
    assert imported.readable(chat).path != first.path
    assert [path.name for path in first.path.parent.parent.iterdir() if path.name.startswith(".")] == []


def test_what_killed_conversions_left_is_deleted_after_a_day(chat: Path) -> None:
    cache = chat.parent / "cache"
    left, in_work, own = (cache / name for name in (".imported-1-2.abc", ".imported-3-4.def", ".mine"))
    for folder in (left, in_work, own):
        folder.mkdir(parents=True)
        (folder / "conversations.jsonl").write_text("secret")
    for folder in (left, own):
        os.utime(folder, (0, 0))
    imported.readable(chat)
    assert (left.exists(), in_work.exists(), own.exists()) == (False, True, True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names in Unicode")
def test_names_of_files_need_not_be_utf8(chat: Path) -> None:
    folder = chat.parent / os.fsdecode(b"chats\xfc")
    folder.mkdir()
    chat.rename(folder / os.fsdecode(b"garden\xfc.txt"))
    assert imported.readable(folder).notes[0] == "a WhatsApp chat"


@pytest.mark.parametrize("variable", ["off", "elsewhere"])
def test_without_a_cache_no_copy_stays_on_disk(chat: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    temporary = chat.parent / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(chat.parent)
    monkeypatch.setenv(CACHE_VARIABLE, variable)
    setting = None if variable == "off" else "off"  # the option wins
    corpus = load_corpus(DataConfig(name=str(chat)), setting)
    assert len(corpus.train) == 8
    assert list(corpus.train) == list(corpus.train)  # can be read again
    if sys.platform == "linux":
        assert list(temporary.iterdir()) == []
    assert not (chat.parent / "elsewhere").exists()
    chat.write_text(CHAT + "23/01/24, 10:00 - A: more\n23/01/24, 10:01 - B: yes\n")
    assert len(load_corpus(DataConfig(name=str(chat)), setting).train) == 9


def test_sigterm_during_a_conversion_leaves_no_copy(
    chat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, seen = chat.parent / "cache", []

    def signalled(*_: object) -> None:
        seen.extend(cache.iterdir())
        signal.raise_signal(signal.SIGTERM)

    earlier = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("not handled"))
    monkeypatch.setattr(imported.convert, "convert", signalled)
    try:
        assert check([str(chat), "--no-timing"]) == 130
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, earlier)
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert len(seen) == 1
    assert list(cache.iterdir()) == []


def test_a_jsonl_file_in_another_format_is_converted_and_ours_is_not(chat: Path) -> None:
    other = chat.with_name("x.jsonl")
    other.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    assert imported.readable(other).notes[0] == "chat-completion messages"
    other.write_text('{"utterances": [{"speaker": "A", "text": "a"}]}\n')
    assert imported.readable(other) == (other, ())


def test_errors_name_the_file_of_the_user(chat: Path) -> None:
    chat.write_text(CHAT[: len(CHAT) // 10])
    with pytest.raises(DataError, match=r"garden\.txt: needs at least 3 different conversations"):
        load_corpus(DataConfig(name=str(chat)))


def test_check_says_the_format(chat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([str(chat), "--no-timing"]) == 0
    assert "  read as       a WhatsApp chat\n" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "expected"), [("swda", False), ("auto", False), ("ptb", False), ("a.csv", True)])
def test_names_of_corpora_are_no_paths(name: str, expected: bool) -> None:
    assert is_path(name) is expected


def test_our_own_form_in_utf_16_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PowerShell's ">" writes it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    line = '{"utterances": [{"speaker": "A", "text": "caf\u00e9 %s"}, {"speaker": "B", "text": "yes"}]}\r\n'
    lines = "".join(line % (letter * 3) for letter in "abcdefghij")
    path = tmp_path / "mine.jsonl"
    path.write_bytes(lines.encode("utf-16"))
    found = imported.readable(path)
    assert found.path != path
    assert "caf\u00e9 aaa" in found.path.read_text(encoding="utf-8")
    assert check([str(path), "--no-timing"]) == 0
    path.write_bytes(lines.encode("utf-8-sig"))
    assert imported.readable(path).path == path


def test_a_list_in_our_own_form_is_converted(chat: Path) -> None:
    turns = '{"utterances": [{"speaker": "A", "text": "hi"}, {"speaker": "B", "text": "yo"}]}'
    path = chat.with_name("mine.jsonl")
    path.write_text(f"[{turns},\n{turns}]")
    assert len(imported.readable(path).path.read_text().splitlines()) == 2
    path.write_text(turns)
    assert imported.readable(path).path == path
