"""The guard: refuses replies with a number, an address or a name that may belong to one person.

Open it to change what is refused. Everything in the context is allowed, and so is what many training conversations have
(`dialog_cvae.data.common_words`). Without that list in the checkpoint, only links, e-mail addresses and long numbers
are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from dialog_cvae.data.common_words import CommonWords, Found, is_lower_case, numbers, personal
from dialog_cvae.limits import normal
from dialog_cvae.types import Conversation

_LETTER = r"[^\W\d_]"
_LETTERS = re.compile(f"{_LETTER}+")


class Guard:
    """Decides which replies to a context are allowed.

    Args:
        common: what many training conversations have; None: unknown.
        lower_case: whether the model writes only lower case; then every word may be a name.
    """

    def __init__(self, common: CommonWords | None, *, lower_case: bool = False) -> None:
        self.common, self._lower_case = common, lower_case

    def given_away(self, conversation: Conversation, respond_as: str) -> Callable[[str], list[Found]]:
        """A function that finds what a reply of this speaker to the conversation may give away."""
        known = _known(conversation, respond_as)
        return lambda text: [each for each in self._suspicious(text) if not known(each)]

    def allowed(self, conversation: Conversation, respond_as: str) -> Callable[[str], bool]:
        """A function that says whether a reply of this speaker to the conversation gives nothing away."""
        known = _known(conversation, respond_as)
        return lambda text: all(map(known, self._suspicious(text)))

    def _suspicious(self, text: str) -> list[Found]:
        """What may belong to one person, regardless of the context."""
        found = personal(text, lower_case=self._lower_case and is_lower_case(text))
        if self.common is None:
            return [each for each in found if each.by_rule]
        return [each for each in found if not each.among(self.common.counts)]


def _known(conversation: Conversation, respond_as: str) -> Callable[[Found], bool]:
    """A function that says whether a conversation, or the name of the speaker who responds, has something."""

    @cache  # most replies have nothing suspicious: the context is read only if one has
    def context() -> tuple[str, set[str], set[str]]:
        parts = [part for u in conversation.utterances for part in (u.speaker, u.text)]
        text = normal("\n".join((*parts, conversation.topic or "", conversation.prompt or "", respond_as)))
        folded = text.casefold()
        return folded, set(_LETTERS.findall(folded)), numbers(text)

    def known(found: Found) -> bool:
        text, runs, keys = context()
        if not found.is_name:
            return found.among(keys)
        if _LETTERS.fullmatch(found.key):
            return found.key in runs
        key = re.escape(found.key)  # first in the pattern, because a search for plain text is fast
        return re.search(rf"{key}(?<!{_LETTER}{key})(?!{_LETTER})", text) is not None

    return known
