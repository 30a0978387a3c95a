"""From WordPunct tokens back to normally written text: `i ' m fine .` becomes `i'm fine.`

Open it if a reply has a space too many or too few. WordPunct splits at every change between word and punctuation
characters and drops the spaces, so spacing is restored by rules. A punctuation token is joined to the word before it,
to the word after it, to both or to neither. For an apostrophe, a dot or a colon this also depends on the neighbouring
words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_APOSTROPHES = frozenset("'’")
_CLITICS = frozenset({"s", "t", "m", "re", "ve", "ll", "d"})  # it's, don't, i'm, we're, i've, you'll, he'd
_CLIPPED = frozenset({"cause", "em", "til", "till", "bout", "round", "cuz", "tis", "twas"})  # get 'em, 'cause
_OPENING = frozenset("([{$£€#@¿¡“‘«（「『【《")
_CLOSING = frozenset(".,;:!?)]}%…”»。，、！？：；）」』】》؟،؛।॥")
_EMOTICON = re.compile(r"[:;]['-]?[()|\]\[]+[.,!?]*")  # :) ;-(
_HALVES_OF_A_DAY = frozenset({"am", "pm"})
_JOINING = frozenset("-/_")
# After a number with a decimal comma; elsewhere the comma may be one between two numbers.
_UNITS = frozenset(("%", "€", "£", "$", "eur", "euro", "chf", "zł", "kr", "km", "m", "cm", "kg", "g", "l", "ml", "h"))
# Tokens before the last token of a text that, with open quotes, decide whether the last one has a space before it.
REACH = 2


class _Glue(NamedTuple):
    """Whether a token touches its left and its right neighbour."""

    left: bool
    right: bool


def detokenize(tokens: Sequence[str]) -> str:
    """Join tokens, with spaces as in normal writing.

    Args:
        tokens: WordPunct tokens; a special name such as `<unk>` counts as a word.

    Returns:
        One line of text without leading or trailing space.
    """
    return "".join(spaced(tokens))


def spaced(tokens: Sequence[str], *, quoted: bool = False) -> list[str]:
    """The tokens, each with the space before it, if there is one: joined they are the text.

    Args:
        tokens: as `detokenize` takes them.
        quoted: whether a double quote is open before them.
    """
    parts: list[str] = []
    open_quote = quoted
    touching = True
    for i, token in enumerate(tokens):
        if _is_word(token):
            glue = _Glue(left=False, right=False)
        elif '"' in token:
            glue = _quote(token, opens=not open_quote)
            open_quote ^= changes_quote(token)
        else:
            glue = _punctuation(tokens, i)
        parts.append(token if touching or glue.left else f" {token}")
        touching = glue.right
    return parts


def changes_quote(token: str) -> bool:
    """Whether a token opens or closes double quotes."""
    return not _is_word(token) and token.count('"') % 2 == 1


def _is_word(token: str) -> bool:
    return any(c.isalnum() for c in token)


def _quote(token: str, *, opens: bool) -> _Glue:
    """A run with double quotes: `"` and `("` lean on what follows, `."` and `",` on what precedes."""
    return _Glue(left=token[0] in _CLOSING or not opens, right=opens and token[-1] not in _CLOSING)


def _punctuation(tokens: Sequence[str], i: int) -> _Glue:
    """How the run of punctuation at i leans on its neighbours."""
    token = tokens[i]
    before = tokens[i - 1] if i and _is_word(tokens[i - 1]) else ""
    after = tokens[i + 1] if i + 1 < len(tokens) and _is_word(tokens[i + 1]) else ""
    if token in _APOSTROPHES:
        return _apostrophe(before, after)
    if token in _JOINING:
        return _Glue(left=bool(before), right=bool(after))
    if token in {".", ",", ":"} and _inside_number(token, before, after):
        return _Glue(left=True, right=True)
    if token == "," and before.isdecimal() and after.isdecimal() and _is_unit(tokens[i + 2 : i + 3]):
        return _Glue(left=True, right=True)
    if token == "." and _inside_initialism(tokens, i):
        return _Glue(left=True, right=True)
    if _is_emoticon(tokens, i):
        return _Glue(left=False, right=False)
    cut_off = len(token) > 1 and token[0] == "-" != token[1]  # wor-, as transcripts have it
    return _Glue(left=cut_off or token[0] in _CLOSING, right=token[-1] in _OPENING)


def _is_emoticon(tokens: Sequence[str], i: int) -> bool:
    """Whether the marks at i are a face such as `:)`, and not a colon before a bracket that is closed later."""
    token = tokens[i]
    opens = "(" in token and any(")" in later for later in tokens[i + 1 :])
    return _EMOTICON.fullmatch(token) is not None and not opens


def _apostrophe(before: str, after: str) -> _Glue:
    """Inside a word by default (o'clock, ma'am); before a clipped word or year; after a possessive or a dropped g."""
    if not (before and after):
        return _Glue(left=bool(before), right=bool(after))
    if after in _CLITICS:
        return _Glue(left=True, right=True)
    if after in _CLIPPED or after[0].isdigit():
        return _Glue(left=False, right=True)
    if len(before) > 1 and before.endswith(("s", "in")):
        return _Glue(left=True, right=False)
    return _Glue(left=True, right=True)


def _inside_number(mark: str, before: str, after: str) -> bool:
    """Whether the mark is part of a number such as 3.5, 1,000, 7:30 or 7:30pm."""
    if mark == ":" and before.isdecimal() and after[:2].isdecimal() and after[2:] in _HALVES_OF_A_DAY:
        return True
    if not (before.isdecimal() and after.isdecimal()):
        return False
    return mark == "." or (mark == "," and len(before) <= 3 == len(after)) or (mark == ":" and len(after) == 2)


def _is_unit(tokens: Sequence[str]) -> bool:
    return any(token.rstrip(".,;:!?").lower() in _UNITS for token in tokens)


def _inside_initialism(tokens: Sequence[str], i: int) -> bool:
    """Whether the dot at i is an inner one of `u . s .`: single letters around it and another dot behind."""
    around = [*tokens[max(i - 1, 0) : i], *tokens[i + 1 : i + 2]]
    single = len(around) == 2 and all(len(t) == 1 and t.isalpha() for t in around)
    return single and i + 2 < len(tokens) and tokens[i + 2].startswith(".")
