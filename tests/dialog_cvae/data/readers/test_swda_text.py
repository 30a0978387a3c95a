import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.readers.swda_fluent import fluent
from dialog_cvae.data.readers.swda_text import is_finished, verbatim, zhao

# Lines of the corpus: markup, then the three styles. The first two are what the markup's definition says in one line.
HARD = [
    ("{F Uh, } [ I, + I ] think so. /", "i i think so", "I think so.", "Uh, I, I think so."),
    (
        "[ [ I guess, + I think, ] + {F uh, } I wonder ] if that worked. /",
        "i guess i think i wonder if that worked",
        "I wonder if that worked.",
        "I guess, I think, uh, I wonder if that worked.",
    ),
    (
        "[ [ I, + {F uh, } my sister has a, ] + she just had a ] baby,  /",
        "i my sister has a she just had a baby",
        "She just had a baby.",
        "I, uh, my sister has a, she just had a baby,",
    ),
    (
        "{C and } see if it, {F uh, } -/",
        "and see if it",
        "",
        "and see if it, uh,",
    ),
    (
        "# [ Put-, +  putting ] # on a act or whatever. /   *[[slash error should be ^2]]",
        "putting on a act or whatever",
        "Putting on a act or whatever.",
        "Put-, putting on a act or whatever.",
    ),
    (
        "-- {C and } she's able to <laughter> go.  /",
        "and she's able to go",
        "And she's able to go.",
        "and she's able to go.",
    ),
    ("Okay <beep>.  /", "okay", "Okay.", "Okay."),
    ("<<long pause>> {D Well, }", "well", "Well.", "Well,"),
    (
        "((In fact)), they'll  have these  ((   ))  parties,  /",
        "in fact they'll have these parties",
        "In fact, they'll have these parties.",
        "In fact, they'll have these parties,",
    ),
    ("{D [ yo-, + you  ] know. } /", "you know", "You know.", "yo-, you know."),
    (
        "the {A what is it, } twenty-two T V's at T I I think {C and } --",
        "the what is it twenty two tv's at ti i think and",
        "The what is it, twenty-two TV's at TI I think.",
        "the what is it, twenty-two TV's at TI I think and",
    ),
    ("[ I + I ] saw the F B I {F uh, } A I", "i i saw the fbi a i", "I saw the FBI A I.", "I I saw the FBI uh, A I"),
    ("{C and } the T V I watch", "and the tv i watch", "And the TV I watch.", "and the TV I watch"),
    ("a unit {very faint} of [Children] P C -s </noise>, /", "a unit of pcs", "A unit of PCs.", "a unit of PCs,"),
    ("is that, - /", "is that", "", "is that,"),
    ("Do you like it? {C And } if, -/", "do you like it and if", "Do you like it?", "Do you like it? And if,"),
    ("I said, what! /", "i said what", "I said, what!", "I said, what!"),
    ("my fianc3e's dogs' house /", "my fiancé's dogs' house", "My fiancé's dogs' house.", "my fiancé's dogs' house"),
    ("{F Oh, } {F uh, } really? /", "oh really", "Oh, really?", "Oh, uh, really?"),
    ("Uh-huh. /", "uh-huh", "Uh-huh.", "Uh-huh."),
    ("<Throat_clearing> {F Um. } / *[[listen]]", "", "", "Um."),
    ("[ a + b", "a b", "B.", "a b"),
    ("b ] c } d /", "b c d", "B c d.", "b c d"),
    ("{F uh, I went /", "i went", "I went.", "uh, I went"),
    ("", "", "", ""),
]


@pytest.mark.parametrize(("raw", "as_zhao", "as_fluent", "as_verbatim"), HARD)
def test_hard_lines(raw: str, as_zhao: str, as_fluent: str, as_verbatim: str):
    assert (zhao(raw), fluent(raw), verbatim(raw)) == (as_zhao, as_fluent, as_verbatim)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("He had a boss who, {F uh, } moved. /", "He had a boss who moved."),
        ("Yes, {F uh, } I do. /", "Yes, I do."),
        (
            "[ They are, + {D you know, } they're ] died down. {E I am sorry, } they are dead. /",
            "They're died down. They are dead.",
        ),
        ("{E I'm sorry. } /", "I'm sorry."),
        ("They left. [ He, + she ] stayed -- /", "They left. She stayed."),
        ("{C And, }  {F uh, } {C but } he left <clanking>, I guess.  /", "And but he left, I guess."),
        ("I think the, the Lakers, {F uh, } lost. /", "I think the Lakers lost."),
        ("You give you, {D you know, } very, very good ones. /", "You give you, you know, very, very good ones."),
        ("I like it. It rains. /", "I like it. It rains."),
        ("it's DANCES WITH WOLVES on AIDS and L A LAW /", "It's Dances with Wolves on AIDS and LA Law."),
        ("It isn't wh-, real, {F uh. } /", "It isn't real."),
        ("It isn't, {C so. } /", "It isn't."),
        ("{D So. } That's where I'm, -/", ""),
        ("Because of vitamin A. /", "Because of vitamin A."),
        ('she said, "You can\'t." /', "She said, You can't."),
        ("# # {F uh, } (( )) <laughter>. /", ""),
    ],
)
def test_fluent_leaves_out_what_a_writer_would(raw: str, expected: str):
    assert fluent(raw) == expected


def test_fluent_marks_questions():
    assert fluent("Who won the game. /", question=True) == "Who won the game?"
    assert fluent("Did he? I don't know. /", question=True) == "Did he? I don't know."


@pytest.mark.parametrize(
    ("raw", "finished"),
    [
        ("Okay. /", True),
        ("it, {F uh, } -/", True),
        ("a larger office -- /", True),
        ("Yeah,  /*[[listen; mistranscription?]]", True),
        ("Right. # / <laughter>.", True),
        ("[ I guess + --", False),
        ("{D So, }", False),
        ("see *[[ the slash / is wrong ]]", False),
    ],
)
def test_unfinished_rows_have_no_slash(raw: str, finished: bool):
    assert is_finished(raw) == finished


WORDS = st.sampled_from(["I", "you", "the", "dog", "went", "home", "don't", "uh-huh", "T", "V"])
WRAPPERS = [
    "{F uh, }",
    "<laughter>",
    "# # ",
    "(( {} ))",
    "{{D {} }}",
    "{{C {} }}",
    "[ {} + {} ]",
    "[ [ {} + {} ] + {} ]",
]
UTTERANCES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(WRAPPERS), inner).map(lambda pair: pair[0].replace("{}", pair[1])),
        st.lists(inner, min_size=1, max_size=4).map(" ".join),
    ),
    max_leaves=8,
)
SIGNS = st.text(alphabet="ab I'{}[]+#<>()*/-_.,?!\"3eTV\n", max_size=60)


@settings(derandomize=True, deadline=None)
@given(SIGNS | UTTERANCES)
def test_no_markup_survives_in_any_style(raw: str):
    for text in (zhao(raw), fluent(raw), verbatim(raw)):
        assert not re.search(r"[{}\[\]+#<>()*/_\n]|--|  ", text)
        assert text == text.strip()
        assert not re.search(r"(?<!\S)[-,.?!]+(?!\S)|\s[,.?!]", text)
    assert not re.search(r"[A-Z,.?!\"]", zhao(raw))
    assert re.fullmatch(r"|.*\w.*[.?!]", fluent(raw))


@settings(derandomize=True, deadline=None)
@given(SIGNS | UTTERANCES)
def test_styles_agree_on_their_words(raw: str):
    letters = ["".join(re.findall(r"\w", style(raw).lower())) for style in (zhao, fluent, verbatim)]
    for shorter in letters[:2]:
        remaining = iter(letters[2])
        assert all(letter in remaining for letter in shorter), "words are left out, never added or moved"


@settings(derandomize=True, deadline=None)
@given(SIGNS | UTTERANCES)
def test_clean_text_stays_as_it_is(raw: str):
    for style in (zhao, verbatim):
        assert style(style(raw)) == style(raw)
