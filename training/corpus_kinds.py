"""The kinds of cache entries for a corpus: how each is stored as arrays, and checked when it is read again.

Open it to add a kind, or to change what is refused as damaged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.cache import Arrays, Kind
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.encoded_corpus import NO_SPEAKER, EncodedCorpus
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import PROFILE_FEATURES
from training.corpus_summary import Summary
from training.vocabulary import Vocabulary


def ids_kind(vocabulary: Vocabulary) -> Kind[EncodedCorpus]:
    """Token ids of this vocabulary."""
    return Kind("ids", EncodedCorpus._asdict, partial(_fitting_ids, vocabulary=vocabulary))


def turns_kind(words: int) -> Kind[EncodedTurns]:
    """Lines of text for a language model whose vocabulary has `words` token ids."""
    return Kind("turns", EncodedTurns._asdict, partial(_fitting_turns, words=words))


def _bytes(data: bytes) -> Arrays:
    return {"data": np.frombuffer(data, dtype=np.uint8)}


SUMMARY = Kind(
    "summary",
    lambda summary: _bytes(summary.model_dump_json().encode()),
    lambda arrays: Summary.model_validate_json(arrays["data"].tobytes()),
)
COMMON_WORDS = Kind(
    "common",
    lambda common: _bytes(common.to_bytes()),
    lambda arrays: CommonWords.from_bytes(arrays["data"].tobytes()),
)
TRAINED = Kind(
    "trained",
    lambda trained: _bytes(trained.to_bytes()),
    lambda arrays: TrainedConversations.from_bytes(arrays["data"].tobytes()),
)
COUNT = Kind(
    "count",
    lambda count: {"data": np.array([count], dtype=np.int64)},
    lambda arrays: int(arrays["data"][0]),
)
TOKENIZER = Kind(
    "tokenizer",
    lambda tokenizer: _bytes(tokenizer.to_bytes()),
    lambda arrays: Tokenizer.from_bytes(arrays["data"].tobytes()),
)


def _fitting_ids(arrays: Arrays, vocabulary: Vocabulary) -> EncodedCorpus:
    """A corpus from arrays, after a check that all indices are valid.

    Raises:
        TypeError, ValueError: they are not a corpus of this vocabulary.
    """
    corpus = EncodedCorpus(**arrays)
    utterances, profiles = len(corpus.speaker), len(corpus.profiles)
    _check_shapes(corpus, has_roles=bool(vocabulary.roles))
    openings = np.flatnonzero(corpus.speaker == NO_SPEAKER)
    if not (
        (corpus.offsets[1:] >= corpus.offsets[:-1]).all()
        and (np.diff(corpus.long, prepend=-1, append=utterances) > 0).all()
        and corpus.tokens.max(initial=0) < len(vocabulary.tokenizer)
        and corpus.speaker.min(initial=NO_SPEAKER) == NO_SPEAKER
        and corpus.parties.max(initial=0) < profiles
        and corpus.role.max(initial=0) <= len(vocabulary.roles)
        and 0 <= corpus.topic.min(initial=0) <= corpus.topic.max(initial=0) <= len(vocabulary.topics)
        and np.array_equal(corpus.starts, [*openings, utterances])
        and (np.diff(corpus.context_only, prepend=-1, append=utterances) > 0).all()
        and not np.isin(corpus.context_only, openings).any()
    ):
        raise ValueError("an index is out of its range")
    return corpus


def _check_shapes(corpus: EncodedCorpus, has_roles: bool) -> None:
    """Check that the arrays have the types of `EncodedCorpus`, and shapes that fit each other.

    Raises:
        ValueError: one of them is wrong; the message names it.
    """
    utterances, conversations, profiles = len(corpus.speaker), len(corpus.topic), len(corpus.profiles)
    long = len(corpus.long)
    expected = {
        "tokens": ("u", (int(corpus.offsets[-1]),)),
        "offsets": ("u", (utterances + long + 1,)),
        "long": ("i8", (long,)),
        "speaker": ("i", (utterances,)),
        "parties": ("u", (utterances, 2)),
        "starts": ("i8", (conversations + 1,)),
        "topic": ("i4", (conversations,)),
        "profiles": ("f4", (profiles, PROFILE_FEATURES)),
        "known": ("f4", (profiles, PROFILE_FEATURES)),
        "context_only": ("i8", (len(corpus.context_only),)),
        "role": ("u", (utterances if has_roles else 0,)),
    }
    for name, (kind, shape) in expected.items():
        array: NDArray[Any] = getattr(corpus, name)
        if not f"{array.dtype.kind}{array.dtype.itemsize}".startswith(kind) or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {kind} {shape}")


def _fitting_turns(arrays: Arrays, words: int) -> EncodedTurns:
    """Lines of text from arrays, after a check that all indices are valid.

    Raises:
        TypeError, ValueError: they are not lines of this vocabulary.
    """
    turns = EncodedTurns(**arrays)
    lines, lengths = len(turns.header), np.diff(turns.offsets)
    if not (
        all(array.dtype.kind == "i" and array.ndim == 1 for array in arrays.values())
        and len(turns.offsets) == lines + 1
        and len(turns.targets) == lines
        and turns.offsets[0] == 0
        and turns.offsets[-1] == len(turns.tokens)
        and (lengths >= 0).all()
        and turns.tokens.min(initial=0) >= 0
        and turns.tokens.max(initial=0) < words
        and (turns.targets >= 0).all()
        and (turns.header + turns.targets <= lengths).all()
        and turns.starts[-1] == lines
        and (np.diff(turns.starts) > 0).all()
        and (np.diff(turns.context_only, prepend=-1, append=lines) > 0).all()
        and not np.isin(turns.context_only, turns.starts).any()
    ):
        raise ValueError("an index is out of its range")
    return turns
