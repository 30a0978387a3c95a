"""From conversations to batches: token ids once, windows by index, each utterance of a batch once.

A window is a response and the at most K utterances before it. Every conversation begins with the pseudo-utterance
`<s> <d> </s>`, so that its first utterance has a context too. Windows that follow each other in a conversation share
most of their utterances; a batch is made of segments of such neighbours, so that each utterance is encoded once for
all windows of its segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.types import PROFILE_FEATURES, UNKNOWN_PROFILE, Conversation, DialogBatch, Profile

if TYPE_CHECKING:
    from dialog_cvae.tokenizer import Tokenizer

UNKNOWN_TOPIC = 0
NOBODY = -1  # the speaker of the pseudo-utterance


class EncodedCorpus(NamedTuple):
    """Conversations as flat arrays. N utterances (pseudo-utterances included), S = sum of their tokens.

    Attributes:
        tokens: (S,) int32, every utterance as `<s> ... </s>`.
        offsets: (N + 1,) int64, where each utterance's tokens begin.
        start: (N,) int64, the first utterance (the pseudo-utterance) of each utterance's conversation.
        speaker: (N,) int32, speakers numbered within their conversation; NOBODY for the pseudo-utterance.
        topic: (N,) int32, 0 is `<unknown>`.
        profiles: (N, 2, 4) float32 features of the utterance's speaker and of the one it is said to.
        known: (N, 2, 4) float32, 1 where the feature is known.
        conversation: (N,) int32, index of the conversation.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    start: NDArray[np.int64]
    speaker: NDArray[np.int32]
    topic: NDArray[np.int32]
    profiles: NDArray[np.float32]
    known: NDArray[np.float32]
    conversation: NDArray[np.int32]

    @property
    def responses(self) -> NDArray[np.int64]:
        """Every real utterance: each is the response of one window."""
        return np.flatnonzero(self.speaker != NOBODY)


def truncate(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens: the first limit - 1 and the last, as in the official code."""
    return list(tokens) if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def addressee(conversation: Conversation, position: int, speaker: str) -> str | None:
    """Whom `speaker` talks to at `position`: the other of two, else the latest different speaker, else nobody known."""
    names = {u.speaker for u in conversation.utterances} | set(conversation.speakers) | {speaker}
    if len(names) == 2:
        return (names - {speaker}).pop()
    before = (u.speaker for u in reversed(conversation.utterances[:position]))
    return next((name for name in before if name != speaker), None)


def profile_features(profile: Profile) -> tuple[list[float], list[float]]:
    """Features [age / 100, education / 3, female, male] and which of them are known."""
    age, education = profile.age, profile.education
    features = [(age or 0) / 100, (education or 0) / 3, float(profile.sex == "female"), float(profile.sex == "male")]
    sex_known = float(profile.sex is not None)
    return features, [float(age is not None), float(education is not None), sex_known, sex_known]


def encode_corpus(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, topics: Sequence[str], max_tokens: int
) -> EncodedCorpus:
    """Turn text into ids, once.

    Args:
        conversations: in any order, which `EncodedCorpus` keeps.
        tokenizer: the model's.
        topics: known topics in the order of the model's embedding; all others become `<unknown>`.
        max_tokens: limit of an utterance with `<s>` and `</s>`.
    """
    topic_ids = {name: i for i, name in enumerate(topics, start=1)}
    opening = [tokenizer.bos_id, tokenizer.dialog_start_id, tokenizer.eos_id]
    unknown = profile_features(UNKNOWN_PROFILE)
    tokens: list[int] = []
    lengths: list[int] = []
    rows: list[tuple[int, int, int, int]] = []  # start, speaker, topic, conversation
    features: list[tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]] = []
    for index, conversation in enumerate(conversations):
        topic = topic_ids.get(conversation.topic or "", UNKNOWN_TOPIC)
        start, speakers = len(rows), dict[str, int]()
        tokens += opening
        lengths.append(len(opening))
        rows.append((start, NOBODY, topic, index))
        features.append((unknown, unknown))
        for position, utterance in enumerate(conversation.utterances):
            ids = truncate([tokenizer.bos_id, *tokenizer.encode(utterance.text), tokenizer.eos_id], max_tokens)
            tokens += ids
            lengths.append(len(ids))
            rows.append((start, speakers.setdefault(utterance.speaker, len(speakers)), topic, index))
            other = addressee(conversation, position, utterance.speaker)
            mine = profile_features(conversation.profile(utterance.speaker))
            features.append((mine, unknown if other is None else profile_features(conversation.profile(other))))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    stacked = np.array(features, dtype=np.float32).reshape(-1, 2, 2, PROFILE_FEATURES)  # (N, party, value or known, 4)
    return EncodedCorpus(
        tokens=np.array(tokens, dtype=np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64),
        start=table[:, 0].copy(),
        speaker=table[:, 1].astype(np.int32),
        topic=table[:, 2].astype(np.int32),
        profiles=np.ascontiguousarray(stacked[:, :, 0]),
        known=np.ascontiguousarray(stacked[:, :, 1]),
        conversation=table[:, 3].astype(np.int32),
    )


def collate(corpus: EncodedCorpus, responses: NDArray[np.int64], max_context: int) -> DialogBatch:
    """The batch of the windows that end in `responses` (B,), each utterance in it once.

    Args:
        corpus: where the responses are.
        responses: indices of utterances, repeats allowed.
        max_context: K, context utterances at most.
    """
    lengths = np.minimum(responses - corpus.start[responses], max_context)  # (B,)
    slots = np.arange(int(lengths.max(initial=1)))
    used = slots < lengths[:, None]  # (B, K)
    context = np.where(used, responses[:, None] - lengths[:, None] + slots, responses[:, None])
    distinct, rows = np.unique(np.concatenate((context.ravel(), responses)), return_inverse=True)
    floors = used & (corpus.speaker[context] == corpus.speaker[responses][:, None])
    tokens, token_counts = _padded(corpus, distinct)
    return DialogBatch(
        tokens=tokens,
        lengths=token_counts,
        context=np.where(used, rows[: context.size].reshape(context.shape), 0),
        context_lengths=lengths,
        floors=floors.astype(np.float32),
        response=rows[context.size :],
        topic=corpus.topic[responses].astype(np.int64),
        profiles=corpus.profiles[responses],
        profiles_known=corpus.known[responses],
    )


def _padded(corpus: EncodedCorpus, utterances: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of utterances side by side, (U, L) padded with 0, and their lengths (U,)."""
    begin = corpus.offsets[utterances]
    lengths = corpus.offsets[utterances + 1] - begin
    positions = np.arange(int(lengths.max(initial=1)))
    real = positions < lengths[:, None]
    flat = np.where(real, begin[:, None] + positions, 0)
    return np.where(real, corpus.tokens[flat], 0).astype(np.int64), lengths


def epoch_order(
    responses: NDArray[np.int64], start: NDArray[np.int64], segment: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """All windows of one pass in training order: shuffled segments of at most `segment` neighbours.

    Where segments begin moves with the epoch, so that windows meet different neighbours. A function of seed and epoch
    alone, which is all that a resumed run needs to go on.

    Args:
        responses: (W,) ascending indices of utterances.
        start: (N,) each utterance's conversation, as in `EncodedCorpus`.
        segment: windows of one conversation that stay together, at least 1.
        seed: of the run.
        epoch: number of the pass.
    """
    rng = np.random.default_rng((seed, epoch))
    conversation = start[responses]
    block = (responses - conversation + int(rng.integers(segment))) // segment
    cuts = np.flatnonzero((np.diff(conversation) != 0) | (np.diff(block) != 0)) + 1
    pieces = np.split(responses, cuts)
    return np.concatenate([pieces[i] for i in rng.permutation(len(pieces))])


def batches(corpus: EncodedCorpus, size: int, max_context: int) -> Iterator[tuple[NDArray[np.int64], DialogBatch]]:
    """Every window once in corpus order, with the indices of its responses: for evaluation."""
    responses = corpus.responses
    for begin in range(0, len(responses), size):
        chosen = responses[begin : begin + size]
        yield chosen, collate(corpus, chosen, max_context)


def forget_conditions(batch: DialogBatch, share: float, rng: np.random.Generator) -> DialogBatch:
    """Replace topics, and profiles of each party, by the unknown ones in a random share of windows.

    This is what trains the `<unknown>` topic and profile on corpora in which everything is known.
    """
    if share == 0:
        return batch
    kept = rng.random((batch.size, 3)) >= share
    known = batch.profiles_known * kept[:, 1:, None].astype(np.float32)
    return batch._replace(topic=np.where(kept[:, 0], batch.topic, UNKNOWN_TOPIC), profiles_known=known)
