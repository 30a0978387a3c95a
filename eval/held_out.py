"""What models are evaluated on, and what their replies are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dialog_cvae.data.vectors import WordVectors, load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval import evaluation_cache
from eval.generation import Sampled
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import References

if TYPE_CHECKING:
    from eval.acts import ActTagger


class Yardstick(NamedTuple):
    """What replies are held against; what needs a part that is None is left out.

    Attributes:
        conversations: whose contexts were answered.
        references: what else fits a context; None where what was said is the one reference.
        vectors: of the words of replies and references.
        tagger: of dialog acts.
        tagger_accuracy: the share of these conversations' utterances with an act that the tagger gives it.
        training_texts: what was said in training.
    """

    conversations: Sequence[Conversation]
    references: References | None = None
    vectors: WordVectors | None = None
    tagger: ActTagger | None = None
    tagger_accuracy: float | None = None
    training_texts: frozenset[str] | None = None


@dataclass(frozen=True)
class HeldOut:
    """What models are evaluated on.

    Attributes:
        name: the corpus's.
        split: of it.
        conversations: that have at least one context together.
        references: see `Yardstick`.
        vectors: file or name of the word vectors for the embedding scores; None leaves these out.
        train: the training conversations, to tell what a reply was remembered from and which dialog act it is; None
            leaves that out.
    """

    name: str
    split: str
    conversations: Sequence[Conversation]
    references: References | None = None
    vectors: Path | str | None = None
    train: Sequence[Conversation] | None = None

    @cached_property
    def digest(self) -> str:
        """Of the conversations."""
        return evaluation_cache.digest(self.conversations)

    @cached_property
    def train_digest(self) -> str | None:
        """Of the training conversations."""
        return None if self.train is None else evaluation_cache.digest(self.train)

    @cached_property
    def yardstick_digest(self) -> dict[str, str | None]:
        """Of all that replies are held against."""
        return {
            "conversations": self.digest,
            "references": None if self.references is None else evaluation_cache.digest(self.references.items()),
            "vectors": None if self.vectors is None else evaluation_cache.source_digest(self.vectors),
            "train": self.train_digest,
        }

    def yardstick(self, sampled: Iterable[Sampled]) -> Yardstick:
        """Load what these replies are to be held against."""
        vectors = None
        if self.vectors is not None:
            texts = {text for one in sampled for text in (*one.responses, one.reference.text)}
            texts.update(text for row in (self.references or {}).values() for text in row.responses)
            vectors = load_vectors(self.vectors, {token for text in texts for token in metric_tokens(text)})
        said = None if self.train is None else frozenset(u.text for c in self.train for u in c.utterances)
        tagger, accuracy = self._tagger()
        return Yardstick(self.conversations, self.references, vectors, tagger, accuracy, said)

    def _tagger(self) -> tuple[ActTagger | None, float | None]:
        """The tagger and its accuracy; None where there is nothing to learn from, or nothing to test on."""
        if self.train is None:
            return None, None
        from eval.acts import ActTagger

        try:
            tagger = ActTagger.fit(self.train)
        except ConfigError:
            return None, None
        has_acts = any(each.dialog_act is not None for c in self.conversations for each in c.utterances)
        return tagger, tagger.accuracy(self.conversations) if has_acts else None
