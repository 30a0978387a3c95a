"""The dialog-act tagger on a corpus whose acts follow from the words, and on Switchboard."""

import random

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation, Utterance
from eval.act_tagger import ActTagger

THINGS = ["cats", "dogs", "the rain", "old cars", "baseball"]


def conversation(index: int) -> Conversation:
    generator = random.Random(index)
    thing = generator.choice(THINGS)
    said = [
        (f"do you like {thing}", "yes-no-question"),
        (generator.choice(["yeah", "Uh-huh.", "right"]), "backchannel"),
        (f"yeah i like {thing} a lot", "statement"),
        (f"well they said {thing} are here now", "statement"),
        (f"{thing} {thing}", None),
    ]
    return Conversation(f"c{index}", tuple(Utterance("AB"[i % 2], *pair) for i, pair in enumerate(said)))


CORPUS = [conversation(index) for index in range(60)]
HELD_OUT = [conversation(index) for index in range(100, 120)]


def test_learns_from_words_and_ignores_case_and_utterances_without_an_act():
    tagger = ActTagger.fit(CORPUS)
    assert tagger.tag(["Do you like baseball?", "yeah", "YEAH I like snow a lot"]) == [
        "yes-no-question",
        "backchannel",
        "statement",
    ]
    assert tagger.accuracy(HELD_OUT) == 1.0


def test_an_unseen_act_is_never_predicted():
    said = (Utterance("A", "do you like snow", "yes-no-question"), Utterance("B", "no", "answer"))
    assert ActTagger.fit(CORPUS).accuracy([Conversation("q", said)]) == 0.5


def test_is_deterministic():
    texts = ["well i do", "so do you", "right you are", "they like it", ""]
    assert ActTagger.fit(CORPUS, seed=2**63 - 1).tag(texts) == ActTagger.fit(CORPUS, seed=2**63 - 1).tag(texts)


def test_any_text_has_an_act():
    tagger = ActTagger.fit(CORPUS)
    assert set(tagger.tag(["", "?!", "</s>", "λόγος", "<unk>"])) <= {"yes-no-question", "backchannel", "statement"}
    assert tagger.tag([]) == []


def test_a_sample_of_many_utterances_has_every_act(monkeypatch):
    corpus = [*CORPUS, Conversation("rare", (Utterance("A", "ouch", "exclamation"),))]
    everything = ActTagger.fit(corpus)
    monkeypatch.setattr("eval.act_tagger._MOST_UTTERANCES", 24)
    sampled = ActTagger.fit(corpus)
    assert sampled.accuracy(HELD_OUT) > 0.5  # half of them are statements
    assert len(sampled.pipeline[0].vocabulary_) < len(everything.pipeline[0].vocabulary_)
    assert set(sampled.pipeline.classes_) == {"yes-no-question", "backchannel", "statement", "exclamation"}


def test_only_the_most_frequent_acts_are_learned(monkeypatch):
    monkeypatch.setattr("eval.act_tagger._MOST_ACTS", 2)
    rare = [Conversation(f"r{i}", (Utterance("A", "yeah", f"act {i}"),)) for i in range(30)]
    tagger = ActTagger.fit([*rare, *CORPUS])
    assert set(tagger.pipeline.classes_) == {"statement", "yes-no-question"}
    assert tagger.accuracy(rare) == 0.0


def test_two_utterances_are_enough():
    tagger = ActTagger.fit([Conversation("c", (Utterance("A", "hello", "opening"), Utterance("B", "bye", "closing")))])
    assert set(tagger.tag(["hello", "bye"])) <= {"opening", "closing"}


def test_refusals_name_what_is_missing():
    bare = [Conversation("c", (Utterance("A", "so"), Utterance("B", "do i")))]
    one = [Conversation("c", (Utterance("A", "so", "statement"), Utterance("B", "do i", "statement")))]
    with pytest.raises(ConfigError, match="at least 2 different dialog acts to learn from, got 0 among 2 utterances"):
        ActTagger.fit(bare)
    with pytest.raises(ConfigError, match="at least 2 different dialog acts to learn from, got 1 among 2 utterances"):
        ActTagger.fit(one)
    with pytest.raises(ConfigError, match="got 0 among 0 utterances"):
        ActTagger.fit([])
    with pytest.raises(ConfigError, match="at least 1 utterance with an act, got 0 of 2 utterances"):
        ActTagger.fit(CORPUS).accuracy(bare)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["zhao", "fluent"])
def test_switchboard_is_tagged_as_well_as_in_the_literature(data_folder, style):
    if not (data_folder / "swda" / "swda.zip").exists():
        pytest.skip("needs swda/swda.zip in DIALOG_CVAE_DATA")
    corpus = load_corpus(DataConfig(name="swda", dir=data_folder, style=style))
    acts = [u.dialog_act for c in corpus.test for u in c.utterances if u.dialog_act is not None]
    assert acts.count("statement-non-opinion") / len(acts) < 0.45  # the commonest
    assert ActTagger.fit(corpus.train).accuracy(corpus.test) > 0.76
