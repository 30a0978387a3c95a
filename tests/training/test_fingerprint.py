"""The fingerprint of a corpus: it changes with its content, and not with how that is stored."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from training.fingerprint import fingerprint


@pytest.mark.parametrize("name", EncodedCorpus._fields)
def test_the_fingerprint_changes_with_every_array(encoded_roles: EncodedCorpus, name: str) -> None:
    encoded = encoded_roles._replace(context_only=encoded_roles.responses[:2])
    array = getattr(encoded, name).copy()
    array.flat[array.size // 2] += 1
    changed = encoded._replace(**{name: array})
    assert fingerprint(encoded, encoded) == fingerprint(encoded, encoded)
    assert fingerprint(changed, encoded) != fingerprint(encoded, encoded)
    assert fingerprint(encoded, changed) not in (fingerprint(encoded, encoded), fingerprint(changed, encoded))


def test_the_fingerprint_does_not_depend_on_how_the_text_is_stored(
    encoded: EncodedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older runs, in which each utterance had its own profiles, can resume: the fingerprint is the same.

    The column of long utterances is new. Without long utterances there is none.
    """
    assert len(encoded.long)
    conversations, _ = encoded.places(np.arange(len(encoded.speaker)))
    columns = {
        "long": encoded.long,
        "tokens": encoded.tokens.astype(np.int32),
        "offsets": encoded.offsets.astype(np.int64),
        "start": encoded.starts[conversations],
        "speaker": encoded.speaker.astype(np.int32),
        "topic": encoded.topic[conversations],
        "profiles": encoded.profiles[encoded.parties],
        "known": encoded.known[encoded.parties],
        "conversation": conversations.astype(np.int32),
    }
    digest = hashlib.sha256()
    for name, array in columns.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    for block in (1, 7, 2**16):
        monkeypatch.setattr("training.fingerprint.BLOCK", block)
        assert fingerprint(encoded) == digest.hexdigest()
    wide = encoded._replace(tokens=encoded.tokens.astype(np.uint32), parties=encoded.parties.astype(np.uint64))
    assert fingerprint(wide) == digest.hexdigest()
