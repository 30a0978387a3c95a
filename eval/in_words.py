"""What the figures of an evaluation say, in sentences.

Open it to change what a user who does not know the measures reads at the end of `eval.dialog`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dialog_cvae.data.common_words import MIN_CONVERSATIONS
from eval.margins import AHEAD, COMPARED, NEIGHBOURS
from eval.min_score_words import min_score_sentences
from eval.personal import RARE, SAID_IN
from eval.reply_scores import GOLD

LITTLE_CONTEXT = 1.0  # nats lost with another context; if it is less, replies would suit almost any conversation
WIDE = 0.5  # nats, half of an interval around LITTLE_CONTEXT that says too little; a narrower one does not reach 0
LITTLE_GAIN = 0.1  # nats gained by z; if it is less, z hardly changes the reply
IN_USE = 0.5  # nats of KL; if it is less, z contains hardly any information
FEW_DIFFERENT = 2.5  # different greedy replies out of 5
SOME_DIFFERENT = 1.5  # the same figure; if it is smaller, z changes hardly any reply
LEVEL = 0.95  # confidence level of the intervals
FEW_CONVERSATIONS = 5  # with fewer conversations, the results say little about others
MANY_COPIES = 0.5  # share of replies that are training utterances

IN_CODE_ALONE = "5 replies that differ in the code alone"
CONTEXT_VERDICTS = (
    "It answers this conversation",
    "It hardly reads the conversation",
    "It reads the conversation a little",
    "{count} conversations are too few to tell whether it reads them",
)
VERDICTS = ("better than", "not clearly different from", "worse than")
RETRIEVED = (
    "References: `eval.references build` and Zhao et al. took them from the replies to similar training contexts. "
    "Against these the rows of nearest neighbours are scored against themselves, so they are compared by what was "
    "said alone. And the other references that were built are retrieved replies too, no measure of people."
)
COLLAPSED = (
    "Try more data or more passes first; then, of what was not used yet, --bow, --train.free-bits 0.1 "
    "--train.free-bits-in dimension, more --beta.cycles or a smaller --beta.stop."
)


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The findings in metrics.json, one a line: likelihood, context, z, replies, their scores, rows without a model,
    and limits.

    Args:
        metrics: the content of metrics.json; what it lacks is left out.
    """
    metrics = {name: value for name, value in metrics.items() if value is not None}  # None: not finite
    parts = (_likelihood, _context, _code, _replies, _scores, _without_model, _left_out, _few)
    return [sentence for part in parts for sentence in part(metrics)]


def _likelihood(metrics: Mapping[str, Any]) -> Iterator[str]:
    if "elbo" not in metrics:
        return
    nats = metrics.get("iw_nll", -metrics["elbo"])
    tokens = metrics["tokens"] / metrics["windows"]
    yield (
        f"Likelihood: a reply that was really said costs the model {nats:.1f} nats, for {tokens:.1f} tokens on average."
        " Less is better; compare it with other models on the same replies."
    )


def _context(metrics: Mapping[str, Any]) -> Iterator[str]:
    lost = metrics.get("nats_context_exchanged")
    if lost is None:
        return
    from scipy.stats import t  # takes a second to load

    count = metrics["context_exchanged_conversations"]
    margin = float(t.ppf((1 + LEVEL) / 2, count - 1)) * metrics["nats_context_exchanged_se"]
    answers, hardly, little, unclear = CONTEXT_VERDICTS
    if abs(lost - LITTLE_CONTEXT) > margin:
        finding = answers if lost > LITTLE_CONTEXT else hardly
    else:
        finding = unclear.format(count=count) if margin > WIDE else little
    digits = 1 if margin >= 0.05 else 2  # not ± 0.0
    yield (
        f"Context: {finding}: after another conversation the same reply costs {lost:.{digits}f} nats more "
        f"(± {margin:.{digits}f}, the 95% interval)."
    )


def _code(metrics: Mapping[str, Any]) -> Iterator[str]:
    if "kl" not in metrics or metrics.get("kl_per_dimension") == []:
        return  # there is no z
    # Active units are not used: their threshold is for a prior of variance 1, and a learnt prior may be narrow.
    kl, gain = metrics["kl"], metrics.get("nats_from_z", metrics["kl"])
    figures = f"KL {kl:.2f} nats, {gain:.2f} nats gained by z"
    if kl < IN_USE or gain < LITTLE_GAIN:
        different = metrics.get("distinct_greedy", 1)
        finding = "has collapsed" if different < SOME_DIFFERENT else "is hardly in use"
        greedy = f"; of {IN_CODE_ALONE} {different:.1f} are different" if "distinct_greedy" in metrics else ""
        yield f"Latent code: it {finding} ({figures}{greedy}). {COLLAPSED}"
        return
    line = f"Latent code: it is in use ({figures})"
    if "nats_z_cost" in metrics:
        cost = metrics["nats_z_cost"]
        line += f"; with it a reply costs {abs(cost):.1f} nats {'more' if cost > 0 else 'less'} than without"
    if "distinct_greedy" in metrics:
        count = metrics["distinct_greedy"]
        little = ", so that it decides little of what is said" if count < FEW_DIFFERENT else ""
        line += f"; of {IN_CODE_ALONE} {count:.1f} are different{little}"
    yield f"{line}."


def _replies(metrics: Mapping[str, Any]) -> Iterator[str]:
    different = metrics.get("distinct_replies_per_context")
    if different is not None:
        yield f"Replies: of {metrics['samples']} to a context {different:.1f} are different."
    copies = metrics.get("verbatim_from_training")
    if copies is not None:
        warning = "; look whether they give away what they should not" if copies > MANY_COPIES else ""
        yield f"Copies: {copies:.0%} of the replies are training utterances word for word{warning}."
    yield from _personal(metrics)


def _personal(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What replies may give away, and in how many training conversations it occurs."""
    share = metrics.get(RARE)
    if share is None:
        return
    what = "a number, an address or a name"
    if not share:
        yield f"Personal data: no reply holds {what} that is rare in the training conversations and not in its context."
        return
    counts = (f"in {count}: {metrics[SAID_IN.format(count)]:.1%}" for count in range(1, MIN_CONVERSATIONS))
    yield (
        f"Personal data: {share:.1%} of the replies hold {what} that their contexts lack and fewer than "
        f"{MIN_CONVERSATIONS} training conversations have ({', '.join(counts)}, in none, made up by the model: "
        f"{metrics[SAID_IN.format(0)]:.1%}). The service's guard refuses them all."
    )


def _scores(metrics: Mapping[str, Any]) -> Iterator[str]:
    if "min_score" in metrics:
        yield from min_score_sentences(metrics["min_score"])


def _without_model(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The comparison with rows without a model: how close the best reply comes to what was said."""
    measure = next((name for name in COMPARED if name in metrics), None)
    rows = {name: row for name, row in metrics.get("baselines", {}).items() if measure in row}
    if measure is None or not rows:
        return
    by_said = {name: row for name, row in rows.items() if name in NEIGHBOURS and measure in row.get(GOLD, {})}
    others = {name: row for name, row in rows.items() if name not in by_said}
    found = f"Against replies without a model: {_verdicts(metrics, others, measure)} (recall of {measure}). "
    if by_said:
        found += f"By what was said alone: {_verdicts(metrics, by_said, measure, f'{GOLD}.')}. "
    yield (f"{found}Such scores of words say little about fitting replies: let people read them (dialog-cvae blind).")
    if by_said:
        yield RETRIEVED


def _verdicts(metrics: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], measure: str, prefix: str = "") -> str:
    """The rows by verdict with their recall, and the model's; `prefix` is that of the compared columns."""

    def recall(figures: Mapping[str, Any]) -> str:
        return f"{(figures[GOLD] if prefix else figures)[measure]['recall']:.3f}"

    groups: dict[str, list[str]] = {}
    for name, row in rows.items():
        verdict = _verdict(row.get(AHEAD, {}).get(f"{prefix}{measure}"))
        groups.setdefault(verdict, []).append(f"{name} {recall(row)}")
    found = "; ".join(f"{verdict} {', '.join(groups[verdict])}" for verdict in VERDICTS if verdict in groups)
    return f"{found}; it has {recall(metrics)}"


def _verdict(ahead: Mapping[str, float] | None) -> str:
    """The one of VERDICTS that fits a difference; without an interval it is not clear."""
    better, unclear, worse = VERDICTS
    if ahead is None:
        return unclear
    return better if ahead["low"] > 0 else worse if ahead["high"] < 0 else unclear


def _left_out(metrics: Mapping[str, Any]) -> Iterator[str]:
    if count := metrics.get("left_out"):
        what = "1 conversation" if count == 1 else f"{count:,} conversations"
        yield f"Left out: {what} that the model was trained on. The file was divided differently then."


def _few(metrics: Mapping[str, Any]) -> Iterator[str]:
    count = metrics.get("conversations", FEW_CONVERSATIONS)
    if count >= FEW_CONVERSATIONS:
        return
    what = "a single held-out conversation, so no context was exchanged" if count == 1 else f"{count} conversations"
    yield f"Limits: all this is from {what}: the next ones may give other figures."
