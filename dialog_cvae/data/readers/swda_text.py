r"""From Switchboard's disfluency markup to text, in the styles `zhao` and `verbatim`; `swda_fluent` has the third.

Open it to change what these styles keep.

The markup (Meteer et al. 1995, and the comments of SWBD-DAMSL's annotators):

    {F uh, }          filler F, discourse marker D, conjunction C, editing term E, aside A
    [ a, + {F uh, } b ]   reparandum a, repair b; nests, and may span the rows of one utterance
    <laughter> <<faint>> {pause} [Children]   sounds, not words
    # words #         spoken over the other speaker
    (( words ))       the transcriber's guess, possibly empty
    /   -/   --       end of an utterance, end of an incomplete one, and a break in mid-utterance
    *[[ comment ]]  <+ comment +>   comments of annotators
    th-               an interrupted word
    T V   fianc3e     a spelled abbreviation; an accented e
"""

from __future__ import annotations

import re

HESITATIONS = frozenset({"uh", "um", "er", "eh", "uhm", "uh-", "um-", "u-"})
"""Sounds without meaning. Other words that the corpus marks as fillers (oh, huh, wow) can be answers and are kept."""

# The order matters: comments and sounds may contain any other markup.
_COMMENT = re.compile(r"\*\[\[.*?(?:\]\]|$)|<\+.*?(?:\+>|$)")
_SOUND = re.compile(
    r"<+[^<>]*>+"
    r"|\[\w+\]"  # brackets of repairs have spaces inside
    r"|\{(?![A-Z][\s{\[(#,])[^{}\[\]]*\}"  # {pause}, {Very faint}: no one-letter class
)
_STRAY = re.compile(r"[<>#*^=@~|\\()_]")
_ACCENT = re.compile(r"(?<=[a-z])3e")
_END = re.compile(r"/[\s.,]*$")
_INCOMPLETE_END = re.compile(r"(?<!-)-\s*/[\s.,]*$")
_BREAK = re.compile(r"-{2,}|(?<!\w)-(?!\w)")
_STRUCTURE = re.compile(r"\{[A-Z](?![\w'])|[{}\[\]+]")

_SPELLED = re.compile(r"(?<!\{)\b(?:[A-Z] )+[A-Z](?=(?:'?s)?\b)")
_PLURAL_OF_SPELLED = re.compile(r"(?<=\b[A-Z]) -(?='?s\b)")
# In these a final " I" is a letter; after others ("T V I watch") it is the pronoun.
_ENDING_IN_I = frozenset({"TI", "GI", "DI", "SI", "FBI", "MCI", "MRI", "RBI", "BWI", "BVI", "VPI", "GSI", "HOI"})

_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*(?:(?<=s)'|-)?")
_NUMBER_COMPOUND = re.compile(
    r"\b(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-(?=(?:one|two|three|four|five|six|seven|eight|nine)\b)"
)

_SPACE_BEFORE_MARK = re.compile(r" (?=[,.?!])")
_REPEATED_MARKS = re.compile(r"[,.?!]{2,}")
_LEADING_MARKS = re.compile(r"^[\s,.?!]+")


def without_comments(raw: str) -> str:
    """The row without comments, sounds, overlap and uncertainty marks; structure and slashes are kept."""
    text = _COMMENT.sub(" ", raw.replace("\u2019", "'"))
    text = _STRAY.sub(" ", _SOUND.sub(" ", text))
    return _ACCENT.sub("é", text) if "3" in text else text


def is_finished(raw: str) -> bool:
    """Whether a row ends its utterance, complete or not (`/`, `-/`); if not, a `+` row continues it."""
    return _END.search(without_comments(raw)) is not None


def is_incomplete(text: str) -> bool:
    """Whether a text without comments ends an abandoned utterance (`-/`)."""
    return _INCOMPLETE_END.search(text) is not None


def without_breaks(text: str) -> str:
    """Text without slashes and breaks; interrupted words (`th-`) and hyphens inside words are kept."""
    return _BREAK.sub(" ", text.replace("/", " "))


def join_spelled(text: str) -> str:
    """Write spelled abbreviations as one word: `T V` -> `TV`, `C D's` -> `CD's`, `P C -s` -> `PCs`."""

    def join(match: re.Match[str]) -> str:
        letters = match.group().replace(" ", "")
        pronouns = ""
        while letters.endswith("I") and letters not in _ENDING_IN_I:
            letters, pronouns = letters[:-1], f"{pronouns} I"
        return f"{letters}{pronouns}".lstrip()

    return _SPELLED.sub(join, _PLURAL_OF_SPELLED.sub("", text))


def is_broken(word: str) -> bool:
    """Whether a word was interrupted (`th-`, `wor-,`)."""
    return word.rstrip(",.?!").endswith("-")


def tidy_marks(text: str) -> str:
    """Single spaces, no space before a mark, only the strongest of several marks, and none at the beginning."""
    text = _SPACE_BEFORE_MARK.sub("", " ".join(text.split()))
    text = _REPEATED_MARKS.sub(lambda match: max(match.group(), key=",.!?".index), text)
    return _LEADING_MARKS.sub("", text).strip()


def verbatim(raw: str) -> str:
    """Every word as spoken, with fillers, repetitions, interrupted words and the transcript's punctuation."""
    words = _STRUCTURE.sub(" ", without_breaks(without_comments(raw)))
    return join_spelled(tidy_marks(words))


def zhao(raw: str) -> str:
    """Lower-case words without punctuation, hesitations and interrupted words, like Zhao et al.'s (2017) Switchboard.

    Repetitions, reparanda and discourse markers are kept, and so are apostrophes and hyphens inside words, except in
    numbers ("twenty two"). Their text comes from another transcription of the same speech, so some words differ.
    """
    text = verbatim(raw).lower()
    if "ty-" in text:
        text = _NUMBER_COMPOUND.sub(r"\1 ", text)
    return " ".join(word for word in _WORD.findall(text) if not (word in HESITATIONS or word.endswith("-")))
