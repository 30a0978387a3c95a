"""How well a tokenizer covers a corpus: how much text it knows, and how much of long messages is lost.

Open this to change when `training.check` and `training.fit` warn. A vocabulary of words is useless for text without
spaces, because a whole message is then one word. Without a warning, training and its figures would look fine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import regex

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.text.words import KATAKANA, UNSPACED
from training.config import FitConfig
from training.vocabulary import Vocabulary

LEAST_KNOWN = 0.75  # least share of held-out words that are known; 10,000 words know 97% of Switchboard's
MOST_UNSPACED = 0.1  # share of letters from scripts without spaces, in words that are separated by spaces
MOST_LETTERS = 20.0  # largest mean number of letters of a word
MOST_LONG = 0.05  # largest share of messages over the limit
MOST_TOKENS_PER_CHARACTER = 0.8  # limit for a language model; SmolLM2 needs 0.25 for English, 1.8 for Chinese
SAMPLE = 20_000  # tokens whose text is measured
FEWEST_WORDS = 50  # words of held-out text; fewer are not conclusive
MAX_LENGTH = 1024  # highest value of the options below
MODEL_LIMIT, LANGUAGE_LIMIT = "model.max-utterance-tokens", "language.max-reply-tokens"

_UNSPACED = regex.compile(rf"[{UNSPACED}{KATAKANA}]", regex.V1)
_LETTER = regex.compile(r"\p{L}")


class Lengths(NamedTuple):
    """How long messages are, in the model's own tokens.

    Attributes:
        tokens: number of messages of each length, with `<s>` and `</s>` or a language model's line break.
        limit: most tokens of a message that are learnt as a reply.
        read: most tokens of a message that are read as context.
    """

    tokens: Counter[int]
    limit: int
    read: int

    @property
    def long(self) -> int:
        """Messages over the limit."""
        return sum(count for length, count in self.tokens.items() if length > self.limit)

    @property
    def unread(self) -> float:
        """Share of all tokens that are not even read as context."""
        total = sum(length * count for length, count in self.tokens.items())
        return sum(max(0, length - self.read) * count for length, count in self.tokens.items()) / max(1, total)


class Coverage(NamedTuple):
    """How well a vocabulary covers text.

    Attributes:
        held_out: number of words in the held-out text; of tokens, if the vocabulary has no words.
        known: share of them that the vocabulary has; for unigram pieces, the share that are not single bytes.
        unspaced: share of the letters of the vocabulary's words that are from a script without spaces.
        letters: mean letters of a word of the vocabulary.
    """

    held_out: int
    known: float
    unspaced: float
    letters: float


def coverage_of_words(vocabulary: Collection[str], held_out: Mapping[str, int]) -> Coverage:
    """The coverage of words, from their counts in held-out text; the mark of an omitted word does not count."""
    known = sum(count for word, count in held_out.items() if word in vocabulary)
    return _coverage(vocabulary, known, sum(held_out.values()))


def coverage_of_ids(train: Collection[int], held_out: Mapping[int, int], tokenizer: Tokenizer) -> Coverage:
    """The coverage of token ids, from those of training text and their counts in held-out text, without marks."""
    marks = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.dialog_start_id}
    unknown = {tokenizer.unk_id, *tokenizer.byte_ids}
    counted = {i: count for i, count in held_out.items() if i not in marks}
    known = sum(count for i, count in counted.items() if i not in unknown)
    return _coverage([tokenizer.pieces[i] for i in train if i not in marks | unknown], known, sum(counted.values()))


def warnings_of(coverage: Coverage, tokenizer: TokenizerConfig, kept: bool = False) -> list[str]:
    """What is wrong with a vocabulary for a text, and which option helps.

    Args:
        coverage: coverage of the text.
        tokenizer: as configured.
        kept: whether the vocabulary comes from another model and can't be changed.
    """
    mode, known = tokenizer.mode, f"{coverage.known:.1%}"
    unknown = coverage.known < LEAST_KNOWN and coverage.held_out >= FEWEST_WORDS
    take = "train without --init and take" if kept else "take"
    if mode == "unigram":
        if not unknown:
            return []
        larger = "" if kept else f" and a larger --tokenizer.vocab-size than {tokenizer.vocab_size:,}"
        return [
            f"only {known} of the tokens of held-out text are more than single bytes, so that messages are long: "
            f"{take} --tokenizer.mode unigram{larger}"
        ]
    take += " --tokenizer.mode unigram"
    found = []
    if coverage.unspaced > MOST_UNSPACED:
        found.append(
            f"{coverage.unspaced:.0%} of the letters are of a script without spaces between words: with "
            f"--tokenizer.mode {mode} a whole message is one word, and replies repeat messages word for word; {take}"
        )
    elif coverage.letters > MOST_LETTERS:
        found.append(
            f"a word has {coverage.letters:.0f} letters on average: are these messages without spaces? Then {take}"
        )
    if unknown:
        found.append(
            f"the vocabulary of --tokenizer.mode {mode} has only {known} of the words of held-out text: the model "
            f"reads the others as unknown and can't write them; {take}"
        )
    return found


def spelling_warnings(tokens: int, characters: int) -> list[str]:
    """A warning if a language model needs unusually many tokens for this number of characters."""
    if tokens < FEWEST_WORDS or tokens <= MOST_TOKENS_PER_CHARACTER * characters:
        return []
    return [
        f"the language model needs {tokens / max(1, characters):.1f} tokens a character, where its own language needs "
        "0.3: it does not know this text well; take another one (--language.backbone), or a recipe without it and "
        "--tokenizer.mode unigram"
    ]


def enough_tokens(lengths: Lengths) -> int | None:
    """A limit that is enough for 95% of the messages; None if the model's limit is."""
    total = lengths.tokens.total()
    if lengths.long <= MOST_LONG * total:
        return None
    ranked = sorted(lengths.tokens.elements())
    return min(MAX_LENGTH, ranked[(95 * total + 99) // 100 - 1])


def length_warnings(lengths: Lengths, option: str) -> list[str]:
    """A warning if many messages are too long; it gives the option a value that is enough for 95% of them."""
    if (enough := enough_tokens(lengths)) is None:
        return []
    total, long = lengths.tokens.total(), lengths.long
    return [
        f"{long:,} of {total:,} messages ({long / total:.1%}) have more than the model's {lengths.limit} tokens, and "
        f"{lengths.unread:.1%} of all tokens are never read; --{option} {enough} is enough for 95% of the messages"
    ]


def run_warnings(
    config: FitConfig,
    vocabulary: Vocabulary,
    train: EncodedCorpus | EncodedTurns,
    held_out: EncodedCorpus | EncodedTurns,
    kept: bool,
) -> list[str]:
    """What is wrong with the vocabulary and the limits of a run, from its training and validation text.

    Args:
        config: of the run.
        vocabulary: its vocabulary.
        train: what it is fitted on.
        held_out: what it is validated on.
        kept: whether the vocabulary comes from the checkpoint of `--init`.
    """
    if isinstance(train, EncodedTurns):
        # For a language model, all tokens of a line after its header are learnt, unless there are too many.
        sample = held_out.tokens[:SAMPLE].tolist()
        found = spelling_warnings(len(sample), len(vocabulary.tokenizer.decode(sample)))
        option, limit = LANGUAGE_LIMIT, config.language.max_reply_tokens if config.language else 0
        long = int(np.count_nonzero(np.diff(train.offsets) - train.header > train.targets))
    else:
        assert isinstance(held_out, EncodedCorpus)
        tokenizer = vocabulary.word_tokenizer
        seen, counts = (np.bincount(corpus.tokens) for corpus in (train, held_out))
        held = {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
        coverage = coverage_of_ids(np.flatnonzero(seen).tolist(), held, tokenizer)
        chosen = config.tokenizer.model_copy(update={"mode": tokenizer.mode})
        found = warnings_of(coverage, chosen, kept)
        option, limit, long = MODEL_LIMIT, config.model.max_utterance_tokens, len(train.long)
    messages = train.windows + len(train.context_only)
    if long > MOST_LONG * messages:
        found.append(
            f"{long:,} of {messages:,} messages ({long / messages:.1%}) have more than the model's {limit} "
            f"tokens and are shortened (--{option}; `dialog-cvae check` shows by how much)"
        )
    return found


def _coverage(words: Collection[str], known: int, held_out: int) -> Coverage:
    unspaced = sum(len(_UNSPACED.findall(word)) for word in words)
    letters = sum(len(_LETTER.findall(word)) for word in words)
    written = sum(any(c.isalpha() for c in word) for word in words)
    return Coverage(held_out, known / max(1, held_out), unspaced / max(1, letters), letters / max(1, written))
