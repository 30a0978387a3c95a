"""A tokenizer from a checkpoint or a run: the content says which kind it is.

Open this to add a kind of tokenizer that is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from dialog_cvae.errors import CheckpointError
from dialog_cvae.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from dialog_cvae.text.byte_pairs import BytePairs

AnyTokenizer: TypeAlias = "Tokenizer | BytePairs"


def read_tokenizer(content: bytes) -> AnyTokenizer:
    """A SentencePiece model, or the `tokenizer.json` of a pre-trained language model.

    Raises:
        CheckpointError: it is neither, or the package that reads it is not installed.
    """
    if not content.startswith(b"{"):
        return Tokenizer.from_bytes(content)
    try:
        from dialog_cvae.text.byte_pairs import BytePairs  # its library is needed for language models alone
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"the tokenizer of a language model needs {error.name}: pip install 'dialog-cvae[lm]'"
        ) from None
    return BytePairs(content)
