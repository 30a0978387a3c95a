"""Codec of a language model: from conversations to text whose last line begins with the name of who answers.

Open it to change how much of a long conversation is read. When a conversation goes on, the model reads only its new
part; for this, the text must begin at the same place for many turns. So when the limit is exceeded, utterances are left
out until the rest is at most half of the limit. Nothing more is left out until the limit is exceeded again. The
beginning depends on the conversation alone.

Shape legend: B contexts, T tokens of the longest one, N lines of a conversation, its topic line included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.turns import EncodedTurns, TurnBatch, encode_turns, shortened_topic
from dialog_cvae.generate.codec import UNREADABLE, Seen, TokenizerCodec, tidied
from dialog_cvae.generate.decoding import SpecialIds
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.types import Conversation

LONGEST_SHARE = 0.75  # share of the rest that one utterance may take, so that the next one does not push it out
ANY_LENGTH = 2**31 - 1


class Window(NamedTuple):
    """What is read of a context.

    Attributes:
        title: ids of the topic line; empty without a topic.
        first: index of the first line that is read, among all lines of the corpus.
        longest: most tokens of a line.
        cut: whether something is left out.
    """

    title: NDArray[np.int32]
    first: int
    longest: int
    cut: bool


class LanguageCodec(TokenizerCodec):
    """`Codec` of a conditional VAE on a language model.

    Args:
        tokenizer: the language model's.
        config: sizes of what was added to the language model.
        vocabulary: rows of its embedding, which may be more than the tokenizer's tokens.
    """

    tokenizer: BytePairs
    topics: tuple[str, ...] = ()
    free_topic, lower_case = True, False

    def __init__(self, tokenizer: BytePairs, config: LanguageModelConfig, vocabulary: int) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self.max_context = self._most_tokens = config.max_context_tokens  # each utterance has at least one token
        self.latent_size = config.latent_size
        never = (*tokenizer.never_generated, *range(len(tokenizer), vocabulary))
        self.special = SpecialIds(tokenizer.line_break_id, None, never)

    def encode(self, conversations: Sequence[Conversation]) -> EncodedTurns:
        """See `Codec.encode`; every utterance is whole."""
        return encode_turns(conversations, self.tokenizer, ANY_LENGTH)

    def encode_asked(self, conversations: Sequence[Conversation]) -> EncodedTurns:
        """See `Codec.encode_asked`; what is read depends on the lengths of all utterances, so all are encoded."""
        return self.encode(conversations)

    def batch(self, corpus: EncodedTurns, utterances: NDArray[np.int64]) -> TurnBatch:
        """See `Codec.batch`: each context in a row of its own, with an empty reply."""
        rows = [self._row(corpus, int(utterance)) for utterance in utterances]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.zeros((len(rows), lengths.max(initial=1)), dtype=np.int64)
        for line, row in zip(tokens, rows, strict=True):
            line[: len(row)] = row
        return TurnBatch(tokens, np.arange(len(rows)), lengths - 1, np.zeros(len(rows), dtype=np.int64))

    def seen(self, corpus: EncodedTurns, utterance: int, conversation: Conversation) -> Seen:
        """See `Codec.seen`."""
        window = self._window(corpus, utterance)
        return Seen(utterance - window.first, window.cut)

    def reply_tokens(self, text: str) -> tuple[int, ...]:
        """See `Codec.reply_tokens`."""
        return (*self.tokenizer.encode(f" {' '.join(text.split())}"), self.special.end)

    def text(self, tokens: Sequence[int]) -> str:
        """See `Codec.text`; invalid UTF-8 is left out."""
        return tidied(self.tokenizer.decode(tokens).replace(UNREADABLE, ""))

    def _row(self, corpus: EncodedTurns, utterance: int) -> NDArray[np.int32]:
        """The ids of one context: topic line, lines of utterances, header of the reply."""
        window = self._window(corpus, utterance)
        lines = [self._line(corpus, index, window.longest) for index in range(window.first, utterance)]
        begin = corpus.offsets[utterance]
        header = corpus.tokens[begin : begin + corpus.header[utterance]]
        return np.concatenate((window.title, *lines, header))

    @staticmethod
    def _line(corpus: EncodedTurns, index: int, longest: int) -> NDArray[np.int32]:
        """The ids of an utterance's line; if it is too long, its end, and its header unless the header is long."""
        line = corpus.tokens[corpus.offsets[index] : corpus.offsets[index + 1]]
        if len(line) <= longest:
            return line
        header = int(corpus.header[index])
        header = header if header <= longest // 2 else 0
        return np.concatenate((line[:header], line[len(line) - (longest - header) :]))

    def _window(self, corpus: EncodedTurns, utterance: int) -> Window:
        """What is read before an utterance. Lines are added one by one, as they were said."""
        (conversation,) = corpus.places(np.array([utterance]))[0].tolist()
        topic = int(corpus.starts[conversation])
        line = corpus.tokens[corpus.offsets[topic] : corpus.offsets[topic + 1]]
        title = shortened_topic(line, self._most_tokens)
        room = self._most_tokens - len(title)
        longest = max(1, int(LONGEST_SHARE * room))
        lengths = np.diff(corpus.offsets[topic + 1 : utterance + 1])
        kept = np.minimum(lengths, longest).tolist()
        first, total = 0, 0
        for index, length in enumerate(kept):
            total += length
            if total > room:
                while first < index and total > room // 2:
                    total -= kept[first]
                    first += 1
        cut = len(title) < len(line) or first > 0 or bool((lengths > longest).any())
        return Window(title, topic + 1 + first, longest, cut)
