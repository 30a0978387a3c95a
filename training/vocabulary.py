"""The vocabulary of a run: tokenizer and topics."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from dialog_cvae.text.stored_tokenizer import AnyTokenizer, read_tokenizer
from dialog_cvae.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """Turns text into ids: the tokenizer, and the topics in the order of their embedding."""

    tokenizer: AnyTokenizer
    topics: tuple[str, ...]

    @property
    def word_tokenizer(self) -> Tokenizer:
        """The tokenizer, of a model that is not a language model's."""
        assert isinstance(self.tokenizer, Tokenizer)
        return self.tokenizer

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"tokenizer": b64encode(self.tokenizer.to_bytes()).decode(), "topics": self.topics})

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The reverse of `to_json`."""
        content = json.loads(text)
        return cls(read_tokenizer(b64decode(content["tokenizer"])), tuple(content["topics"]))
