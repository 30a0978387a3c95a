"""Several reference replies for each context: the published file, read and written.

Open it to change how a file of references is matched to conversations. Zhao et al. (2017) published
`test_multi_ref.json`: a list with an object for each test window, which has `context` (strings "A: text "), `speaker`
(who replies), `responses` (the real reply, then others that fit) and `resp_dialog_acts` (one for each response). Only
the order of the objects identifies their conversations. It is the order of the official loader with batches of one:
conversations by length, each with the windows from its first utterance to its last but one. The order of conversations
of equal length comes from NumPy's unstable `argsort` and depends on its version and on the processor. So here the
replies decide which conversation comes next.

Two more formats are read. A file of `save` has the same format and the fields `conversation` and `position`, which
identify an object without the order; it includes the last utterances. COTK distributes part of the published file as
JSON lines (`utts` as context, `responses` as [dialog act, text]), which are matched by context and reply.

Texts are not cleaned: 30% of the published further responses begin with `) `, which counts as a token in the published
metrics.

Source: github.com/snakeztc/NeuralDialog-CVAE (`data_apis/data_utils.py`), github.com/thu-coai/cotk.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from dialog_cvae.errors import DataError
from dialog_cvae.storage.files import write_atomically
from dialog_cvae.text.words import words
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import MAX_CONTEXT, Place, Window
from eval.references.reference_file import DIALOG_START, Item, read_items


class ReferenceRow(NamedTuple):
    """The references of one context.

    Attributes:
        context: at most MAX_CONTEXT utterances, oldest first; none where the reply is a conversation's first utterance,
            which is not scored.
        speaker: who replies.
        responses: the real (gold) reply, then others that fit.
        dialog_acts: of each response, None where unknown.
    """

    context: tuple[Utterance, ...]
    speaker: str
    responses: tuple[str, ...]
    dialog_acts: tuple[str | None, ...]

    @property
    def continues(self) -> bool:
        """Whether the last utterance of the context has the speaker of the reply."""
        return bool(self.context) and self.context[-1].speaker == self.speaker


References: TypeAlias = Mapping[Place, ReferenceRow]
"""The references of every window that has some, in the order of the file."""


def load(path: Path, conversations: Sequence[Conversation]) -> References:
    """Read references and match them to the conversations whose replies they are.

    Args:
        path: a file of any of the three kinds (see the module's documentation).
        conversations: the whole split that the file was made for, in any order.

    Raises:
        DataError: the file is missing, malformed, or does not fit the conversations; the message gives the item, the
            expected reply and the one in the file.
    """
    items = read_items(path)
    if items[0].place is not None:
        matched = _by_place(path, items, conversations)
    elif items[0].context is not None:
        matched = _by_context(path, items, conversations)
    else:
        matched = _by_order(path, items, conversations)
    rows: dict[Place, ReferenceRow] = {}
    for item, window in matched:
        if window.place in rows:
            raise item.error(path, f"conversation {window.conversation.id}, position {window.position} is a duplicate")
        rows[window.place] = ReferenceRow(window.context, window.reply.speaker, item.responses, item.dialog_acts)
    return rows


def save(path: Path, references: References) -> None:
    """Write references in the published format, with the fields `conversation` and `position`.

    Raises:
        DialogCvaeError: the file cannot be written; an existing file is unchanged.
    """
    content = [
        {
            "conversation": conversation,
            "position": position,
            "context": [f"{speaker}: {text} " for speaker, text in _spoken(row, position)],
            "speaker": row.speaker,
            "responses": list(row.responses),
            "resp_dialog_acts": list(row.dialog_acts),
        }
        for (conversation, position), row in references.items()
    ]
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _spoken(row: ReferenceRow, position: int) -> Iterator[tuple[str, str]]:
    """The context in the published format: with the pseudo-utterance if it includes the beginning."""
    if position < MAX_CONTEXT:
        yield (row.context[0].speaker if row.context else row.speaker), DIALOG_START
    yield from ((utterance.speaker, utterance.text) for utterance in row.context)


def _letters(text: str) -> str:
    """The letters and digits of a text, which do not depend on its tokenisation and punctuation (`) yeah`)."""
    return "".join(words(text)) or text.strip()


def _mismatch(path: Path, item: Item, window: Window) -> DataError:
    expected, found = window.reply.text, item.responses[0]
    where = f"utterance {window.position} of conversation {window.conversation.id}, counted from 0"
    return item.error(path, f"expected the reply {expected!r:.200} ({where}), found {found!r:.200}")


def _by_place(
    path: Path, items: Sequence[Item], conversations: Sequence[Conversation]
) -> Iterator[tuple[Item, Window]]:
    by_id = {conversation.id: conversation for conversation in conversations}
    for item in items:
        name, position = item.place or ("", 0)
        if (conversation := by_id.get(name)) is None:
            raise item.error(path, f"conversation is {name!r:.80}, which is none of the {len(by_id):,} of this split")
        if position >= (count := len(conversation.utterances)):
            raise item.error(path, f"position must be below {count}, the utterances of {name}, but is {position}")
        window = Window(conversation, position)
        if _letters(item.responses[0]) != _letters(window.reply.text):
            raise _mismatch(path, item, window)
        yield item, window


def _by_order(
    path: Path, items: Sequence[Item], conversations: Sequence[Conversation]
) -> Iterator[tuple[Item, Window]]:
    """The windows of whole conversations in turn, without the last window of each."""
    items = [item for item in items if item.responses[0]]  # readers of corpora drop empty utterances
    windows = sum(len(conversation.utterances) - 1 for conversation in conversations)
    if len(items) != windows:
        raise DataError(
            path,
            f"has {len(items):,} items, but the {len(conversations):,} conversations of this split have {windows:,} "
            "windows in the published order (of every utterance but each conversation's last)",
        )
    found = [_letters(item.responses[0]) for item in items]
    left = {index: [_letters(u.text) for u in c.utterances[:-1]] for index, c in enumerate(conversations)}
    left = dict(sorted(left.items(), key=lambda pair: len(pair[1])))  # so that the next one is among the first
    begin = 0
    while left:
        index = _next_conversation(found[begin:], left)
        expected = left.pop(index)
        for position, (item, key) in enumerate(zip(items[begin:], expected, strict=False)):
            window = Window(conversations[index], position)
            if found[begin + position] != key:
                raise _mismatch(path, item, window)
            yield item, window
        begin += len(expected)


def _next_conversation(found: Sequence[str], left: Mapping[int, Sequence[str]]) -> int:
    """The conversation that fits completely, else the best match, so that its first difference is reported."""
    for index, expected in left.items():
        if found[: len(expected)] == expected:
            return index
    agreement = {i: sum(map(str.__eq__, found, keys)) / max(1, len(keys)) for i, keys in left.items()}
    return max(agreement, key=agreement.__getitem__)


def _by_context(
    path: Path, items: Sequence[Item], conversations: Sequence[Conversation]
) -> Iterator[tuple[Item, Window]]:
    """Windows by their utterances; equal ones are in the order of the conversations."""
    windows: defaultdict[tuple[str, ...], deque[Window]] = defaultdict(deque)
    for conversation in conversations:
        letters = [_letters(utterance.text) for utterance in conversation.utterances]
        for position in range(len(letters)):
            spoken = tuple(letters[max(0, position - MAX_CONTEXT) : position + 1])
            windows[spoken].append(Window(conversation, position))
    for item in items:
        context, reply = item.context or (), item.responses[0]
        same = windows[tuple(map(_letters, (*context, reply)))]
        if not same:
            after = f"after {context[-1]!r:.200}" if context else "at the beginning"
            raise item.error(path, f"no conversation has the reply {reply!r:.200} {after}")
        yield item, same.popleft()
