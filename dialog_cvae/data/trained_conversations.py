"""The conversations that a model was trained on, by which an evaluation leaves them out.

Open it to change how a conversation is recognised. A file that has grown since the fit is divided again, and its test
split may then hold conversations that the model was trained on. Only hashes are stored, which do not give back what was
said, but do show whether a conversation that one has was among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dialog_cvae.data.readers.jsonl_splits import KEY_BYTES, content_keys
from dialog_cvae.errors import CheckpointError
from dialog_cvae.types import Conversation

HASHES = "hashes"  # name of the only tensor
HASH = np.dtype("<u8")


class TrainedConversations:
    """A set of conversations, without their texts.

    Conversations are equal if their texts are, whoever speaks, and without regard to case and spacing: as copies that
    share a split (`dialog_cvae.data.readers.jsonl_splits`).

    Args:
        hashes: (C,) of 64 bits, in any order.
    """

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._hashes = np.unique(hashes.astype(HASH))

    @classmethod
    def of(cls, conversations: Iterable[Conversation]) -> Self:
        """The set of these conversations."""
        return cls(_hashes(conversations))

    def __len__(self) -> int:
        return len(self._hashes)

    def __or__(self, other: TrainedConversations) -> TrainedConversations:
        return TrainedConversations(np.concatenate((self._hashes, other._hashes)))

    def contain(self, conversations: Sequence[Conversation]) -> NDArray[np.bool_]:
        """(C,) whether each of these conversations is in the set."""
        return np.isin(_hashes(conversations), self._hashes)

    def to_bytes(self) -> bytes:
        """The set as a safetensors file, equal for equal sets."""
        data: bytes = save({HASHES: self._hashes})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The set that `to_bytes` wrote.

        Raises:
            CheckpointError: it is damaged, or another kind of file.
        """
        try:
            arrays = load(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"not a readable safetensors file ({error})") from None
        hashes = arrays.get(HASHES)
        if hashes is None or hashes.ndim != 1 or hashes.dtype != HASH:
            raise CheckpointError(f"not a list of conversations (it has no tensor {HASHES!r} of 64-bit hashes)")
        return cls(hashes)


def _hashes(conversations: Iterable[Conversation]) -> NDArray[np.uint64]:
    """(C,) the first 64 bits of the second of `content_keys`, which ignores speakers, case and spacing."""
    begin, end = KEY_BYTES, KEY_BYTES + HASH.itemsize
    keys = b"".join(content_keys(conversation, 0)[begin:end] for conversation in conversations)
    return np.frombuffer(keys, dtype=HASH)
