"""A fingerprint of encoded corpora, by which a resumed run recognises its corpus.

Open this before you add an array to an encoded corpus. The fingerprint of an existing corpus must never change;
otherwise runs of earlier versions cannot be resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns

BLOCK = 2**16  # rows that are hashed at a time


def fingerprint(*corpora: EncodedCorpus | EncodedTurns) -> str:
    """A digest that changes with the conversations, their order and split, the tokenizer and the topics.

    It covers the content of each utterance and does not depend on the arrays' types and layout.
    """
    digest = hashlib.sha256()
    for corpus in corpora:
        for name, kind, shape, blocks in _columns(corpus) if isinstance(corpus, EncodedCorpus) else _lines(corpus):
            digest.update(f"{name} {np.dtype(kind)} {shape}".encode())
            for block in blocks:
                digest.update(np.ascontiguousarray(block, dtype=kind).data)
    return digest.hexdigest()


def _columns(corpus: EncodedCorpus) -> Iterator[tuple[str, type, tuple[int, ...], Iterator[NDArray[Any]]]]:
    """Names, types, shapes and values of all columns of tokens and utterances, the values in blocks of rows."""
    count = len(corpus.speaker)

    def stored(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        return (values[begin : begin + BLOCK] for begin in range(0, len(values), BLOCK))

    def by_conversation(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        utterances = (np.arange(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
        return (values[corpus.places(block)[0]] for block in utterances)

    if len(corpus.long):  # so that the fingerprint of a corpus without long utterances is that of earlier versions
        yield "long", np.int64, corpus.long.shape, stored(corpus.long)
    if len(corpus.role):  # for the same reason
        yield "role", np.int32, corpus.role.shape, stored(corpus.role)
    if len(corpus.context_only):  # for the same reason
        yield "context_only", np.int64, corpus.context_only.shape, stored(corpus.context_only)
    profiles = (count, 2, corpus.profiles.shape[1])
    yield "tokens", np.int32, corpus.tokens.shape, stored(corpus.tokens)
    yield "offsets", np.int64, corpus.offsets.shape, stored(corpus.offsets)
    yield "start", np.int64, (count,), by_conversation(corpus.starts)
    yield "speaker", np.int32, (count,), stored(corpus.speaker)
    yield "topic", np.int32, (count,), by_conversation(corpus.topic)
    yield "profiles", np.float32, profiles, (corpus.profiles[block] for block in stored(corpus.parties))
    yield "known", np.float32, profiles, (corpus.known[block] for block in stored(corpus.parties))
    yield "conversation", np.int32, (count,), by_conversation(np.arange(len(corpus.topic)))


def _lines(turns: EncodedTurns) -> Iterator[tuple[str, type, tuple[int, ...], Iterator[NDArray[Any]]]]:
    """The same for lines of text."""
    for name, array in turns._asdict().items():
        if name == "context_only" and not len(array):  # as in `_columns`
            continue
        yield name, np.int64, array.shape, (array[begin : begin + BLOCK] for begin in range(0, len(array), BLOCK))
