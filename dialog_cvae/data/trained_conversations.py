"""The set of conversations that a model was trained on. An evaluation leaves these out.

Open it to change how a conversation is recognised. A file that has grown since the fit is divided again, and its test
split may then hold conversations that the model was trained on. Only hashes are stored. They do not contain what was
said, but anyone who can guess a whole conversation can use them to confirm the guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dialog_cvae.data.readers.jsonl_line import SPLITS
from dialog_cvae.data.readers.jsonl_splits import KEY_BYTES, beginning_keys, content_keys
from dialog_cvae.errors import CheckpointError
from dialog_cvae.types import Conversation

HASHES = "hashes"  # name of the only tensor
HASH = np.dtype("<u8")
FEW, FORM = 2, 16  # a form is the text of more than FEW conversations, and of more than one in FORM of them


class TrainedConversations:
    """A set of conversations, without their texts.

    A conversation that went on after the fit counts if at least half of its utterances were there then. Two
    conversations are equal if their texts are. Speakers, case, spacing and numbers are ignored, as in the rule that
    puts copies into one split (`dialog_cvae.data.readers.jsonl_splits`). Numbers count only in forms: texts of which
    many conversations differ in nothing but the numbers.

    Args:
        hashes: 64 bits each, in any order.
    """

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._hashes = np.unique(hashes.astype(HASH))

    @classmethod
    def of(cls, conversations: Iterable[Conversation]) -> Self:
        """The set of these conversations."""
        texts, templates = _hashes(conversations).T
        distinct, counts = np.unique(templates, return_counts=True)
        forms = counts > max(FEW, len(texts) // FORM)
        if len(distinct) < len(SPLITS):  # the splits may then differ in numbers alone
            forms[:] = True
        return cls(np.concatenate((texts, distinct[~forms])))

    def __bool__(self) -> bool:
        return len(self._hashes) > 0

    def __or__(self, other: TrainedConversations) -> TrainedConversations:
        return TrainedConversations(np.concatenate((self._hashes, other._hashes)))

    def contain(self, conversations: Iterable[Conversation]) -> NDArray[np.bool_]:
        """(C,) whether each of these conversations, or a beginning of at least half of it, is in the set."""
        hashes = [np.concatenate((_hashes([each]).ravel(), _beginning_hashes(each))) for each in conversations]
        owners = np.repeat(np.arange(len(hashes)), np.array([len(each) for each in hashes], dtype=np.int64))
        found = np.zeros(len(hashes), dtype=bool)
        found[owners[np.isin(np.concatenate((self._hashes[:0], *hashes)), self._hashes)]] = True
        return found

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


def _beginning_hashes(conversation: Conversation) -> NDArray[np.uint64]:
    """The first of the `_hashes` of each proper beginning of at least half of a conversation."""
    keys = list(beginning_keys(conversation))
    half = -(-len(conversation.utterances) // 2)
    return np.frombuffer(b"".join(keys[half - 1 :]), dtype=HASH)


def _hashes(conversations: Iterable[Conversation]) -> NDArray[np.uint64]:
    """(C, 2) the first 64 bits of the second and third of `content_keys`.

    The bits of the third are inverted, because a text whose numbers are all 0 has two equal keys.
    """
    keys = b"".join(content_keys(conversation, 0)[KEY_BYTES:] for conversation in conversations)
    texts, templates = np.frombuffer(keys, dtype=HASH).reshape(-1, 2, KEY_BYTES // HASH.itemsize)[:, :, 0].T
    return np.column_stack((texts, ~templates))
