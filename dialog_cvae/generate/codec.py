"""Codecs: from conversations to a model's token ids and back.

Open it to learn how a conversation becomes a batch, how much of it a model reads, and which tokens it never writes.
This module has the codec of a dialog model; `language_codec` has that of a language model.

Shape legend: B contexts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.generate.decoding import SpecialIds
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.stored_tokenizer import AnyTokenizer
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, DialogBatch, Utterance

UNREADABLE = "\ufffd"  # what tokenizers write for bytes that are not UTF-8


class Seen(NamedTuple):
    """How much of a context a model reads.

    Attributes:
        utterances: how many it reads; they are the latest ones.
        cut: whether it reads less than the whole: earlier utterances are left out, or a text is shortened.
    """

    utterances: int
    cut: bool


class Codec(Protocol):
    """What one kind of model needs to know about text.

    Attributes:
        topics: the topics that the model was fitted on; empty if its topic is free text.
        free_topic: whether the topic may be any text.
        max_context: the most utterances of a context that it reads.
        latent_size: dimensions of z; 0 for a model without it.
        special: the token ids that decoding treats specially.
        vocabulary: number of tokens.
        lower_case: whether it writes only lower case.
    """

    topics: tuple[str, ...]
    free_topic: bool
    max_context: int
    latent_size: int
    special: SpecialIds
    vocabulary: int
    lower_case: bool

    def encode(self, conversations: Sequence[Conversation]) -> Any:
        """Conversations as token ids: `EncodedCorpus` for a dialog model, `EncodedTurns` for a language model."""
        ...

    def encode_asked(self, conversations: Sequence[Conversation]) -> Any:
        """The same for conversations of which only the last utterance is a reply: what it does not read has no ids."""
        ...

    def batch(self, corpus: Any, utterances: NDArray[np.int64]) -> Any:
        """The contexts of these utterances (B,) of an encoded corpus, as `Engine.condition` takes them."""
        ...

    def seen(self, corpus: Any, utterance: int, conversation: Conversation) -> Seen:
        """How much of the context of an utterance, which is in this conversation, is read."""
        ...

    def reply_tokens(self, text: str) -> tuple[int, ...]:
        """The ids of a text as a reply, the end token included, for the model to score."""
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a reply, without control characters and extra spaces; it may be empty."""
        ...

    def count(self, text: str) -> int:
        """The number of tokens of a text, without marks of its beginning and end."""
        ...

    def spelled(self, tokens: Sequence[int]) -> list[bytes | None]:
        """What each token adds to a reply, in UTF-8, before `text` tidies it; None for a token that is not text."""
        ...

    def spelled_instead(self, tokens: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[bytes | None]]:
        """What each of others[t] would add to a reply that it ends in the place of tokens[t]; see `spelled`."""
        ...

    def token_name(self, token: int) -> str:
        """The name of a token that is not text, such as `</s>`."""
        ...


class TokenizerCodec:
    """The part of a `Codec` that only needs its tokenizer, for both kinds."""

    tokenizer: AnyTokenizer

    def count(self, text: str) -> int:
        """See `Codec.count`."""
        return len(self.tokenizer.encode(text))

    def spelled(self, tokens: Sequence[int]) -> list[bytes | None]:
        """See `Codec.spelled`."""
        return self.tokenizer.spelled(tokens)

    def spelled_instead(self, tokens: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[bytes | None]]:
        """See `Codec.spelled_instead`."""
        return self.tokenizer.spelled_instead(tokens, others)

    def token_name(self, token: int) -> str:
        """See `Codec.token_name`."""
        return self.tokenizer.name(token)


class DialogCodec(TokenizerCodec):
    """`Codec` of a dialog model with weights of its own.

    Args:
        tokenizer: the model's.
        topics: in the order of their embedding.
        config: sizes of the model.
        roles: in the order of their embedding; speakers with other names have the unknown one.
    """

    tokenizer: Tokenizer
    free_topic = False

    def __init__(
        self, tokenizer: Tokenizer, topics: tuple[str, ...], config: ModelConfig, roles: tuple[str, ...] = ()
    ) -> None:
        self.tokenizer, self.topics, self.roles = tokenizer, topics, roles
        self.max_context, self.latent_size = config.max_context, config.latent_size
        self._most_tokens = config.max_utterance_tokens
        never = tuple(token for token in tokenizer.never_generated if token != tokenizer.unk_id)
        self.special = SpecialIds(tokenizer.eos_id, tokenizer.unk_id, never)
        self.vocabulary = len(tokenizer)
        self.lower_case = tokenizer.mode == "word"

    def encode(self, conversations: Sequence[Conversation]) -> EncodedCorpus:
        """See `Codec.encode`."""
        return encode_corpus(conversations, self.tokenizer, self.topics, self._most_tokens, roles=self.roles)

    def encode_asked(self, conversations: Sequence[Conversation]) -> EncodedCorpus:
        """See `Codec.encode_asked`; earlier speakers are kept, because they decide whom the reply is for."""
        return self.encode([self._without_unread(conversation) for conversation in conversations])

    def _without_unread(self, conversation: Conversation) -> Conversation:
        """The conversation without the texts that its last utterance does not read."""
        said = conversation.utterances
        first = max(0, len(said) - 1 - self.max_context)
        return replace(
            conversation, utterances=(*(Utterance(each.speaker, "") for each in said[:first]), *said[first:])
        )

    def batch(self, corpus: EncodedCorpus, utterances: NDArray[np.int64]) -> DialogBatch:
        """See `Codec.batch`."""
        return collate(corpus, utterances, self.max_context)

    def seen(self, corpus: EncodedCorpus, utterance: int, conversation: Conversation) -> Seen:
        """See `Codec.seen`."""
        (position,) = corpus.places(np.array([utterance]))[1].tolist()
        before = position - 1  # number of utterances before it; place 0 is the mark of the beginning
        count = min(before, self.max_context)
        lengths = np.diff(corpus.offsets[utterance - count : utterance + 1].astype(np.int64))
        # A text of the maximum number of tokens may have been shortened.
        reach = np.flatnonzero(lengths >= self._most_tokens) + before - count
        longer = (self._tokens(conversation.utterances[index].text) > self._most_tokens for index in reach)
        return Seen(count, count < before or any(longer))

    def _tokens(self, text: str) -> int:
        return self.count(text) + 2  # <s> and </s>

    def reply_tokens(self, text: str) -> tuple[int, ...]:
        """See `Codec.reply_tokens`."""
        return (*self.tokenizer.encode(text), self.special.end)

    def text(self, tokens: Sequence[int]) -> str:
        """See `Codec.text`."""
        return tidied(self.tokenizer.decode(tokens))


def tidied(text: str) -> str:
    """The text without control characters, which byte pieces can spell, and with single spaces."""
    if not text.isprintable():
        text = "".join(c for c in text if unicodedata.category(c) != "Cc")
    return " ".join(text.split())


def tidied_pieces(pieces: Sequence[bytes]) -> list[bytes]:
    """The rest of each piece of a reply after `Codec.text` tidied it; joined, they are the tidy text in UTF-8.

    Invalid bytes, control characters and extra spaces are left out.
    """
    owners = [number for number, piece in enumerate(pieces) for _ in piece]
    left = [bytearray() for _ in pieces]
    place, begun, space = 0, False, None
    for char in b"".join(pieces).decode("utf-8", "surrogateescape"):
        spelling = char.encode("utf-8", "surrogateescape")
        own = owners[place : place + len(spelling)]
        place += len(spelling)
        if unicodedata.category(char) in ("Cc", "Cs") or char == UNREADABLE:  # Cs: an invalid byte
            continue
        if char.isspace():
            space = own[0] if space is None else space
            continue
        if space is not None and begun:
            left[space] += b" "
        for owner, byte in zip(own, spelling, strict=True):
            left[owner].append(byte)
        begun, space = True, None
    return [bytes(piece) for piece in left]
