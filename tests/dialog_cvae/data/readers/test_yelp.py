"""The readers of Yelp sentences: both forms, the one made from the other, and broken files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus, source_files
from dialog_cvae.data.readers import yelp
from dialog_cvae.errors import DataError
from dialog_cvae.types import Conversation


def short(folder: Path, text: str = "0\tbad food .\n\n1\tgood <unk> !\r\n") -> Path:
    for name in yelp.SHORT_FILES.values():
        (folder / name).write_bytes(text.encode())
    return folder


def full(folder: Path, sentences: int = 20) -> Path:
    for split, names in yelp.FULL_FILES.items():
        for label, name in enumerate(names):
            lines = (f"common {'rare' if i == 0 else 'common'} {split} {label} {i}" for i in range(sentences))
            (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def texts(split: list[Conversation]) -> list[tuple[str | None, str]]:
    return [(one.topic, one.utterances[0].text) for one in split]


def test_a_line_is_a_sentence_with_its_sentiment(tmp_path: Path) -> None:
    corpus = load_corpus(DataConfig(name="yelp", dir=short(tmp_path)))
    assert texts(corpus.train) == [("negative", "bad food ."), ("positive", "good <unk> !")]
    assert corpus.valid[1].id == "short_s10.dev:3"
    assert corpus.licence is not None
    assert corpus.notes == (
        "2 validation sentences are also in the training split",
        "2 test sentences are also in the training split",
    )
    assert [path.name for path in source_files(DataConfig(name="yelp", dir=tmp_path))] == [*yelp.SHORT_FILES.values()]


def test_all_sentences_of_the_other_form(tmp_path: Path) -> None:
    corpus = load_corpus(DataConfig(name="yelp-full", dir=full(tmp_path)))
    assert [len(split) for split in corpus[1:4]] == [40, 40, 40]
    assert texts(corpus.test)[0] == ("negative", "common rare test 0 0")
    assert texts(corpus.test)[20] == ("positive", "common rare test 1 0")
    assert corpus.test[20].id == "sentiment.test.1:1"
    assert corpus.notes == ()


def test_the_subset_is_made_where_it_is_not_there(tmp_path: Path) -> None:
    corpus = load_corpus(DataConfig(name="yelp", dir=full(tmp_path, 49)))
    # 4 of 49 sentences of each file: in training `common` stands 14 times, `train` 8, `rare`, `0`, ..., `3` twice each
    # and, once for each sentence of its class, `0` and `1` 4 times more
    negative = ["common <unk> train 0 0", *(f"common common train 0 {i}" for i in ("1", "<unk>", "<unk>"))]
    positive = ["common <unk> train 1 0", *(f"common common train 1 {i}" for i in ("1", "<unk>", "<unk>"))]
    assert texts(corpus.train) == [("negative", one) for one in negative] + [("positive", one) for one in positive]
    assert texts(corpus.test)[:2] == [("negative", "common <unk> <unk> 0 0"), ("negative", "common common <unk> 0 1")]
    assert len(corpus.test) == 8


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"0\tbad\n1 good\n", "line 2: must be a label, a tab and a sentence, but has no tab: '1 good'"),
        (b"0\tbad\n\n2\tgood\n", "line 3: label must be 0 or 1, but is '2'"),
        (b"0\tbad\n1\tgood\tbetter\n", "line 2: must have one tab, but has 2"),
        (b"0\tbad\n1\t\xff\n", "line 2: not UTF-8"),
        (b"1\t\n0\tbad\n", "line 1: must be a label, a tab and a sentence"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (short(tmp_path) / "short_s10.dev.tsv").write_bytes(content)
    with pytest.raises(DataError, match=rf"short_s10\.dev\.tsv, {complaint}"):
        yelp.read(tmp_path)


def test_a_split_without_a_class_is_refused(tmp_path: Path) -> None:
    (short(tmp_path) / "short_s10.test.tsv").write_text("1\tgood\n")
    with pytest.raises(DataError, match="the split test has no negative sentence"):
        yelp.read(tmp_path)
    (tmp_path / "short_s10.test.tsv").write_text("")
    with pytest.raises(DataError, match="the split test has no negative and no positive sentence"):
        yelp.read(tmp_path)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALOG_CVAE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"yelp: not found; put short_s10\.train\.tsv.* in a folder yelp"):
        load_corpus(DataConfig(name="yelp"))
    with pytest.raises(DataError, match=r"yelp-full: not found; put sentiment\.train\.0.* in a folder yelp "):
        load_corpus(DataConfig(name="yelp-full"))
    (short(tmp_path) / "short_s10.train.tsv").unlink()
    with pytest.raises(DataError, match=r"short_s10\.train\.tsv: cannot be read"):
        load_corpus(DataConfig(name="yelp"))
    (full(tmp_path) / "sentiment.train.1").unlink()
    with pytest.raises(DataError, match=r"sentiment\.train\.1: cannot be read"):
        load_corpus(DataConfig(name="yelp-full"))


def test_the_released_subset(data_folder: Path) -> None:
    """Its published counts, and its first tenth of what Shen et al. published."""
    folder = data_folder / "yelp"
    if not (folder / "short_s10.train.tsv").exists():
        pytest.skip("no Yelp sentences there")
    corpus = load_corpus(DataConfig(name="yelp", dir=data_folder))
    assert [len(split) for split in corpus[1:4]] == [44_409, 6_347, 12_666]
    words = {word for one in corpus.train for word in one.utterances[0].text.split()}
    assert len(words) == 3_641 - 3  # size of the released vocabulary without padding, start and end
    for split, found in (("dev", corpus.valid), ("test", corpus.test)):
        if not (folder / f"sentiment.{split}.0").exists():
            continue
        original = yelp._full(folder, split, yelp.SHARE)
        assert [one.label for one in original] == [one.topic for one in found]
        for one, other in zip(original, found, strict=True):
            pairs = zip(one.text.split(), other.utterances[0].text.split(), strict=True)
            assert all(theirs == ours or (ours == "<unk>" and theirs not in words) for theirs, ours in pairs)
