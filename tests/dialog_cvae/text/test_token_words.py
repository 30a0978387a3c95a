"""The words of word mode against NLTK."""

import pytest
from nltk.tokenize import WordPunctTokenizer

from dialog_cvae.text.token_words import token_words
from tests.dialog_cvae.text.texts import CHAT, NASTY


@pytest.mark.parametrize("text", [*CHAT, *NASTY])
def test_words_are_nltks(text: str) -> None:
    assert token_words(text) == WordPunctTokenizer().tokenize(text.lower())
