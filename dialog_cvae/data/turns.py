"""Conversations as a language model reads them: a line for the topic, then a line `name: text` for each utterance.

Open it to change what is read before a reply, or which replies share a block. Token ids are made once. A batch consists
of blocks. A block is a run of neighbouring replies of one conversation, after as much of the conversation as fits. One
pass over a block serves all its replies.

If an utterance is too long, its first tokens are learnt. Its line also keeps the last ones for the replies after it,
because a question is often at the end.

Shape legend: N utterances, topic lines included, C conversations, B replies of a batch, R blocks, T tokens of the
longest block.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Reading
from dialog_cvae.data.windows import Integers, numbers
from dialog_cvae.types import Conversation

TOPIC_SHARE = 0.5  # share of the tokens before a reply that a topic line may take


class Encoder(Protocol):
    """Text to token ids, without marks of beginning or end."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...


class EncodedTurns(NamedTuple):
    """Conversations as flat arrays.

    Attributes:
        tokens: (sum of all lengths,) every line with its line break; see `encode_turns` for lines that are too long.
        offsets: (N + 1,) where each line begins.
        header: (N,) number of tokens of `name:`, which are given for a reply; of a topic line, all its tokens.
        targets: (N,) number of tokens to learn: the text and its line break, or the beginning of a text that is too
            long.
        starts: (C + 1,) the topic line of each conversation, which may be empty, and N.
        context_only: the utterances that are no replies, in order; empty if all are.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    header: NDArray[np.int32]
    targets: NDArray[np.int32]
    starts: NDArray[np.int64]
    context_only: NDArray[np.int64]

    @property
    def responses(self) -> NDArray[np.int64]:
        """All utterances that are replies: each is the reply of one window."""
        others = np.concatenate((self.starts[:-1], self.context_only))
        return np.setdiff1d(np.arange(len(self.header)), others, assume_unique=True)

    @property
    def windows(self) -> int:
        """How many replies there are."""
        return len(self.header) - (len(self.starts) - 1) - len(self.context_only)

    def beginning(self, replies: int) -> EncodedTurns:
        """The first conversations: as few as have this many replies, or all."""
        held = (np.diff(numbers(self.starts, self.context_only)) - 1).cumsum()
        count = min(int(np.searchsorted(held, replies)) + 1, len(held))
        end = int(self.starts[count])
        return EncodedTurns(
            self.tokens[: self.offsets[end]],
            self.offsets[: end + 1],
            self.header[:end],
            self.targets[:end],
            self.starts[: count + 1],
            self.context_only[self.context_only < end],
        )

    def longest(self, utterances: int) -> int:
        """The most tokens that so many successive lines of a conversation have; the topic line is one of them."""
        begin = np.arange(len(self.header))
        ends = self.starts[np.searchsorted(self.starts, begin, side="right")]  # of each line's conversation
        lengths = self.offsets[np.minimum(begin + utterances, ends)] - self.offsets[:-1]
        return int(lengths.max(initial=0))

    def first(self, count: int | None) -> Integers:
        """The first `count` replies, or all."""
        return self.responses[:count]

    def chunks(self, chosen: Integers, size: int) -> list[Integers]:
        """Replies in the given order, `size` at a time."""
        return [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]

    def places(self, utterances: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The conversation of each utterance, and its position there; 0 is the topic line's."""
        conversations = np.searchsorted(self.starts, utterances, side="right") - 1
        return conversations, utterances - self.starts[conversations]


class TurnBatch(NamedTuple):
    """Replies in blocks.

    Attributes:
        tokens: (R, T) int64, padded with 0.
        block: (B,) row of each reply.
        begin: (B,) position of the last token of its header, after which the reply begins.
        targets: (B,) number of tokens to predict.
    """

    tokens: NDArray[np.int64]
    block: NDArray[np.int64]
    begin: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def size(self) -> int:
        """B."""
        return len(self.block)


def header(speaker: str) -> str:
    """The beginning of a speaker's line."""
    return f"{' '.join(speaker.split())}:"


def encode_turns(
    conversations: Iterable[Conversation], encoder: Encoder, max_reply_tokens: int, reading: Reading = 3
) -> EncodedTurns:
    """Turn text into ids, once.

    Args:
        conversations: in any order, which is kept.
        encoder: the language model's tokenizer.
        max_reply_tokens: most tokens to learn of an utterance's text and line break. The line of a longer utterance
            also has up to as many of its last tokens.
        reading: see `DataConfig`; 1 leaves out the last tokens of a long utterance.
    """
    (line_break,) = encoder.encode("\n")
    tokens, offsets, headers, targets, starts = array("i"), array("q", [0]), array("i"), array("i"), array("q")
    context_only = array("q")

    named_once = functools.cache(lambda speaker: encoder.encode(header(speaker)))

    def add(own: list[int], header_length: int, learnt: int) -> None:
        tokens.extend(own)
        offsets.append(len(tokens))
        headers.append(header_length)
        targets.append(learnt)

    for conversation in conversations:
        starts.append(len(headers))
        context_only.extend(len(headers) + 1 + place for place in conversation.context_positions)
        topic = encoder.encode(f"Topic: {' '.join(conversation.topic.split())}\n") if conversation.topic else []
        add(topic, len(topic), 0)
        for utterance in conversation.utterances:
            named = named_once(utterance.speaker)
            said = encoder.encode(f" {' '.join(utterance.text.split())}")
            kept, learnt = _kept(said, max_reply_tokens, both_ends=reading > 1)
            add([*named, *kept, line_break], len(named), learnt)
    starts.append(len(headers))
    return EncodedTurns(
        np.array(tokens, dtype=np.int32),
        np.array(offsets, dtype=np.int64),
        np.array(headers, dtype=np.int32),
        np.array(targets, dtype=np.int32),
        np.array(starts, dtype=np.int64),
        np.array(context_only, dtype=np.int64),
    )


def _kept(said: list[int], limit: int, both_ends: bool) -> tuple[list[int], int]:
    """The tokens of a text to put in its line, without line break, and the number of the line's tokens to learn."""
    kept = said[: limit - 1]
    if len(said) + 1 <= limit:
        return kept, len(kept) + 1  # with the line break
    return kept + (said[max(len(kept), len(said) - limit) :] if both_ends else []), len(kept)


def block_starts(turns: EncodedTurns, replies: Integers, block: int) -> NDArray[np.int64]:
    """(B,) for each reply, the index in `replies` at which its block begins.

    A block is a run of replies of one conversation, at most `block` utterances long. Between them there are only
    utterances that are context alone.

    Args:
        turns: where the replies are.
        replies: (B,) indices of utterances.
        block: most utterances from a block's first reply to its last.
    """
    replies = replies.astype(np.int64)
    conversations, _ = turns.places(replies)
    indices = np.arange(len(replies))
    joined = np.zeros(len(replies), dtype=bool)  # to the reply before
    joined[1:] = (np.diff(numbers(replies, turns.context_only)) == 1) & (np.diff(conversations) == 0)
    run = np.maximum.accumulate(np.where(joined, 0, indices))
    part = (replies - replies[run]) // block  # of the run, in which each block is one
    begins = ~joined
    begins[1:] |= np.diff(part) != 0
    return np.maximum.accumulate(np.where(begins, indices, 0))


class Blocks(NamedTuple):
    """Which replies are read together in a block, and what is read before them.

    Attributes:
        first: (B,) the first utterance of each reply's block, which decides what is read before the block.
        untitled: (B,) whether the block's topic line is left out.
    """

    first: NDArray[np.int64]
    untitled: NDArray[np.bool_]

    @classmethod
    def of(
        cls, turns: EncodedTurns, replies: Integers, block: int, untitled: NDArray[np.bool_] | None = None
    ) -> Blocks:
        """The blocks of a whole batch; `untitled` of a block's first reply holds for the whole block."""
        starts = block_starts(turns, replies, block)
        left_out = np.zeros(len(starts), dtype=bool) if untitled is None else untitled[starts]
        return cls(replies.astype(np.int64)[starts], left_out)

    @classmethod
    def aligned(cls, turns: EncodedTurns, replies: Integers, block: int) -> Blocks:
        """The blocks of whole conversations, cut every `block` utterances from the first one on.

        What is read before a reply then depends on its place alone, not on the other replies in the batch.
        """
        replies = replies.astype(np.int64)
        _, places = turns.places(replies)
        return cls(replies - (places - 1) % block, np.zeros(len(replies), dtype=bool))

    def rows(self, part: slice) -> Blocks:
        """The blocks of a part of the batch. What is read before a reply stays the same."""
        return Blocks(self.first[part], self.untitled[part])


def collate_turns(turns: EncodedTurns, replies: Integers, max_context_tokens: int, blocks: Blocks) -> TurnBatch:
    """The batch of these replies, in their order.

    Args:
        turns: where the replies are.
        replies: (B,) indices of utterances.
        max_context_tokens: most tokens before the first reply of a block: the topic line, unless the block leaves it
            out (see `shortened_topic`), then the latest whole utterances that fit. If not even the latest one fits, its
            header and its end.
        blocks: the blocks of these replies.
    """
    replies = replies.astype(np.int64)
    conversations, _ = turns.places(replies)
    apart = np.diff(numbers(replies, turns.context_only)) != 1
    cuts = np.flatnonzero(apart | (np.diff(blocks.first) != 0)) + 1
    runs = np.split(np.arange(len(replies)), cuts)
    rows: list[NDArray[np.int32]] = []
    block, begin = np.zeros((2, len(replies)), dtype=np.int64)
    for row, run in enumerate(runs):
        first, last, topic = int(blocks.first[run[0]]), int(replies[run[-1]]), int(turns.starts[conversations[run[0]]])
        title = turns.tokens[turns.offsets[topic] : turns.offsets[topic if blocks.untitled[run[0]] else topic + 1]]
        title = shortened_topic(title, max_context_tokens)
        room = max_context_tokens - len(title)
        earliest = int(np.searchsorted(turns.offsets, turns.offsets[first] - room))  # from here on all fits
        earliest = min(first, max(topic + 1, earliest))
        before = _shortened(turns, first - 1, room) if topic + 1 < first == earliest else title[:0]
        rows.append(np.concatenate((title, before, turns.tokens[turns.offsets[earliest] : turns.offsets[last + 1]])))
        own = replies[run]
        block[run] = row
        begin[run] = len(title) + len(before) + turns.offsets[own] - turns.offsets[earliest] + turns.header[own] - 1
    tokens = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for line, ids in zip(tokens, rows, strict=True):
        line[: len(ids)] = ids
    return TurnBatch(tokens, block, begin, turns.targets[replies].astype(np.int64))


def shortened_topic(line: NDArray[np.int32], max_context_tokens: int) -> NDArray[np.int32]:
    """A topic line as it is read: of a long one the beginning and the line break, at most half of the limit."""
    most = int(TOPIC_SHARE * max_context_tokens)
    return line if len(line) <= most else np.append(line[: max(0, most - 1)], line[-1])


def _shortened(turns: EncodedTurns, utterance: int, room: int) -> NDArray[np.int32]:
    """The header of a line and its last tokens, `room` in all; without the header if it needs more than half."""
    line = turns.tokens[turns.offsets[utterance] : turns.offsets[utterance + 1]]
    kept = int(turns.header[utterance])
    kept = kept if 2 * kept <= room else 0
    return np.concatenate((line[:kept], line[len(line) - max(0, room - kept) :]))
