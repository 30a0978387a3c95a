"""How the model of a configuration will tokenize a corpus: lengths in tokens, and what its vocabulary covers.

Open this to change what is measured for a kind of tokenizer. `training.check` describes a file with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.storage.find_backbone import locate, open_backbone
from dialog_cvae.text.pieces import UNK
from dialog_cvae.text.token_words import token_words, words_between_spaces
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Corpus
from training.config import FitConfig
from training.coverage import (
    LANGUAGE_LIMIT,
    MODEL_LIMIT,
    Lengths,
    coverage_of_ids,
    coverage_of_words,
    spelling_warnings,
    warnings_of,
)

Rows = tuple[tuple[str, str], ...]


class Tokenization(NamedTuple):
    """How text is tokenized.

    Attributes:
        length: tokens of a message, with marks.
        unit: describes these tokens.
        limit: most tokens of a message that are learnt as a reply.
        read: most tokens of a message that are read as context.
        option: the option that sets the limit.
        rows: label and text of each line about the vocabulary.
        warnings: about the vocabulary.
    """

    length: Callable[[str], int]
    unit: str
    limit: int
    read: int
    option: str
    rows: Rows = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus | None, config: FitConfig) -> Tokenization:
        """The tokenization of the model that a configuration would fit to a corpus; without a corpus, only lengths.

        Raises:
            DialogCvaeError: the language model is not on this machine, or the vocabulary is too small.
        """
        if config.language is not None:
            return _by_language_model(corpus, config.language)
        limit = config.model.max_utterance_tokens
        cut = words_between_spaces if config.tokenizer.mode == "space" else token_words
        tokenization = cls(
            lambda text: len(cut(text)) + 2, "in an utterance, with <s> and </s>", limit, limit, MODEL_LIMIT
        )
        if corpus is None:
            return tokenization
        if config.tokenizer.mode == "unigram":
            return _by_pieces(tokenization, corpus, config)
        return _by_words(tokenization, corpus, config, cut)

    @staticmethod
    def has_words(conversations: Iterable[Conversation]) -> bool:
        """Whether there is a word, not counting the mark of an omitted word."""
        return any(word != UNK for text in texts(conversations) for word in token_words(text))

    def lengths(self, tokens: Counter[int]) -> Lengths:
        """The lengths of messages, from their counts."""
        return Lengths(tokens, self.limit, self.read)


def texts(*splits: Iterable[Conversation]) -> Iterable[str]:
    """The texts of all utterances."""
    return (utterance.text for conversation in chain(*splits) for utterance in conversation.utterances)


def _by_words(
    tokenization: Tokenization, corpus: Corpus, config: FitConfig, cut: Callable[[str], list[str]]
) -> Tokenization:
    """The tokenization by a vocabulary of the most frequent words."""
    size = config.tokenizer.vocab_size
    train, held_out = (
        Counter(word for text in texts for word in cut(text))
        for texts in (texts(corpus.train), texts(corpus.valid, corpus.test))
    )
    del train[UNK], held_out[UNK]  # it marks an omitted word
    vocabulary = {word for word, _ in train.most_common(size)}
    covered = sum(train[word] for word in vocabulary) / max(1, train.total())
    coverage = coverage_of_words(vocabulary, held_out)
    rows = (
        ("vocabulary", f"{len(train):,} different words in train; the {size:,} most frequent of them cover"),
        ("", f"{covered:.1%} of the words of train and {coverage.known:.1%} of those of valid and test"),
    )
    return tokenization._replace(rows=rows, warnings=tuple(warnings_of(coverage, config.tokenizer)))


def _by_pieces(tokenization: Tokenization, corpus: Corpus, config: FitConfig) -> Tokenization:
    """The tokenization by a vocabulary of unigram pieces, which is trained here."""
    tokenizer = Tokenizer.train(texts(corpus.train), config.tokenizer)
    train = {token for text in texts(corpus.train) for token in tokenizer.encode(text)}
    held_out = Counter(token for text in texts(corpus.valid, corpus.test) for token in tokenizer.encode(text))
    del held_out[tokenizer.unk_id]  # it marks an omitted word
    coverage = coverage_of_ids(train, held_out, tokenizer)
    rows = (
        (
            "vocabulary",
            f"{len(tokenizer):,} pieces; {coverage.known:.1%} of the tokens of valid and test are no single",
        ),
        ("", "bytes, with which characters are spelt that are not in the vocabulary"),
    )
    return tokenization._replace(
        length=lambda text: len(tokenizer.encode(text)) + 2,
        rows=rows,
        warnings=tuple(warnings_of(coverage, config.tokenizer)),
    )


def _by_language_model(corpus: Corpus | None, config: LanguageModelConfig) -> Tokenization:
    """The tokenization of a pre-trained language model."""
    base = open_backbone(locate(config.backbone))
    encode = base.tokenizer.encode

    def length(text: str) -> int:
        return len(encode(f" {' '.join(text.split())}")) + 1

    limit = config.max_reply_tokens
    tokenization = Tokenization(length, "in an utterance, with its line break", limit, 2 * limit, LANGUAGE_LIMIT)
    if corpus is None:
        return tokenization
    tokens = characters = 0
    for text in texts(corpus.valid, corpus.test):
        tokens += length(text)
        characters += len(text) + 1
    rows = (("vocabulary", f"of {base.facts.name}: {tokens / max(1, characters):.2f} tokens a character"),)
    return tokenization._replace(rows=rows, warnings=tuple(spelling_warnings(tokens, characters)))
