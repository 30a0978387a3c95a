r"""Switchboard's disfluency markup to text, in the styles `zhao` and `verbatim`; `swda_fluent` has the third.

The markup (Meteer et al. 1995, and the comments of SWBD-DAMSL's annotators):

    {F uh, }          filler F, discourse marker D, conjunction C, editing term E, aside A
    [ a, + {F uh, } b ]   reparandum a, repair b; nests, and may span the rows of one utterance
    <laughter> <<faint>> {pause} [Children]   sounds, not words
    # words #         spoken over the other speaker
    (( words ))       the transcriber's guess, perhaps empty
    /   -/   --       end of an utterance, end of an incomplete one, and a break in mid-utterance
    *[[ comment ]]  <+ comment +>   the annotators'
    th-               a word broken off
    T V   fianc3e     a spelled abbreviation; an accented e
"""

from __future__ import annotations

import re

HESITATIONS = frozenset({"uh", "um", "er", "eh", "uhm", "uh-", "um-", "u-"})
"""Sounds without meaning. Other words that the corpus marks as fillers (oh, huh, wow) answer something and stay."""

# Order matters: a comment may quote any other markup, and so may a sound.
_COMMENT = re.compile(r"\*\[\[.*?(?:\]\]|$)|<\+.*?(?:\+>|$)")
_SOUND = re.compile(
    r"<+[^<>]*>+"
    r"|\[\w+\]"  # real brackets have spaces inside
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
    """The row without annotators' comments, sounds, overlap and uncertainty marks; structure and slashes stay."""
    text = _COMMENT.sub(" ", raw.replace("\u2019", "'"))
    text = _STRAY.sub(" ", _SOUND.sub(" ", text))
    return _ACCENT.sub("é", text) if "3" in text else text


def is_finished(raw: str) -> bool:
    """Whether a row ends its utterance, complete or not (`/`, `-/`); if not, a `+` row goes on with it."""
    return _END.search(without_comments(raw)) is not None


def is_incomplete(text: str) -> bool:
    """Whether a text without comments ends an utterance that its speaker gave up (`-/`)."""
    return _INCOMPLETE_END.search(text) is not None


def without_breaks(text: str) -> str:
    """Text without slashes and breaks; broken words (`th-`) and hyphens inside words stay."""
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
    """Whether a word was broken off (`th-`, `wor-,`)."""
    return word.rstrip(",.?!").endswith("-")


def tidy_marks(text: str) -> str:
    """Single spaces, punctuation at the word before it, one mark at a time (the strongest), none in front."""
    text = _SPACE_BEFORE_MARK.sub("", " ".join(text.split()))
    text = _REPEATED_MARKS.sub(lambda match: max(match.group(), key=",.!?".index), text)
    return _LEADING_MARKS.sub("", text).strip()


def verbatim(raw: str) -> str:
    """Every word as it was said, fillers, repetitions and broken words included, with the transcript's punctuation."""
    words = _STRUCTURE.sub(" ", without_breaks(without_comments(raw)))
    return join_spelled(tidy_marks(words))


def zhao(raw: str) -> str:
    """Lower-case words without punctuation, hesitations and broken words, as Zhao et al. (2017) prepared Switchboard.

    Repetitions, reparanda and discourse markers stay, apostrophes and hyphens inside words too, except in numbers
    ("twenty two"). Their text comes from another transcription of the same speech, so that some words differ.
    """
    text = verbatim(raw).lower()
    if "ty-" in text:
        text = _NUMBER_COMPOUND.sub(r"\1 ", text)
    return " ".join(word for word in _WORD.findall(text) if not (word in HESITATIONS or word.endswith("-")))
