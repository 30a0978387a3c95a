"""The tokenizer of a pre-trained language model: byte pairs, from `tokenizer.json` or a GGUF file's tables.

Open it if the tokenizer of a GGUF file is not known, or to change which tokens a reply must not contain.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as Both

from dialog_cvae.errors import CheckpointError
from dialog_cvae.text.token_words import writable

# How a GGUF file calls the way its tokenizer cuts text before pairs are merged, and that way.
_CUTS = {
    "gpt-2": ByteLevel(add_prefix_space=False),
    "smollm": Both([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
}
# Bytes that never occur in UTF-8, as byte-level tokenizers spell them.
_SHOWN = (*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100))  # bytes spelled as themselves
_OTHERS = (byte for byte in range(0x100) if byte not in _SHOWN)  # bytes spelled as characters from U+0100
_BYTES = {chr(byte): byte for byte in _SHOWN} | {chr(0x100 + place): byte for place, byte in enumerate(_OTHERS)}
_NO_UTF8 = frozenset(map(chr, (0xC0, 0xC1, *range(0xF5, 0x100))))


class BytePairs:
    """Text to ids and back; can write any text. Marks such as `<|im_end|>` in a text are text like any other.

    Args:
        content: of `tokenizer.json`.

    Raises:
        CheckpointError: it is not a tokenizer, or its line break is not one token, which ends a reply.

    Attributes:
        content: the same, by which it is stored: line breaks are single line feeds, and it begins with its brace.
        unk_id: no id: no text is unknown.
    """

    unk_id = -1

    def __init__(self, content: bytes) -> None:
        try:
            self._tokenizer = HuggingFaceTokenizer.from_buffer(content)
        except Exception as error:  # the library raises nothing more specific
            raise CheckpointError(f"not a tokenizer.json ({error})") from None
        if not isinstance(self._tokenizer.model, BPE):
            raise CheckpointError(f"its model must be BPE, but is {type(self._tokenizer.model).__name__}")
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()  # a file may ask for both
        self._tokenizer.no_padding()
        # Carriage returns in JSON are white space. A checkpoint's CRLF becomes LF before its hash is checked.
        self.content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip()
        ids = self.encode("\n")
        if len(ids) != 1:
            raise CheckpointError(f"a line break must be one token, but is {len(ids)}")
        self.line_break_id = ids[0]

    @classmethod
    def from_tables(cls, pieces: Sequence[str], merges: Sequence[str], cut: str) -> BytePairs:
        """From the tables of a GGUF file.

        Args:
            pieces: by id.
            merges: two pieces each, with a space between, the first merge first.
            cut: how text is cut before.

        Raises:
            CheckpointError: `cut` is not known here, or the tables do not fit.
        """
        if cut not in _CUTS:
            known = ", ".join(sorted(_CUTS))
            raise CheckpointError(
                f"tokenizer {cut!r} is not known (known: {known}); give the model's Hugging Face folder"
            )
        pairs = [tuple(merge.split(" ", 1)) for merge in merges]
        try:
            tokenizer = HuggingFaceTokenizer(BPE({piece: i for i, piece in enumerate(pieces)}, pairs))  # type: ignore[arg-type]
        except Exception as error:
            raise CheckpointError(f"the tokenizer's tables do not fit ({error})") from None
        tokenizer.pre_tokenizer = _CUTS[cut]
        tokenizer.decoder = ByteLevelDecoder()
        return cls(tokenizer.to_str().encode())

    @cached_property
    def never_generated(self) -> tuple[int, ...]:
        """Ids that a reply must not contain.

        They are special tokens, which no text is encoded as, tokens that only consist of control characters, tokens
        with a line break beside other text, and bytes that never occur in UTF-8. The line break itself ends a reply.
        """
        content = json.loads(self.content)
        model = content["model"]
        written = {*ByteLevel.alphabet(), *_merged(model["merges"])} - _NO_UTF8
        never = {token["id"] for token in content.get("added_tokens") or () if token.get("special")}
        for piece, i in model["vocab"].items():
            text = self.decode([i])
            controls = all(unicodedata.category(char) == "Cc" for char in text)
            if piece not in written or controls or "".join(text.splitlines()) != text:
                never.add(i)
        return tuple(sorted(never - {self.line_break_id}))

    @cached_property
    def _special(self) -> frozenset[int]:
        """Ids of special tokens, which are no text."""
        added = json.loads(self.content).get("added_tokens") or ()
        return frozenset(token["id"] for token in added if token.get("special"))

    def spelled(self, ids: Sequence[int]) -> list[bytes | None]:
        """What each id adds to the text, which may be a part of a character; None for special and unknown ids."""
        return [self._spelled_id(i) for i in ids]

    def spelled_instead(self, ids: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[bytes | None]]:
        """What other ids would add in the place of each id: T lists for T ids, as `spelled` gives them."""
        return [self.spelled(each) for each in others]

    def _spelled_id(self, i: int) -> bytes | None:
        piece = self._tokenizer.id_to_token(i)
        if piece is None or i in self._special:
            return None
        try:
            return bytes(_BYTES[char] for char in piece)
        except KeyError:  # an added token, which is not spelled in bytes
            return piece.encode()

    def name(self, i: int) -> str:
        """The name of an id that is no text."""
        return self._tokenizer.id_to_token(i) or f"<{i}>"

    def to_bytes(self) -> bytes:
        """The content of `tokenizer.json`."""
        return self.content

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    @property
    def largest_id(self) -> int:
        """The largest id of a token; ids may have gaps."""
        return max(self._tokenizer.get_vocab().values())

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without marks of beginning or end."""
        ids: list[int] = self._tokenizer.encode(writable(text), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8 become U+FFFD."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def _merged(merges: Sequence[str | Sequence[str]]) -> Iterator[str]:
    """What each merge makes; a file has its two parts as a list, or with a space between."""
    for merge in merges:
        yield "".join(merge.split(" ", 1) if isinstance(merge, str) else merge)
