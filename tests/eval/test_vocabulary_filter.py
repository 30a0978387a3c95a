"""References and replies as ids of a vocabulary, as the official code compares them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Utterance
from eval.baselines.people import leave_one_out
from eval.contexts import AnsweredContext
from eval.held_out import HeldOut, ScoringData
from eval.metrics.bleu import context_bleu
from eval.references.multi_reference import ReferenceRow
from eval.reply_scores import reply_scores
from eval.vocabulary_filter import VocabularyFilter

TOKENIZER = Tokenizer.train(["we like cats , you know"], TokenizerConfig())
FILTER = VocabularyFilter(TOKENIZER.to_bytes(), limit=6)
SAID = (Utterance("A", "cats"), Utterance("B", "We like Zanzibar"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We like cats,", "we like cats ,"),
        ("we like Zanzibar", "we like <unk>"),
        ("you know <unk>", "you know <unk>"),
        ("", ""),
        # six ids: <s>, four words, and the last, </s>
        ("we like cats , you know", "we like cats ,"),
    ],
)
def test_a_text_becomes_words_of_the_vocabulary(text: str, expected: str) -> None:
    assert FILTER(text) == expected


def test_a_word_outside_the_vocabulary_matches_another_one() -> None:
    answered = [AnsweredContext("1", 1, None, SAID[:1], SAID[1], ("we like Paris", "we like rain"))]
    data = ScoringData([Conversation("1", SAID)], text_filter=FILTER)
    figures = reply_scores(answered, tokens=data.tokens).figures
    by_hand = context_bleu([["we", "like", "<unk>"]] * 2, [["we", "like", "<unk>"]])["method7-3.6"][0]
    assert figures["bleu_nltk_3.6_1"]["recall"] == by_hand.recall
    as_texts = reply_scores(answered).figures
    assert as_texts["bleu_nltk_3.6_1"]["recall"] < by_hand.recall


def test_people_and_the_corpus_own_reply_are_read_in_the_same_way() -> None:
    references = {("1", 1): ReferenceRow(SAID[:1], "B", ("We like Zanzibar", "we like Paris"), (None, None))}
    conversation = Conversation("1", SAID)
    data = ScoringData([conversation], references, text_filter=FILTER)
    [left_out] = leave_one_out(references, [conversation], 1, 0, data.tokens).values()
    assert left_out.as_hypothesis[0] == ([["we", "like", "<unk>"]], [["we", "like", "<unk>"]])
    answered = [AnsweredContext("1", 1, None, SAID[:1], SAID[1], ("we like rain",))]
    figures = reply_scores(answered, references=references, tokens=data.tokens).figures
    assert figures["gold"]["bleu_nltk_3.6_1"] == figures["bleu_nltk_3.6_1"]


def test_the_filter_decides_what_is_cached() -> None:
    held_out = HeldOut("tiny", "test", [Conversation("1", SAID)])
    filters = [None, FILTER, VocabularyFilter(FILTER.model, 7)]
    assert len({str(replace(held_out, text_filter=text_filter).scoring_digest) for text_filter in filters}) == 3


def test_a_vocabulary_of_pieces_is_refused(tiny_checkpoint: Checkpoint) -> None:
    limit = tiny_checkpoint.config.model.max_utterance_tokens
    assert VocabularyFilter.of(tiny_checkpoint).limit == limit
    pieces = Tokenizer.train(["we like cats"], TokenizerConfig(mode="unigram", vocab_size=300))
    other = Checkpoint(tiny_checkpoint.config, tiny_checkpoint.weights, pieces)
    with pytest.raises(ConfigError, match="--references-as ids: needs a checkpoint whose vocabulary is of words"):
        VocabularyFilter.of(other)
