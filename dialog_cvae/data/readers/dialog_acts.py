"""From SWBD-DAMSL tags to the 42 classes that the literature on Switchboard uses.

Open it to change the class of a tag. The corpus has about 220 distinct tags: a base tag, `^` and a modifier (`sd^e`),
punctuation of the annotators (`aa@`, `sd(^q)`), and sometimes two tags for one utterance (`sv;sd`). Jurafsky, Shriberg
and Biasca (1997), the coders' manual of SWBD-DAMSL, cluster them into 42 classes. Class names are the manual's, spelled
as in Zhao et al. (2017).
"""

from __future__ import annotations

import re
from functools import cache
from types import MappingProxyType

# Base tag or clustered tag -> class name, the most frequent class first.
CLASS_NAMES = MappingProxyType(
    {
        "sd": "statement-non-opinion",
        "b": "acknowledge_(backchannel)",
        "sv": "statement-opinion",
        "%": "abandoned_or_turn-exit/uninterpretable",
        "aa": "agree/accept",
        "ba": "appreciation",
        "qy": "yes-no-question",
        "x": "non-verbal",
        "ny": "yes_answers",
        "fc": "conventional-closing",
        "qw": "wh-question",
        "nn": "no_answers",
        "bk": "response_acknowledgement",
        "h": "hedge",
        "qy^d": "declarative_yes-no-question",
        "bh": "backchannel_in_question_form",
        "^q": "quotation",
        "bf": "summarize/reformulate",
        "o": "other",
        "na": "affirmative_non-yes_answers",
        "ad": "action-directive",
        "^2": "collaborative_completion",
        "b^m": "repeat-phrase",
        "qo": "open-question",
        "qh": "rhetorical-questions",
        "^h": "hold_before_answer/agreement",
        "ar": "reject",
        "ng": "negative_non-no_answers",
        "br": "signal-non-understanding",
        "no": "other_answers",
        "fp": "conventional-opening",
        "qrr": "or-clause",
        "nd": "dispreferred_answers",
        "t3": "3rd-party-talk",
        "oo": "offers,_options_commits",
        "aap": "maybe/accept-part",
        "t1": "self-talk",
        "bd": "downplayer",
        "^g": "tag-question",
        "qw^d": "declarative_wh-question",
        "fa": "apology",
        "ft": "thanking",
    }
)

# A modifier is dropped, unless the manual has a separate class for tag and modifier. Only the bare combination has
# that class (`qy^d`, not `qy^d^t`), as in the manual's table.
_KEPT_COMBINATIONS = MappingProxyType({"qy^d": "qy^d", "qw^d": "qw^d", "b^m": "b^m", "nn^e": "ng", "ny^e": "na"})
_CLUSTERS = MappingProxyType(
    {
        "qr": "qy",
        "fe": "ba",
        "fx": "sv",
        "co": "oo",
        "cc": "oo",
        "am": "aap",
        "arp": "nd",
        **dict.fromkeys(("fo", "fw", '"', "by", "bc"), "o"),
        # Names of the clusters in other tools.
        "oo_co_cc": "oo",
        "aap_am": "aap",
        "arp_nd": "nd",
        'fo_o_fw_"_by_bc': "o",
    }
)
_MODIFIER = re.compile(r"(?<=.)\^.*")
_ANNOTATOR_MARKS = re.compile(r"[()@*]")
_TWO_TAGS = re.compile(r"\s*[,;]\s*")

QUESTIONS = frozenset(CLASS_NAMES[tag] for tag in ("qy", "qw", "qo", "qrr", "^g"))
"""Classes whose utterances have the form of a question, and end with a question mark in writing."""


@cache
def class_name(tag: str) -> str | None:
    """The class of a DAMSL tag; None for a continuation (`+`), an empty or an unknown tag.

    Of two tags (`sv;sd`) the first is used.
    """
    first = _TWO_TAGS.split(tag.strip())[0]
    if first in _KEPT_COMBINATIONS:
        return CLASS_NAMES[_KEPT_COMBINATIONS[first]]
    if first in _CLUSTERS:
        return CLASS_NAMES[_CLUSTERS[first]]
    base = _ANNOTATOR_MARKS.sub("", _MODIFIER.sub("", first))
    return CLASS_NAMES.get(_CLUSTERS.get(base, base))


def is_continuation(tag: str) -> bool:
    """Whether the row continues an unfinished utterance of its speaker (`+`, also `+@`, `+*`)."""
    return _ANNOTATOR_MARKS.sub("", tag).strip() == "+"


def is_nonverbal(tag: str) -> bool:
    """Whether the row has no words, for example laughter (`x`, also `x@`, `x*`)."""
    return class_name(tag) == CLASS_NAMES["x"]
