import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.tokens import metric_tokens, ngrams


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Uh-huh.", ["uh", "-", "huh", "."]),
        ("I'm sure </s>", ["i", "'", "m", "sure"]),
        ("<s> so do i </s> <pad> <pad>", ["so", "do", "i"]),
        ("the <unk>, really?!", ["the", "<unk>", ",", "really", "?!"]),
        ("...<unk>", ["...", "<unk>"]),
        ("Été à Zürich", ["été", "à", "zürich"]),
        ("我去学校。", ["我", "去", "学", "校", "。"]),
        ("ไปกัน 555", ["ไ", "ป", "กั", "น", "555"]),
        ("तुम आ गए?", ["तुम", "आ", "गए", "?"]),
        ("ok👍🏽👨‍👩‍👧!!", ["ok", "👍🏽", "👨‍👩‍👧", "!!"]),
        ("  ", []),
        ("", []),
    ],
)
def test_replies_as_people_write_them(text, tokens):
    assert metric_tokens(text) == tokens


SPACED = st.characters(
    max_codepoint=0xDFF, exclude_characters="<©®", exclude_categories=["No", "Cn"]
)  # Latin to Sinhala


@given(text=st.text(alphabet=SPACED))
@settings(derandomize=True, deadline=None)
def test_agrees_with_word_punct_of_nltk(text):
    from nltk.tokenize import WordPunctTokenizer

    assert metric_tokens(text) == WordPunctTokenizer().tokenize(text.lower())


def test_ngrams_in_order():
    assert list(ngrams(["a", "b", "a"], 2)) == [("a", "b"), ("b", "a")]
    assert list(ngrams(["a", "b"], 3)) == []
    with pytest.raises(TypeError, match="got the string 'ab'"):
        ngrams("ab", 1)
