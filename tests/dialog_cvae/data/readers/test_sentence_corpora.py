"""Readers of corpora of sentences, and the words that they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.data.readers import ptb, toy
from dialog_cvae.errors import DataError
from dialog_cvae.text.tokenizer import Tokenizer


def write(folder: Path, text: str = " a b <unk> N \n\n c\n") -> Path:
    for name in ptb.FILES.values():
        (folder / name).write_text(text)
    return folder


def test_a_line_is_a_sentence(tmp_path: Path) -> None:
    corpus = load_corpus(DataConfig(name="ptb", dir=write(tmp_path)))
    assert [conversation.utterances[0].text for conversation in corpus.train] == ["a b <unk> N", "c"]
    assert corpus.test[1].id == "ptb.test:3"
    assert corpus.licence is not None


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"\n \n", ": has no sentence"), (b"a\n\xff b", ", line 2: not UTF-8")]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (write(tmp_path) / "ptb.valid.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"ptb.valid.txt{complaint}"):
        ptb.read(tmp_path)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    with pytest.raises(DataError, match=r"ptb: not found; put ptb.train.txt, ptb.valid.txt and ptb.test.txt"):
        load_corpus(DataConfig(name="ptb", dir=tmp_path))
    (write(tmp_path) / "ptb.train.txt").unlink()
    with pytest.raises(DataError, match=r"ptb.train.txt: cannot be read"):
        load_corpus(DataConfig(name="ptb", dir=tmp_path))


def test_the_toy_sequences_are_ten_one_hot_vectors() -> None:
    corpus = load_corpus(DataConfig(name="toy"))
    rows = [[int(word) for word in each.utterances[0].text.split()] for each in corpus.train]
    assert rows == [[int(i == j) for j in range(10)] for i in range(10)]
    assert len(corpus.valid) == 10 * toy.REPEATS
    assert [each.topic for each in corpus.valid[:11]] == [*map(str, range(10)), "0"]


def test_words_between_spaces_stay_as_they_are() -> None:
    texts = ["Mr. <unk> is n't N years old", "the u.s. 's"]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(mode="space", vocab_size=50))
    assert tokenizer.mode == "space"
    for text in texts:
        assert tokenizer.tokens(tokenizer.encode(text)) == text.split()
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("mr. <unk> nobody") == [tokenizer.unk_id] * 3
    again = Tokenizer.from_bytes(tokenizer.to_bytes())
    assert (again.mode, again.pieces) == ("space", tokenizer.pieces)
    assert sorted(tokenizer.whole_words.values()) == sorted(
        {word for text in texts for word in text.split()} - {"<unk>"}
    )


def test_the_penn_treebank_is_the_published_one(data_folder: Path) -> None:
    corpus = load_corpus(DataConfig(name="ptb", dir=data_folder))
    assert [len(split) for split in corpus[1:4]] == [42_068, 3_370, 3_761]
    words = sum(len(each.utterances[0].text.split()) for each in corpus.test)
    assert words + len(corpus.test) == 82_430  # with </s>: 21.917 to a sentence
    distinct = {word for each in corpus.train for word in each.utterances[0].text.split()}
    assert len(distinct) == 9_999  # one of the 10,000 is the end of a sentence
