"""A part of a split with a limited number of contexts."""

from __future__ import annotations

import pytest

from dialog_cvae.types import Conversation, Utterance
from eval.contexts import count_contexts
from eval.portion import portion


def spoken(name: str, count: int, respond_as: tuple[str, ...] = ()) -> Conversation:
    said = tuple(Utterance("AB"[index % 2], f"{name} {index}") for index in range(count))
    return Conversation(name, said, respond_as=respond_as)


@pytest.mark.parametrize(
    ("lengths", "most", "kept"),
    [
        ([3] * 12, 20, [3] * 10),  # 2 contexts each
        ([3] * 12, 19, [3] * 9 + [2]),  # the last one is cut
        ([3, 3], 100, [3, 3]),
        ([1000], 20, [3]),  # a tenth of them
        ([1000, 3, 1000], 40, [5, 3, 5]),
        ([1, 3, 1], 5, [2]),  # first utterances have no context
        ([3, 3, 3], 1, [2]),
        ([1], 5, []),
        ([], 5, []),
    ],
)
def test_conversations_are_taken_in_order_until_there_are_enough_contexts(
    lengths: list[int], most: int, kept: list[int]
) -> None:
    conversations = [spoken(str(index), length) for index, length in enumerate(lengths)]
    found = portion(conversations, most)
    assert [len(conversation.utterances) for conversation in found] == kept
    assert count_contexts(found) <= most
    originals = {conversation.id: conversation.utterances for conversation in conversations}
    assert all(one.utterances == originals[one.id][: len(one.utterances)] for one in found)


def test_utterances_that_are_context_alone_do_not_count() -> None:
    (found,) = portion([spoken("c", 9, respond_as=("B",))], 20)
    assert [found.utterances[place].speaker for place in found.reply_positions] == ["B", "B"]
    assert len(found.utterances) == 4
