"""Scores against the one real reply, by the protocol of DialogWAE.

Open it to compare with published tables of that protocol.

Source: Gu et al. (2019), "DialogWAE: Multimodal Response Generation with Conditional Wasserstein Auto-Encoder", section
5.2, as their released code computes it; its tables draw 10 samples for each context. Every figure is a mean over
contexts.

BLEU is BLEU-3 with the weights (1/3, 1/3, 1/3) and smoothing method 7: recall is the best sample, precision the mean of
the samples, F1 their harmonic mean after averaging over contexts. The code leaves `</s>` at the end of samples and
reference, so that every pair has a token in common; this alone more than doubles the score of random replies without
final punctuation. NLTK's version matters as well (see `eval.metrics.bleu`). All four combinations are given;
`bleu3_end_nltk_3_4_5` is that of the code with the NLTK of its time, so compare published tables with it.

The embedding scores are the best sample's cosine, not mapped to [0, 1] as Zhao et al. (2017) do.

Departures from the code:

-   Every sample ends with `</s>`, even if it was cut off at the token limit; in the code such a sample has none.
-   A word without a vector is ignored; the code gives it a random one.
-   Greedy matching compares the words of the reply. The code also uses `</s>` and all tokens that its decoder produces
    after it, up to 40, which a reply's text does not have. Greedy scores are therefore not comparable with published
    ones; average and extrema are, if the vectors are the same.

Diversity: intra-distinct within each sample, inter-distinct over the samples of a context. Inter-distinct falls with
their number and length.

Shape legend: N contexts, H samples of one context, S smoothings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.bleu import PROTOCOL, pairwise_bleu
from eval.metrics.diversity import distinct, intra_distinct
from eval.metrics.embedding import Vectors, context_embedding
from eval.metrics.matching import Context, PrecisionRecall, best_matches, require_pairs
from eval.metrics.tokens import Tokens

_WEIGHTS = ((1 / 3, 1 / 3, 1 / 3),)  # BLEU-3; with smoothing method 7, (1/3, 1/3, 1/3, 0) gives another result
_END = "</s>"
_BLEUS = ("bleu3_end_nltk_3_4_5", "bleu3_end_nltk_3_6", "bleu3_words_nltk_3_4_5", "bleu3_words_nltk_3_6")
_EMBEDDINGS = ("average", "extrema", "greedy")


class SingleReference(NamedTuple):
    """The figures of a corpus.

    Attributes:
        bleu3_end_nltk_3_4_5: DialogWAE's BLEU: `</s>` counts as a token; the formula of NLTK up to 3.4.5.
        bleu3_end_nltk_3_6: the same by the formula of NLTK from 3.6 on.
        bleu3_words_nltk_3_4_5: over words and punctuation alone; the formula of NLTK up to 3.4.5.
        bleu3_words_nltk_3_6: the same by the formula of NLTK from 3.6 on.
        average: cosine of the mean word vectors, in [-1, 1]; None where nothing could be compared.
        extrema: cosine of the extreme values in each dimension; as `average`.
        greedy: mean cosine of each word's best match in the other reply, both ways; as `average`.
        intra_distinct_1: distinct unigrams of a sample by its unigrams; 0 for an empty sample.
        intra_distinct_2: distinct bigrams of a sample by its bigrams; 0 for a sample without any.
        inter_distinct_1: distinct unigrams over a context's samples by all their unigrams.
        inter_distinct_2: distinct bigrams over a context's samples by all their bigrams; none spans two samples.
        length: tokens of a sample, without `</s>`.
        contexts: N.
        contexts_without_word_vectors: contexts without embedding scores, because all samples or the reference have no
            known word; None without vectors.
    """

    bleu3_end_nltk_3_4_5: PrecisionRecall
    bleu3_end_nltk_3_6: PrecisionRecall
    bleu3_words_nltk_3_4_5: PrecisionRecall
    bleu3_words_nltk_3_6: PrecisionRecall
    average: float | None
    extrema: float | None
    greedy: float | None
    intra_distinct_1: float
    intra_distinct_2: float
    inter_distinct_1: float
    inter_distinct_2: float
    length: float
    contexts: int
    contexts_without_word_vectors: int | None

    def figures(self) -> dict[str, float]:
        """Every figure by name, without those that are None; a BLEU as `_precision`, `_recall` and `_f1`."""
        figures: dict[str, float] = {}
        for name, value in self._asdict().items():
            if isinstance(value, PrecisionRecall):
                parts = {"precision": value.precision, "recall": value.recall, "f1": value.f1}
                figures |= {f"{name}_{part}": figure for part, figure in parts.items()}
            elif value is not None:
                figures[name] = value
        return figures


def per_context(contexts: Sequence[Context], vectors: Vectors | None) -> dict[str, NDArray[np.float64]]:
    """The scores of each context, from which corpus values and differences between models are computed.

    Args:
        contexts: samples and references; only the first reference, the real reply, counts.
        vectors: word vectors, not those of the model under evaluation; without any there are no embedding scores.

    Returns:
        (N,) by name, as `SingleReference.figures` without F1 and counts. There are embedding scores only with
        vectors; they are NaN in a context without known words.

    Raises:
        ValueError: there are no contexts, or one has no sample or no reference.
    """
    if not contexts:
        raise ValueError("single-reference scores need at least 1 context, got 0")
    rows = [_context_scores(hypotheses, references, vectors) for hypotheses, references in contexts]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def summarize(scores: Mapping[str, NDArray[np.float64]]) -> SingleReference:
    """The corpus values of the protocol, from the columns of `per_context`."""

    def mean(name: str) -> float:
        return float(scores[name].mean())

    def bleu(name: str) -> PrecisionRecall:
        return PrecisionRecall(mean(f"{name}_precision"), mean(f"{name}_recall"))

    def similarity(name: str) -> float | None:
        known = scores[name][~np.isnan(scores[name])] if name in scores else np.empty(0)
        return float(known.mean()) if len(known) else None

    return SingleReference(
        bleu3_end_nltk_3_4_5=bleu("bleu3_end_nltk_3_4_5"),
        bleu3_end_nltk_3_6=bleu("bleu3_end_nltk_3_6"),
        bleu3_words_nltk_3_4_5=bleu("bleu3_words_nltk_3_4_5"),
        bleu3_words_nltk_3_6=bleu("bleu3_words_nltk_3_6"),
        average=similarity("average"),
        extrema=similarity("extrema"),
        greedy=similarity("greedy"),
        intra_distinct_1=mean("intra_distinct_1"),
        intra_distinct_2=mean("intra_distinct_2"),
        inter_distinct_1=mean("inter_distinct_1"),
        inter_distinct_2=mean("inter_distinct_2"),
        length=mean("length"),
        contexts=len(scores["length"]),
        contexts_without_word_vectors=int(np.isnan(scores["average"]).sum()) if "average" in scores else None,
    )


def _context_scores(
    hypotheses: Sequence[Tokens], references: Sequence[Tokens], vectors: Vectors | None
) -> dict[str, float]:
    require_pairs(len(hypotheses), len(references))
    reference = references[0]
    scores: dict[str, float] = {}
    for name, bleu in zip(_BLEUS, _bleus(hypotheses, reference), strict=True):
        scores |= {f"{name}_precision": bleu.precision, f"{name}_recall": bleu.recall}
    if vectors is not None:
        matches = context_embedding(hypotheses, [reference], vectors, mapped=False)
        # with one reference, recall is the best sample
        best = (math.nan,) * len(_EMBEDDINGS) if matches is None else tuple(match.recall for match in matches)
        scores |= dict(zip(_EMBEDDINGS, best, strict=True))
    scores |= {f"intra_distinct_{n}": intra_distinct(hypotheses, n) for n in (1, 2)}
    scores |= {f"inter_distinct_{n}": distinct(hypotheses, n).ratio for n in (1, 2)}
    return scores | {"length": sum(map(len, hypotheses)) / len(hypotheses)}


def _bleus(hypotheses: Sequence[Tokens], reference: Tokens) -> list[PrecisionRecall]:
    """Precision and recall for each BLEU, in the order of `_BLEUS`."""
    ended = [[*hypothesis, _END] for hypothesis in hypotheses], [[*reference, _END]]
    scores = (
        pairwise_bleu(samples, references, PROTOCOL, _WEIGHTS)
        for samples, references in (ended, (hypotheses, [reference]))
    )  # (S, 1, H, 1) each
    return [best_matches(of_smoothing[0]) for of_both in scores for of_smoothing in of_both]
