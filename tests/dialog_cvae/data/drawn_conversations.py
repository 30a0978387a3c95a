"""Conversations for tests of windows and batches: drawn ones, and how they are encoded."""

from __future__ import annotations

from hypothesis import strategies as st

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Profile, Utterance

TOKENIZER = Tokenizer.train(["a b c d e f g h"] * 3, TokenizerConfig())
TOPICS = ("PETS", "WEATHER")
ROLES = ("b", "A")  # C has none
MAX_TOKENS = 6

texts = st.lists(st.sampled_from("abcdefghz"), min_size=1, max_size=9).map(" ".join)
utterances = st.lists(st.builds(Utterance, st.sampled_from("ABC"), texts), min_size=1, max_size=7).map(tuple)
profiles = st.builds(
    Profile,
    st.sampled_from([None, "female", "male"]),
    st.none() | st.integers(0, 99),
    st.none() | st.integers(0, 3),
)
conversations = st.builds(
    Conversation,
    st.just("id"),
    utterances,
    st.sampled_from([None, "PETS", "WEATHER", "NEW"]),
    speakers=st.dictionaries(st.sampled_from("ABCD"), profiles),
)


def encode(spoken: list[Conversation]) -> EncodedCorpus:
    return encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS, roles=ROLES)


def addressee_of(conversation: Conversation, position: int, speaker: str) -> str | None:
    """Whom a speaker talks to, looked up for one utterance by itself."""
    names = {u.speaker for u in conversation.utterances} | set(conversation.speakers)
    if len(names) == 2:
        return (names - {speaker}).pop()
    before = (u.speaker for u in reversed(conversation.utterances[:position]))
    return next((name for name in before if name != speaker), None)
