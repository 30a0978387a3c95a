"""The held-out conversations of an evaluation, and the data that scoring needs besides the replies.

Open it to add a source of scores, such as another tagger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dialog_cvae.data.common_words import SaidIn, said_in
from dialog_cvae.data.vectors import Coverage, WordVectors, load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval import evaluation_cache
from eval.contexts import AnsweredContext
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import References
from eval.vocabulary_filter import VocabularyFilter

if TYPE_CHECKING:
    from eval.act_tagger import ActTagger


class ScoringData(NamedTuple):
    """The data that replies are scored with. If a part is None, scores that need it are left out.

    Attributes:
        conversations: the conversations whose contexts were answered.
        references: further replies that fit a context; None if the corpus's own reply is the only reference.
        vectors: vectors of the words of replies and references.
        coverage: how much of the replies and references has vectors; None without vectors.
        tagger: tags dialog acts.
        tagger_accuracy: share of these conversations' utterances with an act for which the tagger finds that act.
        training_texts: all utterances of the training conversations.
        said_in: in how many training conversations each word and number occurs.
        text_filter: applied to texts before they are compared; None leaves them as they are.
    """

    conversations: Sequence[Conversation]
    references: References | None = None
    vectors: WordVectors | None = None
    coverage: Coverage | None = None
    tagger: ActTagger | None = None
    tagger_accuracy: float | None = None
    training_texts: frozenset[str] | None = None
    said_in: SaidIn | None = None
    text_filter: VocabularyFilter | None = None

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text for comparisons."""
        return metric_tokens(text if self.text_filter is None else self.text_filter(text))


@dataclass(frozen=True)
class HeldOut:
    """The data that models are evaluated on.

    Attributes:
        name: name of the corpus.
        split: its split.
        conversations: they have at least one context in all.
        references: see `ScoringData`.
        vectors: file or name of the word vectors for the embedding scores; None leaves these out.
        train: the training conversations, for the share of replies copied from them and for the entropy of dialog acts;
            None leaves these out.
        text_filter: applied to replies and references before they are compared; None leaves them as they are.
        left_out: number of conversations of the split that are missing because the model was trained on them.
    """

    name: str
    split: str
    conversations: Sequence[Conversation]
    references: References | None = None
    vectors: Path | str | None = None
    train: Sequence[Conversation] | None = None
    text_filter: VocabularyFilter | None = None
    left_out: int = 0

    @cached_property
    def digest(self) -> str:
        """Digest of the conversations."""
        return evaluation_cache.digest(self.conversations)

    @cached_property
    def train_digest(self) -> str | None:
        """Digest of the training conversations."""
        return None if self.train is None else evaluation_cache.digest(self.train)

    @cached_property
    def scoring_digest(self) -> dict[str, str | None]:
        """Digests of all data that replies are scored with."""
        return {
            "conversations": self.digest,
            "references": None if self.references is None else evaluation_cache.digest(self.references.items()),
            "vectors": None if self.vectors is None else evaluation_cache.source_digest(self.vectors),
            "train": self.train_digest,
            "text_filter": None if self.text_filter is None else evaluation_cache.digest([self.text_filter]),
        }

    def scoring_data(self, answered: Iterable[AnsweredContext]) -> ScoringData:
        """Load the data that these replies are scored with."""
        training_texts = None if self.train is None else frozenset(u.text for c in self.train for u in c.utterances)
        tagger, accuracy = self._tagger()
        data = ScoringData(
            self.conversations,
            self.references,
            tagger=tagger,
            tagger_accuracy=accuracy,
            training_texts=training_texts,
            said_in=None if self.train is None else said_in(self.train),
            text_filter=self.text_filter,
        )
        if self.vectors is None:
            return data
        vectors, coverage = self._vectors(self.vectors, answered, data.tokens)
        return data._replace(vectors=vectors, coverage=coverage)

    def _vectors(
        self, source: Path | str, answered: Iterable[AnsweredContext], read: Callable[[str], list[str]]
    ) -> tuple[WordVectors, Coverage]:
        """The vectors of all words of replies and references, and how many tokens have one."""
        texts = Counter(text for one in answered for text in (*one.replies, one.reference.text))
        texts.update(text for row in (self.references or {}).values() for text in row.responses)
        tokens: Counter[str] = Counter()
        for text, count in texts.items():
            for token in read(text):
                tokens[token] += count
        vectors = load_vectors(source, tokens.keys())
        return vectors, vectors.coverage(tokens)

    def _tagger(self) -> tuple[ActTagger | None, float | None]:
        """The tagger and its accuracy; None without training data, or without test data."""
        if self.train is None:
            return None, None
        from eval.act_tagger import ActTagger

        try:
            tagger = ActTagger.fit(self.train)
        except ConfigError:
            return None, None
        has_acts = any(each.dialog_act is not None for c in self.conversations for each in c.utterances)
        return tagger, tagger.accuracy(self.conversations) if has_acts else None
