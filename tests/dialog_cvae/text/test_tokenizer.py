"""The tokenizer against SentencePiece itself: text survives, and models are refused that are not whole."""

import random
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import WordPunctTokenizer

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.text.tokenizer import Tokenizer
from tests.dialog_cvae.text.texts import CHAT, NASTY

WORD, UNIGRAM = TokenizerConfig(mode="word"), TokenizerConfig(mode="unigram")
derandomized = settings(derandomize=True, deadline=None, max_examples=60)


def test_word_encoding_of_real_text_is_sentencepieces_own(switchboard: list[str]) -> None:
    tokenizer = Tokenizer.train(switchboard, TokenizerConfig(vocab_size=500))
    own = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.to_bytes())
    nltk = WordPunctTokenizer()
    for text in switchboard[:1500]:
        # Word by word, because SentencePiece merges neighbouring unknown words into one.
        expected = [i for word in nltk.tokenize(text.lower()) for i in own.encode(word)]
        assert tokenizer.encode(text) == expected


def test_word_text_of_real_utterances_survives(switchboard: list[str]) -> None:
    tokenizer = Tokenizer.train(switchboard, WORD)
    kept = [tokenizer.decode(tokenizer.encode(text)) == " ".join(text.split()) for text in switchboard]
    assert sum(kept) / len(kept) > 0.99


def test_unigram_text_of_real_utterances_survives(switchboard: list[str]) -> None:
    tokenizer = Tokenizer.train(switchboard, TokenizerConfig(mode="unigram", vocab_size=1000))
    assert len(tokenizer) <= 1005
    for text in switchboard[::10]:
        assert tokenizer.decode(tokenizer.encode(text)) == " ".join(text.split())


def test_special_ids() -> None:
    for config in (WORD, UNIGRAM):
        tokenizer = Tokenizer.train(CHAT, config)
        ids = (
            tokenizer.pad_id,
            tokenizer.unk_id,
            tokenizer.bos_id,
            tokenizer.eos_id,
            tokenizer.dialog_start_id,
        )
        assert ids == (0, 1, 2, 3, 4)
        assert tokenizer.pieces[:5] == ("<pad>", "<unk>", "<s>", "</s>", "<d>")
        assert tokenizer.never_generated[:4] == (0, 1, 2, 4)
        assert 3 not in tokenizer.never_generated


@derandomized
@given(st.text().filter(lambda text: "<unk>" not in text))
def test_any_text_survives_unigram(text: str) -> None:
    tokenizer = _unigram()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == " ".join(text.replace("\ufffd", "").split())
    assert not {0, 2, 3, 4} & {*ids}


@derandomized
@given(st.data())
def test_any_ids_decode_to_writable_text(data: st.DataObject) -> None:
    for tokenizer in (_unigram(), Tokenizer.train(CHAT, WORD)):
        text = tokenizer.decode(data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30)))
        assert "\ufffd" not in text
        assert text == text.strip()
        text.encode("utf-8")


@cache
def _unigram() -> Tokenizer:
    return Tokenizer.train([*CHAT, *NASTY], UNIGRAM)


def test_literal_unk_is_the_unknown_word_and_no_type() -> None:
    texts = ["the <unk> said <unk>'s (<unk>)", "<unk> <UNK>"]
    word = Tokenizer.train(texts, WORD)
    assert set(word.pieces[5:]) == {"the", "said", "'", "s", "(", ")"}
    assert word.tokens(word.encode(texts[0])) == ["the", "<unk>", "said", "<unk>", "'", "s", "(", "<unk>", ")"]
    assert word.decode(word.encode(texts[0])) == texts[0]
    assert word.encode("<unk>unheard-of<unk>") == [1] * 5
    unigram = Tokenizer.train(texts, UNIGRAM)
    assert unigram.encode("<unk>") == [1]
    assert unigram.decode(unigram.encode("the <unk> said")) == "the <unk> said"


def test_neighbouring_unknown_words_stay_apart() -> None:
    tokenizer = Tokenizer.train(["known"], WORD)
    assert tokenizer.encode("xx yy known zz") == [1, 1, 5, 1]


@pytest.mark.parametrize("config", [WORD, UNIGRAM], ids=lambda c: c.mode)
@pytest.mark.parametrize("name", ["<s>", "</s>", "<d>", "<pad>"])
def test_special_names_in_text_are_ordinary_text(config: TokenizerConfig, name: str) -> None:
    tokenizer = Tokenizer.train([f"say {name} and x{name}y"] * 3, config)
    ids = tokenizer.encode(f"say {name} and x{name}y")
    assert min(ids) > 4
    assert name.strip("<>/") in tokenizer.decode(ids)


def test_special_ids_vanish_from_text() -> None:
    for config in (WORD, UNIGRAM):
        tokenizer = Tokenizer.train(CHAT, config)
        ids = tokenizer.encode("how are you")
        assert tokenizer.decode([2, *ids, 3, 0, 0, 4]) == "how are you"
        assert tokenizer.decode([2, 3]) == ""
        assert tokenizer.decode([*ids, 1]) == "how are you <unk>"


def test_broken_bytes_never_reach_text() -> None:
    tokenizer = _unigram()
    byte = {tokenizer.pieces[i]: i for i in range(5, 261)}
    smile = [byte[f"<0x{b:02X}>"] for b in "🙂".encode()]
    hi = tokenizer.encode("hi")
    assert tokenizer.decode([*hi, *smile]) == "hi🙂"
    for n in range(1, 4):
        assert tokenizer.decode([*hi, *smile[:n], *tokenizer.encode("you")]) == "hi you"
    assert tokenizer.decode([*smile[1:], byte["<0xFF>"], *smile[:3]]) == ""
    assert tokenizer.decode([byte[f"<0x{b:02X}>"] for b in "\ufffd".encode()]) == ""


def test_control_bytes_are_never_generated() -> None:
    tokenizer = _unigram()
    barred = {tokenizer.pieces[i] for i in tokenizer.never_generated}
    assert {"<0x00>", "<0x1B>", "<0x7F>", "<0xC0>", "<0xFF>"} <= barred
    assert not {"<0x41>", "<0xE2>", "<0x80>", "</s>"} & barred


def test_unigram_keeps_case_and_lone_surrogates_vanish() -> None:
    tokenizer = Tokenizer.train(CHAT, UNIGRAM)
    assert (
        tokenizer.decode(tokenizer.encode("How ARE you, Zoë? It's 5 o'clock!")) == "How ARE you, Zoë? It's 5 o'clock!"
    )
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "ab"
    assert Tokenizer.train(["a\ud800b"], WORD).pieces[5:] == ("ab",)


@pytest.mark.parametrize("config", [WORD, UNIGRAM], ids=lambda c: c.mode)
def test_a_written_model_loads_equal(config: TokenizerConfig, tmp_path: Path) -> None:
    tokenizer = Tokenizer.train([*CHAT, *NASTY], config)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(tokenizer.to_bytes())
    loaded = Tokenizer.load(path)
    assert (loaded.mode, loaded.pieces) == (config.mode, tokenizer.pieces)
    assert loaded.to_bytes() == tokenizer.to_bytes()
    assert loaded.encode(NASTY[0]) == tokenizer.encode(NASTY[0])


def test_truncated_damaged_and_foreign_models_are_refused(tmp_path: Path) -> None:
    model = Tokenizer.train(["a b c"], WORD).to_bytes()
    path = tmp_path / "tokenizer.model"
    damaged = [model[:n] for n in range(0, len(model))]
    damaged += [model[:i] + bytes([model[i] ^ 1]) + model[i + 1 :] for i in range(0, len(model), 7)]
    damaged += [b"not a model" * 20, model[: -(3 + 32)], model + b"\0"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"tokenizer\.model: truncated, damaged or not a tokenizer"):
            Tokenizer.load(path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.model: cannot read the tokenizer \(No such file"):
        Tokenizer.load(tmp_path / "gone.model")


def test_encoding_is_fast() -> None:
    vocabulary = [f"word{i}" for i in range(5000)]
    draw = random.Random(0)
    utterances = [" ".join(draw.choices(vocabulary, k=12)) for _ in range(20_000)]
    tokenizer = Tokenizer.train(vocabulary, WORD)
    start = time.process_time()
    encoded = [tokenizer.encode(text) for text in utterances]
    assert time.process_time() - start < 3
    assert all(len(ids) == 12 for ids in encoded)


def test_whole_words_are_what_word_vectors_know() -> None:
    word = Tokenizer.train(["Cats like cats ."], WORD)
    assert sorted(word.whole_words.values()) == [".", "cats", "like"]
    assert all(word.pieces[i] == text for i, text in word.whole_words.items())
    unigram = Tokenizer.train(["The cats saw the other cats there"] * 20, TokenizerConfig(mode="unigram"))
    whole = unigram.whole_words
    assert {"the", "there"} <= set(whole.values())
    assert all(unigram.decode([i]).lower() == text for i, text in whole.items())


MARKED = ["<s> how are you </s>", "<pad> fine <d> <unk> ok", "<s></s> hello <0x41>", "a<unk>b <mask>"]


@pytest.mark.parametrize("mode", ["word", "space", "unigram"])
def test_names_of_special_tokens_are_ordinary_text(mode: Any) -> None:
    tokenizer = Tokenizer.train(MARKED * 5, TokenizerConfig(mode=mode, vocab_size=400))
    again = Tokenizer.from_bytes(tokenizer.to_bytes())
    special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.dialog_start_id}
    for text in MARKED:
        ids = tokenizer.encode(text)
        assert ids == again.encode(text)
        assert not special & set(ids)
        read = tokenizer.decode(ids)
        whole = text.replace("a<unk>b", "a <unk> b") if mode == "unigram" else text
        assert read.replace(" ", "") == text.replace(" ", "") if mode == "word" else read == whole
    if mode == "space":
        assert tokenizer.tokens(tokenizer.encode(MARKED[0])) == ["<s>", "how", "are", "you", "</s>"]
