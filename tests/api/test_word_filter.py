"""The word filter: files, matches, and its use by the service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.word_filter import read_filter
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.text.words import normalised
from tests.conftest import WORDS


@pytest.fixture
def accepts(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text(
        "\ufeff# a comment\n \t# indented\n\ndarn\n  Bad,  Word \nSTRASSE\nit's\nnaïve\nगए\n坏人\n👎\n",
        encoding="utf-8",
    )
    return read_filter(file)


@pytest.mark.parametrize(
    "text",
    [
        "darn",
        "Well, DARN!",
        "darn.it",
        "such a bad word.",
        "bad - word",
        "bad\nword",
        "die Straße",
        "It's fine",
        "it s",
        "how NAÏVE",
        "how nai\u0308ve",
        "तुम गए",
        "他是坏人。",
        "no👎👎",
        "👎🏽",
        "_darn_ it",
        "da\u00adrn",
        "\uff44\uff41\uff52\uff4e",
        "\uff44\uff41\uff52\uff4e a" + "\u0301" * 65,
        "a" + "\u0301" * 65 + " nai\u0308ve",
    ],
)
def test_listed_words_and_phrases_are_refused(accepts, text):
    assert not accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "darning",
        "undarn",
        "bad",
        "word bad",
        "bad words",
        "bad old word",
        "its",
        "naive",
        "...",
        "a comment",
        "indented",
        "तुम गया",
        "坏的人",
        "👍",
    ],
)
def test_other_replies_pass(accepts, text):
    assert accepts(text)


@given(words=st.lists(st.sampled_from("abc"), max_size=8))
def test_the_filter_agrees_with_a_plain_search_for_the_phrase(tmp_path_factory, words):
    file = tmp_path_factory.mktemp("filter") / "words"
    file.write_text("a b\nb b c\n")
    text = normalised(" ".join(words))
    expected = any(f" {phrase} " in f" {text} " for phrase in ("a b", "b b c"))
    assert read_filter(file)(" ".join(words)) is not expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains no word"),
        (b"\n \n# nothing\n", "contains no word"),
        (b"fine\n!!!\n", "line 2: '!!!' contains no word"),
        (b"___", "contains no word"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path, content, words):
    file = tmp_path / "words"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_filter(file)


@pytest.mark.parametrize(
    ("entry", "symbol", "means"),
    [
        ("a**", "*", "a"),
        ("$hit", "$", "hit"),
        ("c++", "+", "c"),
        ("C#", "#", "c"),
        ("s**t", "*", "s t"),
        ("R&D", "&", "r d"),
        ("bad 100%", "%", "bad 100"),
        ("a__", "_", "a"),
        ("<3", "<", "3"),
        ("\uff0a a", "*", "a"),
    ],
)
def test_an_entry_with_symbols_is_refused(tmp_path, entry, symbol, means):
    file = tmp_path / "words"
    file.write_text(f"fine\n  {entry}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_filter(file)
    reason = f"contains {symbol!r}, which the filter ignores, so every {means!r} would be refused"
    assert f"{file}, line 2: {entry!r} {reason}" in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        "he said: \u201cno!\u201d, didn't he?",
        "don\u2019t",
        "well-known; and/or (maybe) [a] {b}...",
        "\u00bfqu\u00e9?",
        "bad_word",
        "e.g. \u2014 it`s",
        "1.5",
        "\u575e\u4eba\u3002",
        "1\ufe0f\u20e3",
        "\U0001f44d\U0001f3fd \u2764\ufe0f \U0001f469\u200d\U0001f4bb",
        "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    ],
)
def test_ordinary_punctuation_and_emoji_are_accepted(tmp_path, entry):
    file = tmp_path / "words"
    file.write_text(entry, encoding="utf-8")
    assert not read_filter(file)(entry)


@pytest.mark.parametrize("name", ["missing", "."])
def test_an_unreadable_file_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="can't be read"):
        read_filter(tmp_path / name)


def test_the_service_gives_the_filter_to_the_model(serve, stub, tmp_path):
    (tmp_path / "words").write_text("darn")
    serve(stub, blocked_words=tmp_path / "words")
    assert not stub.accepts("darn")
    assert stub.accepts("fine")


def test_a_service_with_a_missing_filter_does_not_start(serve, stub, tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        serve(stub, blocked_words=tmp_path / "words")


def test_refused_draws_are_replaced_and_the_note_counts_all(serve, tiny_checkpoint, tmp_path):
    responder = Responder(
        TorchEngine(build_model(tiny_checkpoint)), dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny"
    )
    file = tmp_path / "words"
    body = {"context": ["we like cats"], "seed": 1, "temperature": 1, "num_responses": 5, "max_tokens": 3}
    notes = []
    for blocked in (WORDS[:8], WORDS):
        file.write_text("\n".join(blocked))
        answer = serve(responder, blocked_words=file, candidates=8).post("/respond", json=body).json()
        texts = " ".join(each["text"] for each in answer["responses"]).split()
        assert not set(texts) & set(blocked)
        notes.append(answer.get("note"))
    assert notes == [None, "0 of 5 responses: no more distinct ones were found in 128 draws"]
