"""Conversations as flat arrays of token ids; windows are indices into them.

Open it to see what an encoded corpus holds; `dialog_cvae.data.encoding` makes it from text. Every conversation begins
with the pseudo-utterance `<s> <d> </s>`, so its first utterance has a context too.

An utterance that is too long is stored twice. As a response it has its first tokens without `</s>`, so that no model
learns to end where a text was cut. As context it has its first and last tokens, because a question is often at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.roles import UNKNOWN_ROLE
from dialog_cvae.data.windows import Integers

UNKNOWN_TOPIC = 0
NO_SPEAKER = -1  # the speaker of the pseudo-utterance


class EncodedCorpus(NamedTuple):
    """Conversations as flat arrays, possibly memory-mapped. An utterance takes about 10 bytes plus its token ids.

    N utterances (pseudo-utterances included), M of them too long, S = sum of all lengths, C conversations, P distinct
    profiles.

    Attributes:
        tokens: (S,) unsigned, each utterance as `<s> ... </s>`, as context; then the M long ones as replies, `<s> ...`.
        offsets: (N + M + 1,) unsigned, index in `tokens` where each of these begins.
        long: (M,) int64, the utterances that are too long, in order.
        speaker: (N,) signed, speakers numbered within their conversation; NO_SPEAKER for the pseudo-utterance.
        parties: (N, 2) unsigned, rows of `profiles`: the utterance's speaker and its addressee.
        starts: (C + 1,) int64, the first utterance (the pseudo-utterance) of each conversation; the last entry is N.
        topic: (C,) int32, 0 is `<unknown>`.
        profiles: (P, 4) float32, distinct profiles; the first is the unknown one.
        known: (P, 4) float32, 1 if the feature is known, else 0.
        context_only: the utterances that are no replies, in order; int64, empty if all are.
        role: (N,) unsigned, the role of the utterance's speaker; 0 if unknown and for the pseudo-utterance. Empty if
            there are no roles.
    """

    tokens: Integers
    offsets: Integers
    long: NDArray[np.int64]
    speaker: Integers
    parties: Integers
    starts: NDArray[np.int64]
    topic: NDArray[np.int32]
    profiles: NDArray[np.float32]
    known: NDArray[np.float32]
    context_only: NDArray[np.int64]
    role: Integers

    @property
    def responses(self) -> NDArray[np.int64]:
        """Indices of all utterances that are replies: each is the response of one window."""
        return np.setdiff1d(np.flatnonzero(self.speaker != NO_SPEAKER), self.context_only, assume_unique=True)

    @property
    def windows(self) -> int:
        """The number of responses."""
        return len(self.speaker) - len(self.topic) - len(self.context_only)

    def first(self, count: int | None) -> Integers:
        """The first `count` responses, or all."""
        return self.responses[:count]

    def chunks(self, chosen: Integers, size: int) -> list[Integers]:
        """The responses in the given order, in parts of at most `size`."""
        return [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]

    def places(self, utterances: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The conversation of each utterance and its position in it; the pseudo-utterance has position 0."""
        conversations = np.searchsorted(self.starts, utterances, side="right") - 1
        return conversations, utterances - self.starts[conversations]

    def roles_of(self, utterances: Integers) -> NDArray[np.int64]:
        """The role of each utterance's speaker; 0 is unknown."""
        if not len(self.role):
            return np.full(utterances.shape, UNKNOWN_ROLE, np.int64)
        return self.role[utterances].astype(np.int64)

    def as_reply(self, utterances: Integers) -> Integers:
        """The row of `offsets` that holds each utterance as a reply."""
        if not len(self.long):
            return utterances
        place = np.minimum(np.searchsorted(self.long, utterances), len(self.long) - 1)
        return np.where(self.long[place] == utterances, len(self.speaker) + place, utterances)
