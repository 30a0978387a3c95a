"""From Switchboard's disfluency markup to the sentence that its speaker intended: the style `fluent`.

Open it to change what the style drops.

The markup is read as a tree (see `swda_text` for its signs). Dropped are hesitations, interrupted words, editing terms,
each reparandum with everything between it and its repair, abandoned parts (`-/`), and conjunctions at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from dialog_cvae.data.readers.swda_text import (
    HESITATIONS,
    is_broken,
    is_incomplete,
    join_spelled,
    tidy_marks,
    without_breaks,
    without_comments,
)

_TOKEN = re.compile(r"\{[A-Z](?![\w'])|[{}\[\]+]|[^\s{}\[\]+]+")
_MARKS = ",.?!"
_ENDS = (".", "?", "!")

# The comma before a dropped "uh" is usually dropped with it ("who, uh, moved"), but after these words it is kept.
_COMMA_OF_ITS_OWN = frozenset({"yes", "no", "yeah", "yep", "well", "okay", "oh", "right", "sure", "uh-huh", "exactly"})
_ARTICLES = frozenset({"a", "an", "the"})
_DANGLING = frozenset({"and", "or", "but"}) | _ARTICLES
_CONJUNCTIONS = frozenset({"and", "but", "so", "or", "because", "cause", "then", "plus", "an"})
# If repeated without markup, these are slips; "very, very" and "that that" may be intended.
_SLIPS = frozenset(
    {"i", "i'm", "we", "you", "he", "she", "they", "it", "it's", "a", "an", "the", "my", "and", "but", "or", "if"}
    | {"to", "of", "in", "on", "at", "with", "is", "was"}
)
_TITLE_WORD = r"[A-Z][A-Z']*[A-Z]"
_TITLE = re.compile(rf"\b{_TITLE_WORD}\b(?: (?:{_TITLE_WORD}|A)\b)*")
_ACRONYMS = frozenset({"TV", "TI", "AIDS", "NASA", "NATO", "SEATO", "UNIX", "DOS", "NIST", "AWOL", "MASH", "ST", "LA"})
_SMALL_TITLE_WORDS = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}
)
_LEADING_HYPHEN = re.compile(r"(?<!\S)-(?=\w)")
_PRONOUN_I = re.compile(r"\bi(?=$|\s|[,.?!]|'(?:m|ve|ll|d)\b)")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.?!]\s))['\"]?[a-zé]")


class _Word(NamedTuple):
    """A word with its punctuation, and the class letter of the braces around it ("" if there are none)."""

    text: str
    role: str

    @property
    def bare(self) -> str:
        return self.text.strip(_MARKS).lower()

    @property
    def ends_sentence(self) -> bool:
        return self.text.endswith(_ENDS)


@dataclass
class _Span:
    """An open bracket: `[`, the class letter of a brace, or "" for the whole utterance."""

    opener: str
    words: list[_Word] = field(default_factory=list)
    repaired: bool = False

    def close(self, *, matched: bool) -> list[_Word]:
        """The words of the span that are kept; a brace that is never closed is ignored."""
        if self.repaired:  # in `[ a + b ]`, keep b without the "you know" or "oh" that introduces it
            start = next((i for i, word in enumerate(self.words) if word.role not in ("D", "F")), 0)
            return self.words[start:]
        if self.opener == "[" or not matched:
            return self.words
        return [_Word(word.text, word.role or self.opener) for word in self.words]


def _resolve_structure(text: str) -> list[_Word]:
    """Resolve braces to roles and brackets to repairs; an unclosed sign ends with its enclosing span."""
    stack = [_Span("")]
    for token in _TOKEN.findall(text):
        if token[0] not in "{}[]+":
            stack[-1].words.append(_Word(token, ""))
        elif token[0] in "{[":
            stack.append(_Span(token.lstrip("{")))
        else:
            in_brackets = token != "}"
            depths = [i for i, span in enumerate(stack) if i > 0 and (span.opener == "[") == in_brackets]
            if not depths:
                continue
            _close_unmatched(stack, depths[-1] + 1)
            if token == "+":
                stack[-1].words.clear()
                stack[-1].repaired = True
            else:
                words = stack.pop().close(matched=True)
                stack[-1].words.extend(words)
    _close_unmatched(stack, 1)
    return stack[0].words


def _close_unmatched(stack: list[_Span], depth: int) -> None:
    while len(stack) > depth:
        words = stack.pop().close(matched=False)
        stack[-1].words.extend(words)


def _without_disfluencies(words: list[_Word]) -> list[_Word]:
    """Drop hesitations, interrupted words, editing terms and slips; their punctuation moves to neighbouring words."""
    only_editing = all(word.role == "E" for word in words)
    kept: list[_Word] = []
    gap = False  # whether something was dropped since the last kept word
    for word in words:
        bare = word.bare
        dropped = bare in HESITATIONS or is_broken(word.text) or (word.role == "E" and not only_editing)
        if bare and not dropped:
            previous = kept.pop() if kept else None
            if previous is not None and not (bare in _SLIPS and _is_repeated(previous, word)):
                kept.append(_before_next(previous, word, gap=gap))
            kept.append(_after_previous(word, kept[-1] if kept else None))
        elif kept and not kept[-1].ends_sentence and (word.ends_sentence or not dropped):
            mark = word.text[-1]  # punctuation of the dropped word, or of a removed sound
            kept[-1] = _Word(kept[-1].text.rstrip(_MARKS) + mark, kept[-1].role)
        gap = dropped or (gap and not bare)
    return kept


def _is_repeated(word: _Word, following: _Word) -> bool:
    """Whether a word is repeated in its sentence: "the, the", but not "give you, {D you know, }"."""
    return word.bare == following.bare and word.role == following.role and not word.ends_sentence


def _before_next(word: _Word, following: _Word, *, gap: bool) -> _Word:
    """A word without a comma that belonged to the hesitation after it, or that cannot follow this word."""
    if not word.text.endswith(","):
        return word
    has_own_comma = word.role == "D" or following.role == "D" or word.bare in _COMMA_OF_ITS_OWN
    if (gap and not has_own_comma) or word.role == "C" or word.bare in _ARTICLES:
        return _Word(word.text.rstrip(","), word.role)
    return word


def _after_previous(word: _Word, previous: _Word | None) -> _Word:
    """A word in lower case, if it is a marker at the beginning of a row or restart but now in mid-sentence."""
    if not word.role or previous is None or previous.ends_sentence or re.match(r"I\b", word.text):
        return word
    return _Word(word.text[0].lower() + word.text[1:], word.role)


def _complete_part(words: list[_Word], *, incomplete: bool) -> list[_Word]:
    """Cut an abandoned utterance after its last complete sentence, and drop dangling last words."""
    if incomplete:
        while words and not words[-1].ends_sentence:
            words = words[:-1]
        if all(word.role for word in words):  # "So." before an abandoned part has no content
            return []
    while words and _is_dangling(words[-1]):
        words = words[:-1]
    return words


def _is_dangling(word: _Word) -> bool:
    if word.role == "C" and word.bare in _CONJUNCTIONS:
        return True
    return word.text.strip(_MARKS) in _DANGLING  # as written: "vitamin A" ends well


def _title_case(match: re.Match[str]) -> str:
    """`THE SILENCE OF THE LAMBS` -> `The Silence of the Lambs`; acronyms are unchanged."""
    words = [
        word
        if word in _ACRONYMS
        else word.lower()
        if i > 0 and word.lower() in _SMALL_TITLE_WORDS
        else word.capitalize()
        for i, word in enumerate(match.group().split(" "))
    ]
    return " ".join(words)


def fluent(raw: str, *, question: bool = False) -> str:
    """The utterance as its speaker would write it: with capitals and a final `.`, `?` or `!`; "" if nothing remains.

    Args:
        raw: a row of the corpus, or the joined rows of one utterance.
        question: whether its dialog act is a question; transcribers often end those with a full stop.
    """
    clean = without_comments(raw)
    markup = " ".join(without_breaks(clean).replace('"', " ").split())
    markup = join_spelled(_TITLE.sub(_title_case, markup))  # in this order: otherwise "TV" becomes a title
    words = _without_disfluencies(_resolve_structure(markup))
    words = _complete_part(words, incomplete=is_incomplete(clean))
    text = tidy_marks(" ".join(word.text for word in words))
    text = _LEADING_HYPHEN.sub("", text).rstrip(" ,-")
    if not any(character.isalnum() for character in text):
        return ""
    text = _SENTENCE_START.sub(lambda match: match.group().upper(), _PRONOUN_I.sub("I", text))
    if not text.endswith(_ENDS):
        text += "."
    return f"{text[:-1]}?" if question and "?" not in text else text
