"""Reply text as the tokens that the metrics compare."""

from __future__ import annotations

import re

_MARKS = re.compile(r"</?s>|<pad>")
# Words, or runs of punctuation, as NLTK's WordPunctTokenizer splits them; the unknown word stays whole, because the
# published metric compares tokens of the model's vocabulary, where `<unk>` is one token.
_TOKEN = re.compile(r"<unk>|\w+|(?:(?!<unk>)[^\w\s])+")


def metric_tokens(text: str) -> list[str]:
    """Lower-cased word and punctuation tokens of a reply, without sentence marks and padding.

    >>> metric_tokens("Uh-huh, I'm sure. </s> <pad>")
    ['uh', '-', 'huh', ',', 'i', "'", 'm', 'sure', '.']
    """
    return _TOKEN.findall(_MARKS.sub(" ", text.lower()))
