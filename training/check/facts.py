"""The facts about a file that advice depends on, from its counts and a sample of its conversations.

Open this to change what is sampled, so that a file of any size takes the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dialog_cvae.data.readers.jsonl_line import show
from dialog_cvae.data.roles import with_roles
from dialog_cvae.data.turns import encode_turns, header
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.limits import folded
from dialog_cvae.text.language import Language
from dialog_cvae.types import Conversation, Corpus, Utterance
from training.check.advice import MOST_OPENED, Choice, Facts
from training.check.report_lines import Tally
from training.check.tokenization import Tokenization, texts
from training.coverage import Lengths, enough_tokens
from training.language_task import backbone_of, fitting_block

SAMPLED = 200  # most conversations in the sample, spread over the training split
SAMPLED_UTTERANCES = 60  # utterances kept from the start of each conversation
SAMPLED_CHARACTERS = 8_000  # characters kept from the start of each utterance


def sample_of(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Beginnings of conversations, spread evenly."""
    count = min(SAMPLED, len(conversations))
    places = np.linspace(0, len(conversations) - 1, count).astype(int)
    chosen = (conversations[int(place)] for place in places)
    return [replace(each, utterances=tuple(map(_beginning, each.utterances[:SAMPLED_UTTERANCES]))) for each in chosen]


def _beginning(utterance: Utterance) -> Utterance:
    return replace(utterance, text=utterance.text[:SAMPLED_CHARACTERS])


def lengths_of(conversations: Sequence[Conversation], choice: Choice) -> Lengths | None:
    """The lengths of a sample's messages in the tokens of the advised model; None if that model is not here."""
    if not choice.language_model_is_here:
        return None
    sample = Corpus("sample", conversations, conversations, [])
    try:
        tokenization = Tokenization.of(sample, choice.config)
    except DialogCvaeError:
        return None
    return tokenization.lengths(Counter(tokenization.length(text) for text in texts(conversations)))


def facts_of(
    path: str, tally: Tally, corpus: Corpus, language: Language, asked: Sequence[str], lengths: Lengths | None
) -> Facts:
    """The facts about a file.

    Args:
        path: as the user named it.
        tally: counts of its conversations.
        corpus: its splits.
        language: language of its text.
        asked: names of speakers to reply as; if empty, the role that answers is chosen, if one clearly does.
        lengths: lengths of its messages.

    Raises:
        ConfigError: no speaker has one of these names, or a split has no reply by one of them.
    """
    total, roles = tally.turns.total(), tally.roles
    respond_as = tuple(asked)
    if not respond_as and roles:
        answers = min(roles, key=lambda name: tally.opened[name])
        respond_as = (answers,) if tally.opened[answers] <= MOST_OPENED * total else ()
        respond_as = respond_as if _in_all_splits(corpus, respond_as) else ()
    wanted, known = {folded(name) for name in respond_as}, {folded(name) for name in tally.said}
    if missing := [name for name in respond_as if folded(name) not in known]:
        raise ConfigError(f"respond-as: no speaker is {show(missing[0])}; the report lists the speakers")
    with_roles(corpus, asked)
    said = sum(count for name, count in tally.said.items() if not wanted or folded(name) in wanted)
    return Facts(
        path=path,
        replies=round(said * len(corpus.train) / total),
        conversations=total,
        speakers=len(known),
        roles=tuple(roles),
        respond_as=respond_as,
        language=language,
        topics=len(tally.topics.keys() - {None}),
        enough_tokens=None if lengths is None else enough_tokens(lengths),
    )


def with_fitting_block(facts: Facts, choice: Choice, conversations: Sequence[Conversation]) -> Facts:
    """The facts with a limit of tokens and a block for which the language model has positions, as `fit` checks them.

    Args:
        facts: about the file.
        choice: what to train.
        conversations: the training split. It is tokenized only if the longest possible lines would not fit.
    """
    sizes = choice.config.language
    if sizes is None or not choice.language_model_is_here:
        return facts
    try:
        backbone = backbone_of(sizes)
    except DialogCvaeError:
        return facts
    positions, reading = backbone.config.max_positions, choice.config.corpus.reading
    for limit in dict.fromkeys((facts.enough_tokens, None)):
        longer = sizes.model_copy(update={"max_reply_tokens": limit or sizes.max_reply_tokens})
        if _most_tokens(conversations, longer) <= positions:
            return replace(facts, enough_tokens=limit)
        turns = encode_turns(conversations, backbone.tokenizer, longer.max_reply_tokens, reading)
        if block := fitting_block(turns, longer, positions):
            return replace(facts, enough_tokens=limit, block=block if block < sizes.block else None)
    return facts


def _most_tokens(conversations: Sequence[Conversation], sizes: LanguageModelConfig) -> int:
    """A limit of the tokens that are read at once; a token has at least a byte of a name or topic."""
    names = {utterance.speaker for conversation in conversations for utterance in conversation.utterances}
    name = max((len(header(each).encode()) for each in names), default=0)
    topic = max((len(f"Topic: {each.topic}\n".encode()) for each in conversations), default=0)
    return sizes.max_context_tokens + topic + sizes.block * (name + 2 * sizes.max_reply_tokens)


def _in_all_splits(corpus: Corpus, names: Sequence[str]) -> bool:
    """Whether each split has replies of the speakers of these names."""
    try:
        with_roles(corpus, names)
    except ConfigError:
        return False
    return True
