"""Data types that are passed between the parts of the system.

Open it to look up the fields of a conversation, a batch or the terms of the loss, with their shapes. Corpora and
requests consist of `Conversation`s; `dialog_cvae.data` turns conversations into a `DialogBatch`; the model turns a
batch into `ElboTerms`. Nothing here imports torch at run time.

Shape legend: U distinct utterances in a batch, L tokens of the longest one, B windows (a context and its
response), K context slots, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Sex = Literal["female", "male"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known about a speaker; unknown fields are None.

    Attributes:
        sex: "female" or "male".
        age: in years, at the time of the conversation.
        education: Switchboard's code: 0 less than high school, 1 less than college, 2 college, 3 more than college.
    """

    sex: Sex | None = None
    age: int | None = None
    education: int | None = None


UNKNOWN_PROFILE = Profile()
PROFILE_FEATURES = 4  # age / 100, education / 3, female, male


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of one speaker, as readable text; `dialog_act` is the name of a class, or None."""

    speaker: str
    text: str
    dialog_act: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Utterances in the order in which they were spoken.

    Attributes:
        id: unique within its corpus.
        utterances: at least one, unless it is the empty context of a request.
        topic: name of the topic, None if unknown.
        prompt: the instruction given to the speakers, if any.
        speakers: profiles by speaker name; a speaker without an entry has the unknown profile.
        respond_as: the speakers whose utterances are replies, to learn and to evaluate; all others' are context. Empty:
            every utterance is a reply.
    """

    id: str
    utterances: tuple[Utterance, ...]
    topic: str | None = None
    prompt: str | None = None
    speakers: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))
    respond_as: tuple[str, ...] = ()

    def profile(self, speaker: str) -> Profile:
        """The speaker's profile, or the unknown profile."""
        return self.speakers.get(speaker, UNKNOWN_PROFILE)

    @property
    def reply_positions(self) -> list[int]:
        """Positions of the utterances that are replies, from 0."""
        left_out = set(self.context_positions)
        return [place for place in range(len(self.utterances)) if place not in left_out]

    @property
    def context_positions(self) -> list[int]:
        """Positions of the utterances that are context alone."""
        if not self.respond_as:
            return []
        return [place for place, each in enumerate(self.utterances) if each.speaker not in self.respond_as]


class Corpus(NamedTuple):
    """A corpus split by conversation, as a reader returns it.

    Attributes:
        name: the name in tables and model cards; that of a synthetic corpus says so.
        train, valid, test: conversations; no conversation is in two splits; each split is non-empty unless a reader
            documents otherwise.
        notes: one line for each kind of skipped or repaired item, with its count.
        licence: licence of the text, also of weights trained on it; None for the user's own text.
        drawn: whether the splits were drawn from all conversations; when some are added, others may change their split.
    """

    name: str
    train: Sequence[Conversation]
    valid: Sequence[Conversation]
    test: Sequence[Conversation]
    notes: tuple[str, ...] = ()
    licence: str | None = None
    drawn: bool = False


class DialogBatch(NamedTuple):
    """Windows over shared utterances: each utterance is stored once, and windows refer to it. NumPy arrays.

    Attributes:
        tokens: (U, L) int64, `<s> ... </s>`, then padding.
        lengths: (U,) int64, numbers of tokens, `<s>` and `</s>` included.
        context: (B, K) int64, rows of `tokens`, oldest first; unused slots, at the end, are 0.
        context_lengths: (B,) int64, 1..K.
        floors: (B, K) float32, 1 if the context utterance and the response have the same speaker, else 0.
        response: (B,) int64, the row of `tokens` to generate.
        topic: (B,) int64, 0 is `<unknown>`.
        profiles: (B, 2, 4) float32, responder and other: age / 100, education / 3, female, male; 0 if
            unknown.
        profiles_known: (B, 2, 4) float32, 1 if the feature is known, else 0.
        roles: (B, K) int64, the role of each context utterance's speaker; 0 is unknown, and in unused slots.
        role: (B,) int64, the role of the one who replies; 0 is unknown.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    context: NDArray[np.int64]
    context_lengths: NDArray[np.int64]
    floors: NDArray[np.float32]
    response: NDArray[np.int64]
    topic: NDArray[np.int64]
    profiles: NDArray[np.float32]
    profiles_known: NDArray[np.float32]
    roles: NDArray[np.int64]
    role: NDArray[np.int64]

    @property
    def size(self) -> int:
        """B, the number of windows."""
        return int(self.response.shape[0])


class Gaussian(NamedTuple):
    """A diagonal Gaussian: mean and log variance, both (..., Z)."""

    mean: Tensor
    logvar: Tensor


class ElboTerms(NamedTuple):
    """The parts of the objective for each example, in nats and unweighted.

    Attributes:
        reconstruction: (B,) -log p(x | z, c), summed over the response's tokens and `</s>`.
        kl: (B,) KL(q(z | x, c) || p(z | c)), summed over latent dimensions; (B, Z), for each dimension, on request.
        bag_of_words: (B,) -log of the bag-of-words head, summed over the same tokens; None without that head.
        tokens: (B,) int64, target tokens of the response with `</s>`.
        without_z: (B,) -log p(x | c) of the same network without z, summed over the same tokens; None where the model
            cannot read without z.
    """

    reconstruction: Tensor
    kl: Tensor
    bag_of_words: Tensor | None
    tokens: Tensor
    without_z: Tensor | None = None
