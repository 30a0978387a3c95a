"""The scores of replies: of every context, and the means over a corpus.

Open it to add a metric of replies to evaluations.

Shape legend: N contexts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.text.words import normalised
from eval.baselines.people import LeftOut, human_scores
from eval.contexts import AnsweredContext, Place
from eval.evaluation_cache import Columns
from eval.metrics.bleu import context_bleu
from eval.metrics.diversity import corpus_diversity, distinct_replies, label_entropy
from eval.metrics.embedding import Vectors, context_embedding
from eval.metrics.matching import Context, PrecisionRecall, mean_over_contexts
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import References
from eval.score_thresholds import score_thresholds

BLEU_NAMES = {"method7-3.4": "bleu_nltk_3.4.5", "method7-3.6": "bleu_nltk_3.6"}
GOLD = "gold"
_FIRST_BLEU = f"{BLEU_NAMES['method7-3.4']}_1"  # every context that is compared has it
_PARTS = PrecisionRecall._fields
EMBEDDING_NAMES = ("a_bow", "e_bow", "g_bow")  # in the order of `EmbeddingScores`

Array = NDArray[np.float64]


class ReplyScores(NamedTuple):
    """The scores of replies.

    Attributes:
        figures: of the corpus, by name; some have precision, recall and F1.
        columns: (N,) the scores of each context, by name; NaN if it has none because references or word vectors are
            missing. `NAME.precision` and `NAME.recall` are the parts of a figure. `floor_change` is 1 if the reference
            has another speaker than the utterance before it.
    """

    figures: dict[str, Any]
    columns: Columns


def reply_scores(
    answered: Sequence[AnsweredContext],
    *,
    references: References | None = None,
    vectors: Vectors | None = None,
    tag: Callable[[Sequence[str]], Sequence[str]] | None = None,
    left_out: Mapping[Place, LeftOut] | None = None,
    tokens: Callable[[str], list[str]] = metric_tokens,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> ReplyScores:
    """Score the replies to N contexts.

    Args:
        answered: contexts with their replies, at least one.
        references: several for each context, the corpus's own reply among them. Every context is then also scored
            against the corpus's own reply alone, under names that begin with `gold.`; a context without references has
            these scores only. None: the corpus's own reply is the one reference.
        vectors: word vectors for the embedding scores; None leaves these out.
        tag: from texts to their dialog acts, for the entropy of these; None leaves it out.
        left_out: if the replies are the references themselves, the pairs to match instead.
        tokens: turns replies and references into the tokens to compare.
        seed: of the order in which replies are taken for distinct n-grams at a fixed number of tokens.
        advance: called after each context, for a progress bar.
    """
    contexts = [metric_context(one, references, tokens) for one in answered]
    parts: dict[str, Array] = {}
    for index, (one, context) in enumerate(zip(answered, contexts, strict=True)):
        _note(parts, index, len(answered), _matches(one, context, vectors, left_out))
        if references is not None:
            gold = _scores((context[0], [tokens(one.reference.text)]), vectors) if left_out is None else {}
            _note(parts, index, len(answered), {f"{GOLD}.{name}": score for name, score in gold.items()})
        advance()
    changes = np.array([one.context[-1].speaker != one.reference.speaker for one in answered])
    columns = {f"{name}.{part}": table[:, i] for name, table in parts.items() for i, part in enumerate(_PARTS)}
    columns["distinct_replies"] = np.array([distinct_replies(replies) for replies, _ in contexts], dtype=np.float64)
    columns["floor_change"] = changes.astype(np.float64)
    figures: dict[str, Any] = {"contexts": len(contexts)} | _matched(contexts, parts, vectors, references)
    figures |= _diversity(contexts, seed)
    if any(one.scores for one in answered):
        figures["min_score"] = score_thresholds(answered, contexts, vectors, seed)
    figures["mean_reference_tokens"] = float(np.mean([len(tokens(one.reference.text)) for one in answered]))
    if tag is not None:
        figures["act_entropy"] = label_entropy(tag([text for one in answered for text in one.replies]))
    strata = {"floor_change": changes, "continuation": ~changes}
    figures |= {name: {"contexts": int(chosen.sum()), **_means(parts, chosen)} for name, chosen in strata.items()}
    return ReplyScores(figures, columns)


def distinct_texts(answered: Sequence[AnsweredContext]) -> float:
    """Mean number of replies of a context that differ in their words; see `normalised`."""
    return float(np.mean([len({normalised(reply) for reply in one.replies}) for one in answered]))


def metric_context(
    one: AnsweredContext,
    references: References | None = None,
    tokens: Callable[[str], list[str]] = metric_tokens,
) -> Context:
    """The replies to a context and its references, as the metrics compare them.

    Args:
        one: the context.
        references: see `reply_scores`; a context that is not among them has no reference.
        tokens: of a text.
    """
    if references is None:
        targets: Sequence[str] = (one.reference.text,)
    else:
        row = references.get((one.conversation, one.position))
        targets = () if row is None else row.responses
    return [tokens(text) for text in one.replies], [tokens(text) for text in targets]


def _note(parts: dict[str, Array], index: int, count: int, scores: Mapping[str, PrecisionRecall]) -> None:
    """Write the scores of a context into the tables (N, 2) of all contexts."""
    for name, score in scores.items():
        parts.setdefault(name, np.full((count, 2), np.nan))[index] = score


def _matches(
    one: AnsweredContext, context: Context, vectors: Vectors | None, left_out: Mapping[Place, LeftOut] | None
) -> dict[str, PrecisionRecall]:
    """Precision and recall of one context by name; none without references."""
    if left_out is None:
        return _scores(context, vectors) if context[1] else {}
    parts = left_out.get((one.conversation, one.position))
    return {} if parts is None else human_scores(parts, partial(_scores, vectors=vectors))


def _scores(context: Context, vectors: Vectors | None) -> dict[str, PrecisionRecall]:
    found: dict[str, PrecisionRecall] = {}
    for smoothing, orders in context_bleu(*context).items():
        found |= {f"{BLEU_NAMES[smoothing]}_{n}": score for n, score in enumerate(orders, start=1)}
    if vectors is not None and (scores := context_embedding(*context, vectors)) is not None:
        found |= zip(EMBEDDING_NAMES, scores, strict=True)
    return found


def _matched(
    contexts: Sequence[Context],
    parts: Mapping[str, Array],
    vectors: Vectors | None,
    references: References | None,
) -> dict[str, Any]:
    """Means of the scores that need references, and the number of contexts with such scores."""
    figures: dict[str, Any] = {}
    counts = [len(targets) for _, targets in contexts]
    matched = sum(map(bool, counts))
    if references is not None:
        figures |= {"contexts_with_references": matched, "references_per_context": sum(counts) / max(1, matched)}
    figures |= _means(parts, np.ones(len(contexts), dtype=np.bool_))
    if vectors is not None:
        # of the contexts that were compared: a lone reference has no others to be compared with
        figures["contexts_without_word_vectors"] = _known(parts, _FIRST_BLEU) - _known(parts, EMBEDDING_NAMES[0])
    return figures


def _known(parts: Mapping[str, Array], name: str) -> int:
    """The number of contexts that have a score."""
    return int((~np.isnan(parts[name][:, 0])).sum()) if name in parts else 0


def _means(parts: Mapping[str, Array], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Means over the chosen contexts that have a score."""
    figures: dict[str, Any] = {}
    for name, table in parts.items():
        scored = table[chosen & ~np.isnan(table[:, 0])]
        if len(scored):
            mean = mean_over_contexts(map(PrecisionRecall._make, scored))
            target = figures.setdefault(GOLD, {}) if name.startswith(f"{GOLD}.") else figures
            target[name.removeprefix(f"{GOLD}.")] = {"precision": mean.precision, "recall": mean.recall, "f1": mean.f1}
    return figures


def _diversity(contexts: Sequence[Context], seed: int) -> dict[str, Any]:
    figures: dict[str, Any] = dict(corpus_diversity(contexts, seed=seed).figures())
    lengths = [len(reply) for replies, _ in contexts for reply in replies]
    return {
        "distinct_replies_per_context": figures.pop("distinct_replies"),
        **figures,
        "mean_reply_tokens": sum(lengths) / len(lengths),
    }
