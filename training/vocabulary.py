"""The vocabulary of a run: tokenizer, topics and roles.

Open this to add something that a vocabulary holds.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from dialog_cvae.text.stored_tokenizer import AnyTokenizer, read_tokenizer
from dialog_cvae.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """Turns text and names into ids: the tokenizer, and topics and roles in the order of their embeddings."""

    tokenizer: AnyTokenizer
    topics: tuple[str, ...]
    roles: tuple[str, ...] = ()

    @property
    def word_tokenizer(self) -> Tokenizer:
        """The tokenizer, for a model that is not on a language model."""
        assert isinstance(self.tokenizer, Tokenizer)
        return self.tokenizer

    def to_json(self) -> str:
        """The object as JSON text."""
        names = {"topics": self.topics, "roles": self.roles}
        return json.dumps({"tokenizer": b64encode(self.tokenizer.to_bytes()).decode(), **names})

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The reverse of `to_json`."""
        content = json.loads(text)
        tokenizer = read_tokenizer(b64decode(content["tokenizer"]))
        return cls(tokenizer, tuple(content["topics"]), tuple(content["roles"]))
