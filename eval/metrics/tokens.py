"""Reply text as the tokens that the metrics compare, and their n-grams.

Open it to see what counts as a word in BLEU, embedding scores and diversity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import regex

from dialog_cvae.text.words import WORD

Tokens = Sequence[str]

_MARKS = regex.compile(r"</?s>|<pad>")
# Words, or runs of punctuation, as in NLTK's WordPunctTokenizer for scripts with spaces. The unknown word stays whole:
# the published metric compares tokens of the model's vocabulary.
_TOKEN = regex.compile(rf"<unk>|{WORD}|(?:(?!<unk>|{WORD})\S)+", regex.V1)


def metric_tokens(text: str) -> list[str]:
    """Lower-cased word and punctuation tokens of a reply, without sentence marks and padding.

    >>> metric_tokens("Uh-huh, I'm sure. </s> <pad>")
    ['uh', '-', 'huh', ',', 'i', "'", 'm', 'sure', '.']
    """
    tokens: list[str] = _TOKEN.findall(_MARKS.sub(" ", text.lower()))
    return tokens


def ngrams(tokens: Tokens, n: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of a sentence in order; none when it has fewer than n tokens.

    Raises:
        TypeError: `tokens` is one string; its characters would count as words.
    """
    if isinstance(tokens, str):
        raise TypeError(f"a sentence must be a sequence of tokens, got the string {tokens!r}")
    return zip(*(tokens[i:] for i in range(n)), strict=False)  # stops at the shortest, after the last n-gram
