"""The lines of the report of `training.check`: counts, copies, splits, and warnings about them.

Open this to add a figure to the report.
"""

from __future__ import annotations

import shlex
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from dialog_cvae.config import DataConfig
from dialog_cvae.data.readers import jsonl
from dialog_cvae.data.readers.jsonl_line import SPLITS, show
from dialog_cvae.data.readers.jsonl_splits import TRAIN
from dialog_cvae.data.roles import recognised_roles
from dialog_cvae.text.pieces import SPECIALS, UNK
from dialog_cvae.text.token_words import token_words
from dialog_cvae.types import Conversation, Corpus
from training.check.advice import respond_as_option
from training.check.tokenization import Tokenization
from training.coverage import length_warnings

NAMES_SHOWN = 12  # most topics and dialog acts to show
PROFILE_PARTS = ("sex", "age", "education")
QUANTILES = {0: "least", 25: "25%", 50: "median", 75: "75%", 95: "95%", 100: "most"}  # percent, label


@dataclass
class Tally:
    """Counts over conversations, which are read one at a time: a corpus need not fit into memory."""

    tokenization: Tokenization
    turns: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    words: int = 0
    speakers: Counter[str | None] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    topics: Counter[str | None] = field(default_factory=Counter)
    acts: Counter[str | None] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    silent: int = 0
    marks: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation) -> None:
        """Count a conversation."""
        self.turns[len(conversation.utterances)] += 1
        self.opened[conversation.utterances[0].speaker] += 1
        self.topics[conversation.topic] += 1
        for utterance in conversation.utterances:
            cut = token_words(utterance.text)
            self.tokens[self.tokenization.length(utterance.text)] += 1
            self.marks.update(name for name in SPECIALS if name != UNK and name in utterance.text)
            self.words += len(cut) - cut.count(UNK)
            self.acts[utterance.dialog_act] += 1
            self.said[utterance.speaker] += 1
        names = dict.fromkeys(utterance.speaker for utterance in conversation.utterances)
        self.speakers.update(list(names))
        for name in names:
            profile = conversation.profile(name)
            self.known.update(part for part in PROFILE_PARTS if getattr(profile, part) is not None)
        self.silent += len(conversation.speakers.keys() - names)

    @property
    def roles(self) -> list[str]:
        """See `recognised_roles`."""
        return recognised_roles(self.said, self.speakers, self.turns.total())

    @property
    def warnings(self) -> list[str]:
        """What is unusual about the messages."""
        found = length_warnings(self.tokenization.lengths(self.tokens), self.tokenization.option)
        if self.marks:
            names = ", ".join(f"{name} in {count:,}" for name, count in self.marks.most_common())
            found.append(
                f"names of special tokens are in the text ({names} messages) and are read as ordinary words: remove "
                "them if they mark where a message begins and ends"
            )
        return found


def describe(tally: Tally) -> list[str]:
    """Lines with the counts over conversations without problems and with at least one response."""
    if not tally.turns:
        return [row("conversations", "0 usable")]
    lengths = tally.tokenization.lengths(tally.tokens)
    utterances, speakers = tally.tokens.total(), tally.speakers.total()
    known = ", ".join(f"{part} known of {tally.known[part] / speakers:.0%}" for part in PROFILE_PARTS)
    silent, exceed = tally.silent, f"{lengths.long:,} ({lengths.long / utterances:.1%})"
    return [
        row("conversations", f"{tally.turns.total():,}"),
        row("utterances", f"{utterances:,}; in a conversation: {_quantiles(tally.turns)}"),
        row("words", f"{tally.words:,}"),
        row("tokens", f"{tally.tokenization.unit}: {_quantiles(tally.tokens)}"),
        row("", f"{exceed} exceed the model's {lengths.limit}; {lengths.unread:.1%} of all tokens"),
        row("", "are never read: as context long messages lose their middle, as replies their end"),
        row("speakers", _names(tally.speakers)),
        *_roles(tally),
        row("topics", _names(tally.topics)),
        row("dialog acts", _names(tally.acts)),
        row("profiles", known),
        *([row("", f"{silent:,} belong to speakers without utterances: check their names")] if silent else []),
    ]


def _roles(tally: Tally) -> list[str]:
    """Lines with the roles, their shares of the utterances, and the option that trains for one of them."""
    if not (roles := tally.roles):
        return []
    shares = ", ".join(f"{show(name)[1:-1]} {tally.said[name] / tally.said.total():.0%}" for name in roles)
    common = min(tally.speakers[name] for name in roles) / tally.turns.total()
    answers = min(roles, key=lambda name: tally.opened[name])
    return [
        row("roles", f"{len(roles)}, each in at least {common:.0%} of the conversations; of the utterances: {shares}"),
        row("", f"take {shlex.join(respond_as_option(answers))} to train for the replies of that one alone"),
    ]


def describe_copies(found: jsonl.Scan) -> list[str]:
    """Lines that say how many conversations are copies of an earlier one."""
    _, same, alike = (len(found.conversations) - len(np.unique(keys)) for keys in found.keys.T)
    if not alike:
        return []
    lines = [
        row(
            "copies",
            f"{same:,} conversations repeat the texts of an earlier one; {alike - same:,} more differ from one",
        )
    ]
    if _named(found):
        return [*lines, row("", "in numbers alone")]
    return [*lines, row("", "in numbers alone; copies share a split, and so do these unless they are very many")]


def split_warnings(found: jsonl.Scan, corpus: Corpus | None, config: DataConfig) -> list[str]:
    """Warnings if a named split has copies of training conversations, or if a drawn one is far from its share."""
    if _named(found):
        _, copies, _ = found.keys.T
        known = np.isin(copies, copies[found.requested == TRAIN])
        counts = (
            (name, np.count_nonzero(known & (found.requested == i))) for i, name in enumerate(SPLITS) if i != TRAIN
        )
        return [
            f"{count:,} of the {name} conversations have the same texts as training conversations: figures on them say "
            "little about new conversations"
            for name, count in counts
            if count
        ]
    if corpus is None:
        return []
    total = len(corpus.train) + len(corpus.valid) + len(corpus.test)
    drawn = (("valid", len(corpus.valid), config.valid_share), ("test", len(corpus.test), config.test_share))
    return [
        f"{name} has {count / total:.1%} of the conversations, but {share:.0%} were asked for: most others are "
        "copies of a few"
        for name, count, share in drawn
        if abs(count - share * total) > max(2, share * total / 4)
    ]


def describe_splits(corpus: Corpus | None, tokenization: Tokenization | None) -> list[str]:
    """Lines with the sizes of the splits, and what the vocabulary covers."""
    if corpus is None or tokenization is None:
        return []
    splits = [corpus.train, corpus.valid, corpus.test]
    total = sum(map(len, splits))
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in zip(SPLITS, splits, strict=True))
    shares = ", ".join(f"{len(split) / total:.1%}" for split in splits)
    return [row("splits", f"{sizes}: {shares}"), *(row(*line) for line in tokenization.rows)]


def _named(found: jsonl.Scan) -> bool:
    """Whether the file itself says which split its conversations belong to."""
    return bool((found.requested != jsonl.NO_SPLIT).any())


def _quantiles(counts: Counter[int]) -> str:
    """Nearest-rank quantiles of at least one value, from the count of each value."""
    values = sorted(counts)
    ranks = list(accumulate(counts[value] for value in values))
    wanted = ((percent * ranks[-1] + 99) // 100 for percent in QUANTILES)
    chosen = (values[bisect_left(ranks, max(1, rank))] for rank in wanted)
    return ", ".join(f"{label} {value}" for label, value in zip(QUANTILES.values(), chosen, strict=True))


def _names(counts: Counter[str | None]) -> str:
    """The most frequent names with their counts, and the count of missing ones."""
    named = Counter({name: count for name, count in counts.items() if name is not None})
    shown = [f"{show(name)[1:-1]} {count:,}" for name, count in named.most_common(NAMES_SHOWN)]
    if len(named) > NAMES_SHOWN:
        shown.append(f"{len(named) - NAMES_SHOWN:,} more")
    if absent := counts[None]:
        shown.append(f"(none given) {absent:,}")
    return f"{len(named):,}: {', '.join(shown)}" if named else "none given"


def row(label: str, value: str) -> str:
    """A line of the report; an empty label continues the line above."""
    return f"  {label:<14}{value}"
