"""The corpus of a run: the cache gives the same as the text, and is never outdated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.code_digest import OURS, ROOT, code_digest
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.errors import DataError
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Corpus
from tests.training.tiny_runs import conversation, write_corpus
from training import corpus_kinds, training_corpus
from training.corpus_summary import SPLITS, Size
from training.training_corpus import TrainingCorpus
from training.vocabulary import Vocabulary

READING = "reading the text of "
SMALL = TokenizerConfig(vocab_size=16)


class Kept:
    """Corpora with one cache folder, and their log lines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines = folder, list[str]()

    def corpus(self, config: DataConfig) -> TrainingCorpus:
        return TrainingCorpus(config, Cache(self.folder, self.lines.append), self.lines.append)

    def all_of(self, config: DataConfig, tokenizer: TokenizerConfig = SMALL, limit: int = 6) -> tuple[Any, ...]:
        """All that training needs; each reading of the text logs a line."""
        corpus = self.corpus(config)
        vocabulary = Vocabulary(corpus.tokenizer(tokenizer), corpus.summary.topics)
        encoded = [corpus.encoded(split, vocabulary, limit) for split in SPLITS]
        return corpus.summary, vocabulary.tokenizer.pieces, [array.tolist() for split in encoded for array in split]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "kept")


@pytest.fixture
def mine(tmp_path: Path) -> DataConfig:
    return DataConfig(name=str(write_corpus(tmp_path / "mine.jsonl", [conversation(i) for i in range(20)])))


def test_the_corpus_equals_its_text(kept: Kept, mine: DataConfig) -> None:
    text, corpus = load_corpus(mine), kept.corpus(mine)
    parts = {split: list(getattr(text, split)) for split in SPLITS}
    summary = corpus.summary
    assert (summary.name, summary.notes, summary.licence) == (text.name, text.notes, text.licence)
    assert summary.topics == tuple(sorted({c.topic for c in parts["train"]} - {None}))
    assert sorted(summary.roles) == ["A", "B"]
    assert summary.sizes == {
        split: Size(conversations=len(part), utterances=sum(len(c.utterances) for c in part))
        for split, part in parts.items()
    }
    tokenizer = Tokenizer.train((u.text for c in parts["train"] for u in c.utterances), SMALL)
    assert corpus.tokenizer(SMALL).to_bytes() == tokenizer.to_bytes()
    for split, part in parts.items():
        encoded = corpus.encoded(split, Vocabulary(tokenizer, ("WEATHER",)), 5)
        for array, expected in zip(encoded, encode_corpus(part, tokenizer, ("WEATHER",), 5), strict=True):
            assert (array.dtype, array.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("name", ["mine", "sample"])
def test_a_warm_start_reads_no_text_and_trains_no_tokenizer(
    kept: Kept, mine: DataConfig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = mine if name == "mine" else DataConfig(name=name)
    cold = kept.all_of(config)
    assert kept.lines == [READING + config.name]
    for owner, attribute in (
        (training_corpus, "load_corpus"),
        (training_corpus, "encode_corpus"),
        (Tokenizer, "train"),
    ):
        monkeypatch.setattr(owner, attribute, lambda *_: pytest.fail("the text was read again"))
    assert kept.all_of(config) == cold
    assert kept.lines == [READING + config.name]


def test_a_renamed_folder_of_a_chat_is_read_again(tmp_path: Path) -> None:
    """Its name is a topic in the exports of some programs."""
    source = tmp_path / "export"
    (source / "general").mkdir(parents=True)
    (source / "general" / "day.json").write_text("[]")
    before = training_corpus._sha256([source / "general" / "day.json"], source)
    (source / "general").rename(source / "tickets")
    assert training_corpus._sha256([source / "tickets" / "day.json"], source) != before


def _change_text(path: Path) -> None:
    """Another word of the same length, at the same time: size and date of the file do not change."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cats", b"rats").replace(b"dogs", b"hogs"))
    assert path.read_bytes() != content
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[Path], object]]] = {
    "text": ({}, {}, _change_text),
    "another line": ({}, {}, lambda path: path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\n")[0])),
    "share": ({"valid_share": 0.3}, {}, lambda path: None),
    "vocabulary": ({}, {"tokenizer": TokenizerConfig(vocab_size=17)}, lambda path: None),
    "mode": ({}, {"tokenizer": TokenizerConfig(mode="unigram", vocab_size=300)}, lambda path: None),
    "length": ({}, {"limit": 5}, lambda path: None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_outdated_cache_entries_are_rebuilt(kept: Kept, mine: DataConfig, tmp_path: Path, change: str) -> None:
    cold = kept.all_of(mine)
    fields, options, edit = CHANGES[change]
    edit(Path(mine.name))
    changed = mine.model_copy(update=fields)
    found = kept.all_of(changed, **options)
    assert kept.lines == [READING + mine.name] * 2
    assert found == Kept(tmp_path / "other").all_of(changed, **options)
    assert (found == cold) == (change == "vocabulary")  # there are fewer words than either limit


def test_changed_code_rebuilds_everything(
    kept: Kept, mine: DataConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in OURS:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(training_corpus, "code_digest", partial(code_digest, root=tmp_path))
    changes = ("readers/jsonl_line.py", "readers/swda_splits.json", "../text/tokenizer.py", "../config.py")
    for index, changed in enumerate(changes, start=1):
        training_corpus._code.cache_clear()
        code_digest.cache_clear()
        kept.all_of(mine)
        assert kept.lines == [READING + mine.name] * index
        with (tmp_path / "dialog_cvae" / "data" / changed).open("a") as file:
            file.write("\n" if changed.endswith("json") else "\nEDITED = 1\n")
    training_corpus._code.cache_clear()


def test_a_file_may_move(kept: Kept, mine: DataConfig, tmp_path: Path) -> None:
    cold = kept.all_of(mine)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(mine.name, tmp_path / "elsewhere")
    assert kept.all_of(DataConfig(name=str(moved), dir=tmp_path)) == cold
    assert len(kept.lines) == 1
    renamed = shutil.move(moved, tmp_path / "yours.jsonl")
    assert kept.corpus(DataConfig(name=str(renamed))).summary.name == "yours"


def test_another_vocabulary_has_its_own_token_ids(kept: Kept, mine: DataConfig) -> None:
    corpus = kept.corpus(mine)
    one, other = corpus.tokenizer(SMALL), corpus.tokenizer(TokenizerConfig(mode="unigram", vocab_size=300))
    found = [
        [array.tolist() for array in corpus.encoded("train", Vocabulary(tokenizer, topics), 6)]
        for tokenizer, topics in ((one, ()), (other, ()), (one, ("PETS", "WEATHER")), (one, ("WEATHER", "PETS")))
    ]
    assert all(found.count(arrays) == 1 for arrays in found)


def test_a_file_that_changes_while_it_is_read_is_refused_and_not_cached(
    kept: Kept, mine: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = load_corpus(mine)
    in_memory = text._replace(**{split: list(getattr(text, split)) for split in SPLITS})

    def load(config: DataConfig, cache: str | None) -> Corpus:
        os.utime(config.name, ns=(0, 0))
        return in_memory

    corpus = kept.corpus(mine)
    monkeypatch.setattr(training_corpus, "load_corpus", load)
    with pytest.raises(DataError, match=r"mine\.jsonl: was changed while it was being read"):
        _ = corpus.summary
    assert not kept.folder.exists()


def test_unreadable_text_gives_the_readers_error(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    for name, reason in (("gone", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(DataError, match=rf"{name}\.jsonl: cannot be read \({reason}\)"):
            _ = kept.corpus(DataConfig(name=str(tmp_path / f"{name}.jsonl"))).summary


def test_speakers_of_a_published_corpus_have_no_roles(kept: Kept) -> None:
    text = load_corpus(DataConfig(name="sample"))
    assert len({u.speaker for u in text.train[0].utterances}) == 2
    assert kept.corpus(DataConfig(name="sample")).summary.roles == ()


def _widest(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The middle value set to an extreme of its type."""
    changed, limits = array.copy(), np.iinfo(array.dtype)
    changed.flat[array.size // 2] = limits.max if limits.min == 0 or array.ndim == 2 else limits.min
    return changed


SPOILT: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "type": lambda array: array.astype(np.float64),
    "length": lambda array: array[:-1],
    "value": _widest,
}


@pytest.mark.parametrize("field", EncodedCorpus._fields)
@pytest.mark.parametrize("how", SPOILT)
def test_inconsistent_token_ids_are_rebuilt(
    kept: Kept, mine: DataConfig, field: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "value" and field in ("profiles", "known"):
        pytest.skip("any number is a feature")
    if how == "length" and field == "context_only":
        pytest.skip("any number of utterances may be context alone")
    mine = mine.model_copy(update={"respond_as": ("A",)})

    def spoil(*arguments: Any) -> EncodedCorpus:
        encoded = encode_corpus(*arguments)
        return encoded._replace(**{field: SPOILT[how](getattr(encoded, field))})

    vocabulary = Vocabulary(kept.corpus(mine).tokenizer(SMALL), (), ("A", "B"))
    with monkeypatch.context() as patch:
        patch.setattr(training_corpus, "encode_corpus", spoil)
        patch.setattr(corpus_kinds, "_fitting_ids", lambda arrays, vocabulary: EncodedCorpus(**arrays))
        kept.corpus(mine).encoded("train", vocabulary, 6)
    kept.lines.clear()
    found = kept.corpus(mine).encoded("train", vocabulary, 6)
    expected = encode_corpus(load_corpus(mine).train, vocabulary.tokenizer, (), 6, roles=("A", "B"))
    assert [array.tolist() for array in found] == [array.tolist() for array in expected]
    assert [line.split()[0] for line in kept.lines] == ["cache:", "reading"]
