"""How many replies may give a person away, because they contain something that few training conversations have.

Open it to change how they are counted. They are the replies that the service's guard refuses
(`dialog_cvae.generate.guard`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dialog_cvae.data.common_words import MIN_CONVERSATIONS, CommonWords, SaidIn, is_lower_case
from dialog_cvae.generate.guard import Guard
from dialog_cvae.types import Conversation
from eval.contexts import AnsweredContext

RARE = "rare_in_replies"
SAID_IN = "rare_said_in_{}"  # number of training conversations


def rare_in_replies(answered: Sequence[AnsweredContext], said_in: SaidIn) -> dict[str, float]:
    """Shares of the replies with a number, an address or a name that few training conversations and no context have.

    RARE is the share of all these replies. SAID_IN is the share of those whose number, address or name occurs in
    exactly so many training conversations. A reply with several of them counts by the rarest that occurs at all.

    Args:
        answered: contexts with replies.
        said_in: in how many training conversations each key occurs.
    """
    texts = [text for one in answered for text in one.replies]
    guard = Guard(CommonWords.of(said_in), lower_case=all(map(is_lower_case, texts)))
    replies: Counter[int] = Counter()
    for one in answered:
        given_away = guard.given_away(Conversation(one.conversation, one.context, one.topic), one.reference.speaker)
        for text in one.replies:
            if found := given_away(text):
                counts = [count for each in found if (count := said_in.counts[each.key])]
                replies[min(counts, default=0)] += 1
    total = max(1, len(texts))
    return {RARE: replies.total() / total} | {
        SAID_IN.format(count): replies[count] / total for count in range(MIN_CONVERSATIONS)
    }
