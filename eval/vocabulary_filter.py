"""Texts as the official code compares them: limited to the words of the model's vocabulary and to its length.

Open it to change what `--references-as ids` means. In the official code a reference becomes ids, and the ids become
words again before BLEU and the embedding scores. So a word outside the vocabulary becomes `<unk>`, which matches
another `<unk>`, and a long reference is cut. Published scores use such references.

Source: `data_apis/corpus.py`, `data_apis/data_utils.py` (`pad_to`) and `test_mul_ref` of
github.com/snakeztc/NeuralDialog-CVAE; github.com/haofuml/cyclical_annealing has the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from dialog_cvae.data.encoding import truncate
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.tokenizer import Tokenizer

TEXTS, IDS = "texts", "ids"
WAYS = (TEXTS, IDS)
"""How references can be read."""


@dataclass(frozen=True)
class VocabularyFilter:
    """Replaces words outside a vocabulary by `<unk>`, and cuts long texts.

    Attributes:
        model: the tokenizer's model, as its `to_bytes` returns it.
        limit: maximum number of tokens, `<s>` and `</s>` included.
    """

    model: bytes
    limit: int

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """The filter of a checkpoint's own vocabulary.

        Raises:
            ConfigError: its tokens are not words.
        """
        tokenizer = checkpoint.tokenizer
        if not isinstance(tokenizer, Tokenizer) or tokenizer.mode == "unigram":
            raise ConfigError(
                f"--references-as {IDS}: needs a checkpoint whose vocabulary is of words; the tokens of this one are "
                "pieces of words, to which no word is unknown"
            )
        return cls(tokenizer.to_bytes(), checkpoint.config.model.max_utterance_tokens)

    def __call__(self, text: str) -> str:
        """The text's words, with `<unk>` for each word that is not in the vocabulary; a long text is cut."""
        return _filtered(self.model, self.limit, text)


@lru_cache(maxsize=1)
def _tokenizer(model: bytes) -> Tokenizer:
    return Tokenizer.from_bytes(model)


@lru_cache(maxsize=200_000)
def _filtered(model: bytes, limit: int, text: str) -> str:
    tokenizer = _tokenizer(model)
    ids = truncate([tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id], limit)
    return " ".join(tokenizer.tokens(ids))
