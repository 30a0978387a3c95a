"""A tagger of dialog acts, which shows how many kinds of reply a model gives.

Open it to change how utterances are tagged. It is a linear classifier of an utterance's words, trained on a corpus with
acts; it does not see the context. On Switchboard's 42 acts it is about as good as the tagger of the published
references: Zhao et al. (2017) report an accuracy of .773 for theirs. It predicts rare acts too seldom, so the entropy
of predicted acts is lower than that of true acts: compare it with predicted acts only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval.metrics.tokens import metric_tokens

_MOST_ACTS = 200  # most acts that are learned; Switchboard has 42
# Utterances to fit on; all 103,000 of Switchboard take twice the time for less than .01 in accuracy.
_MOST_UTTERANCES = 60_000
_PASSES = 5


@dataclass(frozen=True, slots=True)
class ActTagger:
    """A fitted tagger.

    Attributes:
        pipeline: predicts acts from texts.
    """

    pipeline: Pipeline

    @classmethod
    def fit(cls, conversations: Sequence[Conversation], seed: int = 0) -> ActTagger:
        """Fit a linear support vector machine on TF-IDF of words and word pairs, sentence ends included.

        Args:
            conversations: utterances without an act are ignored. If there are more than 200 acts, the most frequent are
                learned. If there are more than 60,000 utterances, a sample is used.
            seed: of the sample and of the order of the averaged stochastic gradient's steps.

        Raises:
            ConfigError: the utterances have fewer than two different acts.
        """
        texts, acts = _labelled(conversations)
        if len(set(acts)) < 2:
            raise ConfigError(
                f"a dialog-act tagger needs at least 2 different dialog acts to learn from, got {len(set(acts))} "
                f"among {sum(len(c.utterances) for c in conversations):,} utterances"
            )
        counts = Counter(acts).most_common(_MOST_ACTS)
        generator = np.random.default_rng(seed)
        chosen = _sample(acts, {act for act, _ in counts}, generator)
        pipeline = make_pipeline(
            TfidfVectorizer(analyzer=_features, min_df=2, sublinear_tf=True),
            SGDClassifier(
                alpha=1e-5, max_iter=_PASSES, tol=None, average=True, random_state=int(generator.integers(2**31))
            ),
        )
        pipeline.fit([texts[i] for i in chosen], [acts[i] for i in chosen])
        return cls(pipeline)

    def tag(self, texts: Sequence[str]) -> list[str]:
        """The act of each text."""
        return [str(act) for act in self.pipeline.predict(texts)] if texts else []

    def accuracy(self, conversations: Sequence[Conversation]) -> float:
        """The share of utterances, among those with an act, whose act is predicted.

        Raises:
            ConfigError: no utterance has an act.
        """
        texts, acts = _labelled(conversations)
        if not acts:
            raise ConfigError(
                f"the accuracy of dialog acts needs at least 1 utterance with an act, got 0 of "
                f"{sum(len(c.utterances) for c in conversations):,} utterances"
            )
        return sum(tag == act for tag, act in zip(self.tag(texts), acts, strict=True)) / len(acts)


def _features(text: str) -> list[str]:
    """Words and word pairs, with marks at both ends: a reply of one word is another act than a longer one."""
    words = ["<s>", *metric_tokens(text), "</s>"]
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _sample(acts: Sequence[str], learned: Collection[str], generator: np.random.Generator) -> list[int]:
    """At most 60,000 utterances with a learned act; one of each act comes first, so that no act is lost."""
    order = [i for i in generator.permutation(len(acts)).tolist() if acts[i] in learned]
    one_of_each = {acts[i]: i for i in reversed(order)}.values()
    return list(dict.fromkeys([*one_of_each, *order]))[:_MOST_UTTERANCES]


def _labelled(conversations: Sequence[Conversation]) -> tuple[list[str], list[str]]:
    """Texts and acts of the utterances that have one."""
    pairs = [(u.text, u.dialog_act) for c in conversations for u in c.utterances if u.dialog_act is not None]
    return [text for text, _ in pairs], [act for _, act in pairs]
