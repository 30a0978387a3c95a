"""The row of people in a table: the references of a context against each other, one left out at a time.

Open it to see how that row is scored, and what it does not show.

With R references of a context and s(h, r) the score of a hypothesis against a reference::

    precision = mean over i of max over j != i of s(r_i, r_j)           one person's reply against the others'
    recall    = mean over j of max over i in H_j of s(r_i, r_j)         n people's replies against one more person's

where H_j are n of the references without r_j, drawn again for each j. A reference is never compared with itself, but
may be compared with a copy: in the published file many contexts have a reply twice. Each hypothesis has one reference
less to match than in a model's row, so the figures are a little low.

Only the first reference is the real reply to the context. The others are replies to similar training contexts. In the
published file, a classifier trained on human judgements selected them; `eval.references.builder` uses no such
judgements. With references of the builder, the row shows how well retrieved replies match the real reply and each
other. It is then neither a ceiling nor a measure of people. It is close to the retrieval rows of `eval.baselines`,
whose replies are among these references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dialog_cvae.types import Conversation
from eval.baselines.without_model import replied, shuffled
from eval.contexts import AnsweredContext, Place, seeded_windows
from eval.metrics.matching import Context, PrecisionRecall
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import References


class LeftOut(NamedTuple):
    """The references of one context as small contexts to score.

    Attributes:
        as_hypothesis: R contexts; in each, one reference is the only hypothesis, and the others are its references.
        as_reference: R contexts; in each, one reference is the only reference, and at most n others are hypotheses.
    """

    as_hypothesis: list[Context]
    as_reference: list[Context]


def leave_one_out(
    references: References,
    conversations: Sequence[Conversation],
    n: int,
    seed: int,
    tokens: Callable[[str], list[str]] = metric_tokens,
) -> dict[Place, LeftOut]:
    """The references of each context against each other, for contexts that have at least two.

    Args:
        references: references of the conversations.
        conversations: they decide the contexts and the order of the result.
        n: hypotheses for recall, at least 1; all other references if there are fewer.
        seed: seed of the draws.
        tokens: turns texts into the tokens to compare.
    """
    found = {}
    for window, rng in seeded_windows(conversations, seed):
        row = references.get(window.place)
        if row is None or len(row.responses) < 2:
            continue
        replies = [tokens(text) for text in row.responses]
        parts = [(one, replies[:index] + replies[index + 1 :]) for index, one in enumerate(replies)]
        found[window.place] = LeftOut(
            [([one], others) for one, others in parts], [(shuffled(others, n, rng), [one]) for one, others in parts]
        )
    return found


def human_scores(
    left_out: LeftOut, score: Callable[[Context], Mapping[str, PrecisionRecall]]
) -> dict[str, PrecisionRecall]:
    """Precision and recall of one context by the module's formulas.

    Args:
        left_out: of the context.
        score: gives scores of a small context by name. A score may be missing, as embedding scores are if no word is
            known. The mean is then over the others; a score without any precision or recall is not in the result.
    """
    as_hypothesis, as_reference = ([score(context) for context in contexts] for contexts in left_out)
    found = {}
    for name in dict.fromkeys(name for scores in as_hypothesis for name in scores):
        precisions = [scores[name].precision for scores in as_hypothesis if name in scores]
        recalls = [scores[name].recall for scores in as_reference if name in scores]
        if recalls:
            found[name] = PrecisionRecall(sum(precisions) / len(precisions), sum(recalls) / len(recalls))
    return found


def human_replies(
    references: References, conversations: Sequence[Conversation], n: int, seed: int
) -> list[AnsweredContext]:
    """At most n references of each context as its replies, for measures of replies alone, such as diversity.

    Do not score them against the references, which contain them; use `leave_one_out` for that. A context without
    references gets its real reply.
    """
    found = []
    for window, rng in seeded_windows(conversations, seed):
        row = references.get(window.place)
        replies = (window.reply.text,) if row is None else row.responses
        found.append(replied(window, shuffled(replies, n, rng)))
    return found
