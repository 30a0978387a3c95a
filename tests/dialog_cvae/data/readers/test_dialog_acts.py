import json
from pathlib import Path

import pytest

from dialog_cvae.data.readers.dialog_acts import CLASS_NAMES, QUESTIONS, class_name, is_continuation, is_nonverbal


def test_there_are_42_classes():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES.values())) == 42
    assert set(CLASS_NAMES.values()) > QUESTIONS


# The clusters of the coders' manual, with tags as they stand in the corpus.
@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ("sd sd^e sd^t sd(^q) sd^e(^q)^r sd* sd,o@ sd;sv", "statement-non-opinion"),
        ("sv sv(^q) fx sv^e^r sv;sd", "statement-opinion"),
        ("b b^r b@ b^m^r b^2", "acknowledge_(backchannel)"),
        ("b^m", "repeat-phrase"),
        ("% %@ %@*", "abandoned_or_turn-exit/uninterpretable"),
        ("aa aa^r aa,ar aa^m", "agree/accept"),
        ("aap am aap^r", "maybe/accept-part"),
        ("ba fe ba^r ba,fe", "appreciation"),
        ("qy qr qy^g qy^d^t qr^d qy(^q)", "yes-no-question"),
        ("qy^d", "declarative_yes-no-question"),
        ("qw qw^t", "wh-question"),
        ("qw^d", "declarative_wh-question"),
        ("qo^d", "open-question"),
        ("qrr^t", "or-clause"),
        ("qh", "rhetorical-questions"),
        ("^g ^g@", "tag-question"),
        ("^q ^q^t", "quotation"),
        ("^2 ^2^g", "collaborative_completion"),
        ("^h ^h^r", "hold_before_answer/agreement"),
        ("h h,sd", "hedge"),
        ("ny ny^r", "yes_answers"),
        ("ny^e na^m", "affirmative_non-yes_answers"),
        ("nn", "no_answers"),
        ("nn^e ng", "negative_non-no_answers"),
        ("arp nd^t", "dispreferred_answers"),
        ("ar", "reject"),
        ("oo co^t cc", "offers,_options_commits"),
        ('o fo fw " by bc o@ fo_o_fw_"_by_bc', "other"),
        ("fc^m", "conventional-closing"),
        ("fp", "conventional-opening"),
        ("t1", "self-talk"),
        ("t3", "3rd-party-talk"),
        ("x x@ x*", "non-verbal"),
    ],
)
def test_tags_of_a_class(tags: str, name: str):
    assert {tag: class_name(tag) for tag in tags.split()} == dict.fromkeys(tags.split(), name)


@pytest.mark.parametrize("tag", ["+", "+@", "+*", "", " ", "nonsense", "^"])
def test_tags_without_a_class(tag: str):
    assert class_name(tag) is None


def test_continuations_and_sounds():
    assert [is_continuation(tag) for tag in ("+", "+@", "+*", " + ", "sd", "")] == [True] * 4 + [False] * 2
    assert [is_nonverbal(tag) for tag in ("x", "x@", "x*", "sd", "%", "+")] == [True] * 3 + [False] * 3


def test_spelling_is_that_of_zhao(data_folder: Path):
    file = data_folder / "zhao2017" / "valid.jsonl"
    if not file.is_file():
        pytest.skip("needs zhao2017/valid.jsonl below DIALOG_CVAE_DATA")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert {act for line in lines for _, _, (act, _) in json.loads(line)["utts"]} <= set(CLASS_NAMES.values())
