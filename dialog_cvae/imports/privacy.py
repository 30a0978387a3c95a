"""Removes personal data from whole conversations: `--redact`, `--names` and `--anonymous`.

Open this to change which parts of a conversation are replaced; `personal_data` finds personal data in text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import regex

from dialog_cvae.imports.assemble import short_text, short_topic
from dialog_cvae.imports.message import Log, Message
from dialog_cvae.imports.people import DistinctNames
from dialog_cvae.imports.personal_data import SPACED, Redaction, name_pattern
from dialog_cvae.limits import MAX_SPEAKER_CHARS
from dialog_cvae.text.placeholders import NAME

MENTION: Final = f"@{NAME}"
_TO_ALL: Final = "all|channel|everyone|here"
_AT: Final = r"(?<![\p{Latin}0-9_.+%-])@"  # not the sign in an e-mail address, which follows a Latin letter
# A mention of anyone: text between WhatsApp's marks, a telephone number, or a word.
_ANY: Final = (
    r"@\u2068[^\u2068\u2069\n]*\u2069?"
    rf"|{_AT}(?:\d{{7,}}(?![{SPACED}])|(?!(?:{_TO_ALL})(?![{SPACED}]))[\p{{L}}_]\w*(?:[.-]\w+)*)"
)


@dataclass(frozen=True)
class Privacy:
    """What is replaced.

    Attributes:
        redaction: replaces personal data in texts, topics and speakers' names; None keeps them.
        anonymous: whether speakers become A, B, ..., and mentions of anyone, such as @Ann, become `@<NAME>`.
    """

    redaction: Redaction | None = None
    anonymous: bool = False

    @property
    def keeps_names(self) -> bool:
        """Whether names of conversations may be kept; they can be names of people."""
        return self.redaction is None and not self.anonymous

    def applied(self, messages: list[Message], log: Log) -> list[Message]:
        """The messages of a conversation without personal data.

        Args:
            messages: of the conversation.
            log: counts texts and topics that placeholders made too long, which are shortened.
        """
        if self.keeps_names:
            return messages
        redact: Callable[[str], str] = self.redaction or (lambda text: text)
        names = list(dict.fromkeys(message.speaker for message in messages))
        new_names = self._names(names, redact)
        without_mentions = mention_remover(names) if self.anonymous else (lambda text: text)
        found = []
        for message in messages:
            text = short_text(redact(without_mentions(message.text)), log)
            found.append(message._replace(speaker=new_names[message.speaker], text=text))
        first, topic = messages[0], messages[0].topic
        if topic is not None:
            topic = short_topic(redact(_without(names, topic) if self.anonymous else topic), log)
        found[0] = found[0]._replace(topic=topic, kept=_kept(first.kept, new_names, redact))
        return found

    def _names(self, names: Iterable[str], redact: Callable[[str], str]) -> dict[str, str]:
        """A name for each speaker; different speakers keep different names."""
        distinct = DistinctNames()
        return {
            name: distinct.free(_letters(number) if self.anonymous else redact(name), MAX_SPEAKER_CHARS)
            for number, name in enumerate(names)
        }


def mention_remover(names: Iterable[str]) -> Callable[[str], str]:
    """A function that puts a placeholder for each mention into a text.

    Args:
        names: names that may have several words, in any case; every other name is a single word.
    """
    known = rf"@\L<names>(?!\w|[.-]\w)|{_AT}\L<names>(?!\w)"
    pattern = regex.compile(f"{known}|{_ANY}", regex.IGNORECASE | regex.V1, names=list(names))

    def removed(text: str) -> str:
        return pattern.sub(MENTION, text) if "@" in text else text

    return removed


def _without(names: Sequence[str], text: str) -> str:
    """The text with a placeholder for each of the names."""
    replaced: str = name_pattern(names).sub(NAME, text)
    return replaced


def _kept(
    kept: Mapping[str, Any] | None, names: Mapping[str, str], redact: Callable[[str], str]
) -> Mapping[str, Any] | None:
    """The other fields of a conversation; profiles of people who say nothing are left out."""
    if not kept:
        return kept
    changed = dict(kept)
    if isinstance(prompt := changed.get("prompt"), str):
        changed["prompt"] = redact(prompt)
    if isinstance(profiles := changed.get("speakers"), Mapping):
        changed["speakers"] = {names[name]: profile for name, profile in profiles.items() if name in names}
    return changed


def _letters(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    found = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        found = chr(ord("A") + rest) + found
    return found
