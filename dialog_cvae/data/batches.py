"""From an encoded corpus to batches: each utterance is in a batch once, even if several windows share it.

Open it to change what the model sees of a window (a response and at most K utterances before it), or what training
hides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.encoded_corpus import UNKNOWN_TOPIC, EncodedCorpus
from dialog_cvae.data.roles import UNKNOWN_ROLE
from dialog_cvae.data.windows import Integers
from dialog_cvae.types import DialogBatch


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
    """Replace the roles in the context, and the responder's role, by the unknown role in a share of windows.

    This trains the unknown role on corpora in which everyone has a role. With probability 1/2 the same draw decides
    about both, because a request that names no roles lacks both.

    Args:
        batch: is not modified.
        share: share of windows, for the context and for the responder.
        draws: (B, 3) uniform in [0, 1).
    """
    context = draws[:, 0] < share
    responder = np.where(draws[:, 2] < 0.5, draws[:, 0], draws[:, 1]) < share
    return batch._replace(
        roles=np.where(context[:, None], UNKNOWN_ROLE, batch.roles),
        role=np.where(responder, UNKNOWN_ROLE, batch.role),
    )
