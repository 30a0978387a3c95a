"""What each token adds to a text, in bytes: joined it is the text."""

from __future__ import annotations

import random

import pytest

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.generate.codec import tidied, tidied_pieces
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.text.tokenizer import Tokenizer
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf

TEXTS = ["i ' m fine , isn ' t it ?", "Größe 👍🏽 café", '" hi , " he said', "a <unk> b"]


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory: pytest.TempPathFactory) -> BytePairs:
    return open_backbone(write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())).tokenizer


@pytest.mark.parametrize("mode", ["word", "space", "unigram"])
def test_joined_the_pieces_of_a_vocabulary_are_the_text(mode):
    tokenizer = Tokenizer.train([*TEXTS * 3, "more words to learn"], TokenizerConfig(mode=mode, vocab_size=400))
    rng = random.Random(1)
    never = {*tokenizer.never_generated, tokenizer.eos_id} - {tokenizer.unk_id}
    allowed = [i for i in range(len(tokenizer)) if i not in never]
    drawn_ids = [rng.choices(allowed, k=12) for _ in range(300)]
    for ids in (*map(tokenizer.encode, TEXTS), *drawn_ids):
        pieces = tokenizer.spelled(ids)
        assert None not in pieces
        assert b"".join(tidied_pieces(pieces)).decode() == tidied(tokenizer.decode(ids))
    assert tokenizer.spelled([tokenizer.eos_id]) == [None]
    assert tokenizer.name(tokenizer.eos_id) == "</s>"


@pytest.mark.parametrize("mode", ["word", "space", "unigram", "byte pairs"])
def test_a_token_instead_of_another_is_spelled_as_if_the_text_ended_with_it(mode, byte_pairs):
    marks = """u . s . at 7 : 30 the dogs ' toys ( yes ) " i ' m " ... 1 , 000 o ' clock ' cause a-b $ 5 :) " """
    learnt = TokenizerConfig(mode=mode, vocab_size=400) if mode != "byte pairs" else None
    tokenizer = byte_pairs if learnt is None else Tokenizer.train([*TEXTS * 3, marks], learnt)
    rng = random.Random(1)
    for _ in range(100):
        ids = rng.choices(range(len(tokenizer)), k=12)
        others = [rng.choices(range(len(tokenizer)), k=8) for _ in ids]
        naive = [[tokenizer.spelled([*ids[:t], other])[-1] for other in others[t]] for t in range(len(ids))]
        assert tokenizer.spelled_instead(ids, others) == naive


def test_byte_pairs_are_spelled_in_bytes(byte_pairs):
    for i in range(len(byte_pairs)):
        (piece,) = byte_pairs.spelled([i])
        assert piece is None or piece.decode("utf-8", "replace") == byte_pairs.decode([i])
    rng = random.Random(1)
    allowed = sorted(set(range(len(byte_pairs))) - {*byte_pairs.never_generated, byte_pairs.line_break_id})
    for ids in (*map(byte_pairs.encode, TEXTS), *(rng.choices(allowed, k=12) for _ in range(300))):
        text = tidied(byte_pairs.decode(ids).replace("\ufffd", ""))
        assert b"".join(tidied_pieces(byte_pairs.spelled(ids))).decode() == text
    assert byte_pairs.spelled([10**6]) == [None]


def test_a_character_of_several_tokens_is_divided_among_them(byte_pairs):
    ids = byte_pairs.encode("👍")
    pieces = byte_pairs.spelled(ids)
    assert len(pieces) > 1
    assert b"".join(pieces) == "👍".encode()
    assert tidied_pieces(pieces) == pieces
    assert tidied_pieces(pieces[:-1]) == [b""] * (len(pieces) - 1)


def test_spaces_belong_to_the_first_token_that_has_them():
    assert tidied_pieces([b" hi", b" ", b"  you", b"\x07", b" "]) == [b"hi", b" ", b"you", b"", b""]
    assert tidied_pieces(["a\u00a0".encode(), b" b"]) == [b"a ", b"b"]
