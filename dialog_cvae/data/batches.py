"""From conversations to batches: texts are encoded once, windows are indices, a batch has each utterance once.

Open it to change what the model sees. A window is a response and the at most K utterances before it. Every
conversation begins with the pseudo-utterance `<s> <d> </s>`, so its first utterance has a context too. Consecutive
windows of a conversation share most of their utterances. A batch consists of segments of consecutive windows, so each
utterance is encoded once for all windows of its segment.

An utterance that is too long is kept twice: as a response, its first tokens without `</s>`, so that no model learns to
end where a text was cut; as context, its first and its last tokens, because a question is often at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Reading
from dialog_cvae.data.roles import UNKNOWN_ROLE, role_number
from dialog_cvae.limits import normal
from dialog_cvae.types import UNKNOWN_PROFILE, Conversation, DialogBatch, Profile

if TYPE_CHECKING:
    from dialog_cvae.text.tokenizer import Tokenizer

UNKNOWN_TOPIC = 0
NO_SPEAKER = -1  # the speaker of the pseudo-utterance
Integers = NDArray[np.integer[Any]]  # of the smallest type that can hold the values


class Windows(Protocol):
    """Conversations whose first entry is no window's response: a pseudo-utterance or a topic line."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """(C + 1,) the first entry of each conversation, and their number."""
        ...

    @property
    def context_only(self) -> NDArray[np.int64]:
        """The other entries that are no window's response, in order."""
        ...

    @property
    def windows(self) -> int:
        """How many responses there are."""
        ...


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
        role: (N,) unsigned, the role of the utterance's speaker; 0 is unknown, and of the pseudo-utterance. Empty
            without roles.
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


def truncate(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens: the first limit - 1 and the last, as in the official code."""
    return list(tokens) if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def both_ends(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens: half of them from the beginning, the others from the end."""
    first = limit // 2
    return list(tokens) if len(tokens) <= limit else [*tokens[:first], *tokens[len(tokens) - limit + first :]]


def addressees(conversation: Conversation) -> list[str | None]:
    """The addressee of each utterance: the other of two speakers, else the latest other speaker, else None."""
    speakers = [utterance.speaker for utterance in conversation.utterances]
    names = {*speakers, *conversation.speakers}
    if len(names) == 2:
        one, two = names
        return [two if speaker == one else one for speaker in speakers]
    found: list[str | None] = []
    latest: str | None = None
    before_latest: str | None = None  # the latest speaker who is not `latest`
    for speaker in speakers:
        if speaker != latest:
            latest, before_latest = speaker, latest
        found.append(before_latest)
    return found


def profile_features(profile: Profile) -> tuple[list[float], list[float]]:
    """The features [age / 100, education / 3, female, male], and 1 for each that is known, else 0."""
    age, education = profile.age, profile.education
    features = [(age or 0) / 100, (education or 0) / 3, float(profile.sex == "female"), float(profile.sex == "male")]
    sex_known = float(profile.sex is not None)
    return features, [float(age is not None), float(education is not None), sex_known, sex_known]


def encode_corpus(
    conversations: Iterable[Conversation],
    tokenizer: Tokenizer,
    topics: Sequence[str],
    max_tokens: int,
    reading: Reading = 2,
    roles: Sequence[str] = (),
) -> EncodedCorpus:
    """Encode texts as token ids. Only one conversation is in memory at a time.

    Args:
        conversations: in any order; the result keeps it.
        tokenizer: the model's.
        topics: known topics in the order of the model's embedding; all others become `<unknown>`.
        max_tokens: maximum number of tokens of an utterance, `<s>` and `</s>` included.
        reading: see `DataConfig`; 1 keeps the first tokens and `</s>` of an utterance that is too long.
        roles: known roles in the order of the model's embedding; all other speakers have the unknown one.
    """
    topic_ids = {normal(name): i for i, name in enumerate(topics, start=1)} | {
        name: i for i, name in enumerate(topics, start=1)
    }
    opening = [tokenizer.bos_id, tokenizer.dialog_start_id, tokenizer.eos_id]
    rows = {UNKNOWN_PROFILE: 0}
    tokens = array("H" if len(tokenizer) <= 2**16 else "I")
    lengths, parties, speaker_ids, role_ids = array("I"), array("I"), array("i"), array("I")
    starts, conversation_topics, long, context_only = array("q"), array("i"), array("q"), array("q")
    as_reply: list[list[int]] = []  # the long ones
    for conversation in conversations:
        topic = conversation.topic or ""
        conversation_topics.append(topic_ids.get(topic, topic_ids.get(normal(topic), UNKNOWN_TOPIC)))
        starts.append(len(lengths))
        tokens.extend(opening)
        lengths.append(len(opening))
        speaker_ids.append(NO_SPEAKER)
        role_ids.extend([UNKNOWN_ROLE] if roles else [])
        parties.extend((0, 0))
        context_only.extend(len(lengths) + place for place in conversation.context_positions)
        names: dict[str, int] = {}
        spoken = {each.speaker for each in conversation.utterances} if roles else set()
        roles_here = {name: role_number(name, roles) for name in spoken}
        profile_rows = {name: rows.setdefault(profile, len(rows)) for name, profile in conversation.speakers.items()}
        for utterance, other in zip(conversation.utterances, addressees(conversation), strict=True):
            ids = [tokenizer.bos_id, *tokenizer.encode(utterance.text), tokenizer.eos_id]
            if reading == 1:
                ids = truncate(ids, max_tokens)
            elif len(ids) > max_tokens:
                long.append(len(lengths))
                as_reply.append(ids[:max_tokens])
                ids = both_ends(ids, max_tokens)
            tokens.extend(ids)
            lengths.append(len(ids))
            speaker_ids.append(names.setdefault(utterance.speaker, len(names)))
            role_ids.extend([roles_here[utterance.speaker]] if roles else [])
            parties.extend((profile_rows.get(utterance.speaker, 0), 0 if other is None else profile_rows.get(other, 0)))
    starts.append(len(lengths))
    for ids in as_reply:
        tokens.extend(ids)
        lengths.append(len(ids))
    features = np.array([profile_features(profile) for profile in rows], dtype=np.float32)  # (P, value or known, 4)
    return EncodedCorpus(
        tokens=np.array(tokens),
        offsets=_offsets(lengths),
        long=np.array(long, dtype=np.int64),
        speaker=_smallest(np.asarray(speaker_ids)),
        parties=_smallest(np.asarray(parties).reshape(-1, 2)),
        starts=np.array(starts, dtype=np.int64),
        topic=np.array(conversation_topics, dtype=np.int32),
        profiles=features[:, 0].copy(),
        known=features[:, 1].copy(),
        context_only=np.array(context_only, dtype=np.int64),
        role=_smallest(np.asarray(role_ids)),
    )


def _offsets(lengths: array[int]) -> Integers:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _smallest(offsets)


def _smallest(values: Integers) -> Integers:
    """A copy in the smallest integer type, unsigned unless a value is negative."""
    kinds = [np.min_scalar_type(int(limit)) for limit in (values.min(initial=0), values.max(initial=0))]
    if kinds[0].kind == "i":  # the highest value then needs a signed type too
        kinds[1] = np.min_scalar_type(-1 - int(values.max()))
    return values.astype(np.result_type(*kinds))


def collate(corpus: EncodedCorpus, responses: Integers, max_context: int | Integers) -> DialogBatch:
    """The batch of the windows that end with `responses` (B,); it has each utterance once.

    Args:
        corpus: contains the responses.
        responses: indices of utterances, repeats allowed.
        max_context: K, maximum number of context utterances; or (B,), one for each response.
    """
    responses = responses.astype(np.int64)
    conversations, positions = corpus.places(responses)  # (B,) each
    lengths = np.minimum(positions, max_context)  # (B,)
    slots = np.arange(int(lengths.max(initial=1)))
    used = slots < lengths[:, None]  # (B, K)
    context = np.where(used, responses[:, None] - lengths[:, None] + slots, responses[:, None])
    floors = used & (corpus.speaker[context] == corpus.speaker[responses][:, None])
    roles = np.where(used, corpus.roles_of(context), UNKNOWN_ROLE)
    replies = corpus.as_reply(responses)
    context = np.where(used, context, replies[:, None])
    distinct, rows = np.unique(np.concatenate((context.ravel(), replies)), return_inverse=True)
    tokens, token_counts = _padded(corpus, distinct)
    parties = corpus.parties[responses]  # (B, 2)
    return DialogBatch(
        tokens=tokens,
        lengths=token_counts,
        context=np.where(used, rows[: context.size].reshape(context.shape), 0),
        context_lengths=lengths,
        floors=floors.astype(np.float32),
        response=rows[context.size :],
        topic=corpus.topic[conversations].astype(np.int64),
        profiles=corpus.profiles[parties],
        profiles_known=corpus.known[parties],
        roles=roles,
        role=corpus.roles_of(responses),
    )


def _padded(corpus: EncodedCorpus, utterances: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of utterances, (U, L) padded with 0, and their lengths (U,)."""
    begin = corpus.offsets[utterances].astype(np.int64)
    lengths = corpus.offsets[utterances + 1] - begin
    positions = np.arange(int(lengths.max(initial=1)))
    real = positions < lengths[:, None]
    flat = np.where(real, begin[:, None] + positions, 0)
    return np.where(real, corpus.tokens[flat], 0).astype(np.int64), lengths


def epoch_order(corpus: Windows, segment: int, seed: int, epoch: int) -> Integers:
    """All windows of one pass in training order: shuffled segments of at most `segment` neighbours.

    Segment boundaries move with the epoch, so that windows have different neighbours. The order depends only on seed
    and epoch, so a resumed run can reproduce it.

    Args:
        corpus: has the windows.
        segment: number of windows of one conversation that stay together, at least 1.
        seed: of the run.
        epoch: number of the pass.

    Returns:
        (W,) indices of utterances.
    """
    rng = np.random.default_rng((seed, epoch))
    shift = int(rng.integers(segment))
    # Entries are numbered without those that are context alone: neighbouring responses have neighbouring numbers.
    starts = numbers(corpus.starts, corpus.context_only)
    last = np.diff(starts) - 1  # (C,) position of the last response; the first is at 1
    # A segment has the responses of a conversation with the same (position + shift) // segment.
    first_block = (1 + shift) // segment
    counts = np.where(last > 0, (last + shift) // segment - first_block + 1, 0)  # (C,) segments
    conversation = np.repeat(np.arange(len(last)), counts)
    block = np.arange(len(conversation)) - np.repeat(np.cumsum(counts) - counts, counts) + first_block
    begin = np.maximum(block * segment - shift, 1)
    end = np.minimum((block + 1) * segment - shift, last[conversation] + 1)
    shuffled = rng.permutation(len(conversation))
    begin, lengths = (starts[conversation] + begin)[shuffled], (end - begin)[shuffled]
    # The number jumps between segments and increases by 1 within a segment.
    kind = np.min_scalar_type(-int(corpus.starts[-1]))
    jumps = (begin - np.cumsum(lengths) + lengths).astype(kind)
    order: Integers = np.repeat(jumps, lengths) + np.arange(corpus.windows, dtype=kind)
    if not len(corpus.context_only):
        return order
    counted: Integers = np.delete(np.arange(corpus.starts[-1], dtype=kind), corpus.context_only)
    return counted[order]


def numbers(entries: Integers, context_only: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of entries when those that are context alone are not counted."""
    return entries.astype(np.int64) - np.searchsorted(context_only, entries)


def drop_conditions(batch: DialogBatch, share: float, draws: NDArray[np.float64]) -> DialogBatch:
    """Replace topics, and each party's profile, by the unknown ones in a random share of windows.

    This trains the `<unknown>` topic and profile on corpora in which everything is known.

    Args:
        batch: is not modified.
        share: share of windows, for topic, responder's profile and other's profile independently.
        draws: (B, 3) uniform in [0, 1).
    """
    kept = draws >= share
    known = batch.profiles_known * kept[:, 1:, None].astype(np.float32)
    return batch._replace(topic=np.where(kept[:, 0], batch.topic, UNKNOWN_TOPIC), profiles_known=known)


def drop_roles(batch: DialogBatch, share: float, draws: NDArray[np.float64]) -> DialogBatch:
    """Replace the roles in the context, and the role of the one who replies, by the unknown one in a share of windows.

    This trains the unknown role on corpora in which everyone has one. Half of the windows that lose one lose both, as
    in a request that names no roles.

    Args:
        batch: is not modified.
        share: share of windows, for the context and for the one who replies.
        draws: (B, 3) uniform in [0, 1).
    """
    context = draws[:, 0] < share
    responder = np.where(draws[:, 2] < 0.5, draws[:, 0], draws[:, 1]) < share
    return batch._replace(
        roles=np.where(context[:, None], UNKNOWN_ROLE, batch.roles),
        role=np.where(responder, UNKNOWN_ROLE, batch.role),
    )
