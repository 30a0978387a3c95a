"""Tables for people, in Markdown, from what an evaluation sampled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from eval.generation import Sampled

SHOWN_CONTEXT = 3  # utterances before the reference that the table shows; the model saw more

RULE = (
    "The rule by which they were chosen: of the conversations that have a context, {count} evenly spaced ones in the "
    "corpus's order, and of each the context in its middle. Replies are unedited, in the order in which they came."
)


def chosen_contexts(sampled: Sequence[Sampled], count: int) -> list[Sampled]:
    """Contexts to show: the middle one of each of at most `count` evenly spaced conversations."""
    by_conversation: defaultdict[str, list[Sampled]] = defaultdict(list)
    for one in sampled:
        by_conversation[one.conversation].append(one)
    conversations = list(by_conversation.values())
    count = min(count, len(conversations))
    picked = (conversations[index * len(conversations) // count] for index in range(count))
    return [contexts[len(contexts) // 2] for contexts in picked]


def sample_table(sampled: Sequence[Sampled], count: int = 10) -> str:
    """Contexts with their reference and sampled replies, chosen by a rule that the text states."""
    chosen = chosen_contexts(sampled, count)
    parts = ["# Sampled replies\n", RULE.format(count=len(chosen)) + "\n"]
    for number, one in enumerate(chosen, start=1):
        lines = [f"## {number}. {one.conversation}, utterance {one.position}, topic {one.topic or 'unknown'}\n"]
        lines += [f"> **{turn.speaker}:** {turn.text}  " for turn in one.context[-SHOWN_CONTEXT:]]
        lines += ["", f"What {one.reference.speaker} said: {one.reference.text}\n"]
        lines += [f"{index}. {reply}" for index, reply in enumerate(one.responses, start=1)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
