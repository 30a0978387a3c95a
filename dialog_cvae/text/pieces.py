"""Names and signs of a vocabulary's pieces: the special tokens, and the characters that SentencePiece keeps for itself.

Open it to change how ordinary text that contains them is stored.
"""

from __future__ import annotations

import regex

PAD, UNK, BOS, EOS, DIALOG_START = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<d>")
SPACE = "▁"  # SentencePiece's sign for a space
# Characters that SentencePiece reserves are replaced by noncharacters, which text never contains.
_RESERVED = {"\0": "\ufdd0", "\x1f": "\ufdd1", SPACE: "\ufdd2", "▅": "\ufdd3"}
_ESCAPE = str.maketrans(_RESERVED)
BREAK = "\ufdd4"  # a noncharacter too: put into text that looks like a name of SentencePiece's own pieces
STAND_INS = (*_RESERVED.values(), BREAK)
_UNESCAPE = str.maketrans({stand_in: sign for sign, stand_in in _RESERVED.items()} | {BREAK: None})
# Names of SentencePiece's own pieces: it leaves out words of the training text that contain them.
_OWN_NAMES = regex.compile("|".join((*SPECIALS, "<0x[0-9A-F]{2}>")))


def escaped(text: str) -> str:
    """The text without characters that SentencePiece reserves."""
    return text.translate(_ESCAPE)


def unescaped(piece: str) -> str:
    """The text that `escaped` was given."""
    return piece.translate(_UNESCAPE)


def without_own_names(word: str, separator: str) -> str:
    """The word with a separator in every name that SentencePiece would not take as ordinary text."""
    return _OWN_NAMES.sub(lambda name: name[0][0] + separator + name[0][1:], word)
