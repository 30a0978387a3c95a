"""The reply index of a checkpoint: replies of training conversations, found by the similarity of their contexts.

Open it to change which replies an index holds, or how they are found. The index holds people's text word for word, so
it keeps only replies that were said in at least k different conversations. It does not have what a single customer
heard, such as an address or an order's number, but it has a name or a number that was said in k conversations. Two
texts are the same reply if they are equal up to case, spacing and normal form. Their numbers must be equal too, because
the numbers of one conversation are wrong in another. Two conversations are the same if they are equal up to speakers,
case and numbers (`dialog_cvae.data.readers.jsonl_splits`). Contexts are kept as bags of words, without words that occur
in fewer than k conversations.

Shape legend: U utterances, R replies, C conversations, V words, S speakers.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dialog_cvae import limits
from dialog_cvae.data.context_search import Bags, ContextSearch, Doubles, largest
from dialog_cvae.data.readers.jsonl_splits import KEY_BYTES, content_keys
from dialog_cvae.data.roles import own_name_by_spelling
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.limits import find_name, folded
from dialog_cvae.text.words import normalised, words
from dialog_cvae.types import Conversation, Utterance

FORMAT = "dialog-cvae replies 1"
MIN_CONVERSATIONS = 2
MAX_UTTERANCES = 500_000  # most utterances; an index of so many takes about 50 MB
MAX_BYTES = 2**28
WEIGHTS = tuple(0.5**distance for distance in range(9))
"""What each utterance of a context counts, the last one first. Against equal weights, twice as many true replies are
among the first ten found."""
NO_REPLY = NO_SPEAKER = -1
REFUSED_PER_REPLY = 32  # a search ends after so many unusable replies for each reply wanted


class Found(NamedTuple):
    """A reply that was found, and the cosine of its context with the one asked for, in [0, 1]."""

    text: str
    similarity: float


class ReplyIndex:
    """Replies that can be searched by their contexts.

    Args:
        bags: of all utterances.
        vocabulary: V words, in the order of their columns.
        replies: R texts.
        reply: (U,) the number of the reply that each utterance is; `NO_REPLY` for an utterance that is no reply.
        continues: (U,) whether the utterance has the same speaker as the one before it.
        speakers: S names that occur in enough conversations.
        speaker: (U,) the number of the speaker of each utterance; `NO_SPEAKER` for others.
        min_conversations: k.
    """

    def __init__(
        self,
        bags: Bags,
        vocabulary: Sequence[str],
        replies: Sequence[str],
        reply: NDArray[np.int32],
        continues: NDArray[np.bool_],
        speakers: Sequence[str],
        speaker: NDArray[np.int32],
        min_conversations: int,
    ) -> None:
        self._bags, self._vocabulary, self.replies = bags, tuple(vocabulary), tuple(replies)
        self._reply, self._continues = reply, continues
        self._speakers, self._speaker = tuple(speakers), speaker
        self.min_conversations = min_conversations
        self._column = {word: column for column, word in enumerate(self._vocabulary)}
        self._search = ContextSearch(bags, len(self._vocabulary), WEIGHTS)
        self._same = [normalised(text) for text in self.replies]

    @classmethod
    def of(cls, conversations: Iterable[Conversation], min_conversations: int = MIN_CONVERSATIONS) -> Self:
        """The index of training conversations.

        Raises:
            ConfigError: `min_conversations` is below 1, there are too many utterances, or no reply was said in enough
                conversations.
        """
        if min_conversations < 1:
            raise ConfigError(f"min_conversations must be at least 1, but is {min_conversations}")
        held = list(conversations)
        said = [utterance for conversation in held for utterance in conversation.utterances]
        if len(said) > MAX_UTTERANCES:
            raise ConfigError(f"an index has at most {MAX_UTTERANCES:,} utterances, but there are {len(said):,}")
        # what occurs in enough conversations
        identity = [content_keys(conversation, 0)[2 * KEY_BYTES :] for conversation in held]
        tokens = [[words(utterance.text) for utterance in conversation.utterances] for conversation in held]
        often = _Often(identity, min_conversations)
        roles = dict.fromkeys(name for conversation in held for name in conversation.respond_as)
        frequent = Counter(utterance.speaker for utterance in said).most_common()
        own = own_name_by_spelling([*roles, *(name for name, _ in frequent)])
        speakers = [own[utterance.speaker] for utterance in said]
        names = sorted(often.of([own[u.speaker] for u in c.utterances] for c in held))
        vocabulary = sorted(often.of([word for each in bag for word in each] for bag in tokens))
        reply_keys = _reply_keys(held, often)
        spellings = _spellings(reply_keys, said)
        if not spellings:
            raise ConfigError(f"no reply was said in {min_conversations} different conversations or more")
        number = {key: index for index, key in enumerate(spellings)}
        place_of = {name: index for index, name in enumerate(names)}
        return cls(
            Bags.of(tokens, {word: column for column, word in enumerate(vocabulary)}),
            vocabulary,
            list(spellings.values()),
            np.array([NO_REPLY if key is None else number[key] for key in reply_keys], dtype=np.int32),
            np.array([each for conversation in held for each in _continues(conversation)], dtype=np.bool_),
            names,
            np.array([place_of.get(speaker, NO_SPEAKER) for speaker in speakers], dtype=np.int32),
            min_conversations,
        )

    def nearest(
        self, conversation: Conversation, respond_as: str, n: int, usable: Callable[[str], bool] | None = None
    ) -> list[Found]:
        """At most `n` usable replies, distinct in their words, that followed the most similar contexts.

        Two kinds of utterances are left out: those that continue their speaker's turn if the reply would not, or the
        reverse; and those of other speakers, if the index knows the speaker who replies.

        Args:
            conversation: what was said so far.
            respond_as: who replies.
            n: replies wanted.
            usable: whether a reply may be among them; None: every reply may. See `REFUSED_PER_REPLY`.
        """
        before = conversation.utterances[-len(WEIGHTS) :]
        if not before:
            return []
        continues = folded(before[-1].speaker) == folded(respond_as)
        eligible = (self._reply != NO_REPLY) & (self._continues == continues)
        if (name := find_name(respond_as, self._speakers)) is not None:
            eligible &= self._speaker == self._speakers.index(name)
        known = [[self._column[word] for word in words(each.text) if word in self._column] for each in before]
        cosines = np.where(eligible, self._search.cosines(known), 0.0)
        found: dict[str, Found] = {}
        refused: set[int] = set()
        for place in _descending(cosines, 4 * n):  # the same reply often comes several times
            reply = int(self._reply[place])
            if self._same[reply] in found or reply in refused:
                continue
            if usable is None or usable(self.replies[reply]):
                found[self._same[reply]] = Found(self.replies[reply], float(cosines[place]))
            else:
                refused.add(reply)
            if len(found) == n or len(refused) == REFUSED_PER_REPLY * n:
                break
        return list(found.values())

    def to_bytes(self) -> bytes:
        """The index as a safetensors file.

        Raises:
            ConfigError: it would be larger than `from_bytes` accepts.
        """
        arrays: dict[str, NDArray[Any]] = {
            **self._bags._asdict(),
            "reply": self._reply,
            "continues": self._continues,
            "speaker": self._speaker,
            "replies": _lines(self.replies),
            "vocabulary": _lines(self._vocabulary),
            "speakers": _lines(self._speakers),
            "min_conversations": np.array([self.min_conversations]),
            FORMAT: np.zeros(0, np.uint8),
        }
        data: bytes = save(arrays)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"the index of replies has {len(data):,} bytes; {MAX_BYTES:,} are possible: index fewer")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The index that `to_bytes` wrote.

        Raises:
            CheckpointError: it is too large, damaged or of another format.
        """
        if len(data) > MAX_BYTES:
            raise CheckpointError(f"an index has at most {MAX_BYTES:,} bytes, but this one has {len(data):,}")
        try:
            arrays = load(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"not a readable safetensors file ({error})") from None
        if FORMAT not in arrays:
            raise CheckpointError(f"not an index of replies that this version reads (it has no {FORMAT!r})")
        try:
            vocabulary, replies, speakers = (_texts(arrays[name]) for name in ("vocabulary", "replies", "speakers"))
            bags = Bags(*(arrays[name] for name in Bags._fields))
            _check(bags, arrays, len(vocabulary), len(replies), len(speakers))
            return cls(
                bags,
                vocabulary,
                replies,
                arrays["reply"],
                arrays["continues"],
                speakers,
                arrays["speaker"],
                int(arrays["min_conversations"][0]),
            )
        except (KeyError, ValueError, IndexError, ConfigError) as error:
            raise CheckpointError(f"a damaged index of replies ({error})") from None


class _Often:
    """Finds the items that occur in at least k conversations; copies of a conversation count once."""

    def __init__(self, identity: Sequence[bytes], least: int) -> None:
        self._identity, self._least = identity, least

    def of(self, items: Iterable[Iterable[str]]) -> set[str]:
        """The items that occur often enough, from the items of each conversation."""
        seen: defaultdict[str, set[bytes]] = defaultdict(set)
        for key, each in zip(self._identity, items, strict=True):
            for item in each:
                if len(found := seen[item]) < self._least:
                    found.add(key)
        return {item for item, found in seen.items() if len(found) >= self._least}


def _descending(cosines: Doubles, wanted: int) -> Iterator[int]:
    """The places of all cosines above 0, the largest first; about `wanted` of them are sorted at once."""
    seen = 0
    while True:
        best = largest(cosines, wanted)[seen:]
        yield from best[cosines[best] > 0].tolist()
        if wanted >= len(cosines) or cosines[best[-1]] <= 0:
            return
        seen, wanted = wanted, 4 * wanted


def _reply_keys(held: Sequence[Conversation], often: _Often) -> list[str | None]:
    """The key of each utterance's text if the index may offer it as a reply, else None."""
    texts = often.of([_key(c.utterances[place].text) for place in c.reply_positions if place] for c in held)
    replies = {(index, place) for index, c in enumerate(held) for place in c.reply_positions if place}
    return [
        key
        if (index, place) in replies and (key := _key(utterance.text)) in texts and limits.visible(utterance.text)
        else None
        for index, conversation in enumerate(held)
        for place, utterance in enumerate(conversation.utterances)
    ]


def _spellings(keys: Sequence[str | None], said: Sequence[Utterance]) -> dict[str, str]:
    """The most common spelling of each key."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, utterance in zip(keys, said, strict=True):
        if key is not None:
            counts[key][" ".join(utterance.text.split())] += 1
    return {key: spellings.most_common(1)[0][0] for key, spellings in counts.items()}


def _key(text: str) -> str:
    """A key that is equal for texts that are the same reply."""
    return limits.normal(" ".join(text.split())).casefold()


def _continues(conversation: Conversation) -> Iterator[bool]:
    speakers = [folded(utterance.speaker) for utterance in conversation.utterances]
    return (place > 0 and speakers[place - 1] == speaker for place, speaker in enumerate(speakers))


def _lines(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts as the bytes of JSON lines."""
    return np.frombuffer("".join(f"{json.dumps(text)}\n" for text in texts).encode(), dtype=np.uint8)


def _texts(lines: NDArray[np.uint8]) -> list[str]:
    found = [json.loads(line) for line in lines.tobytes().splitlines()]
    if not all(isinstance(text, str) for text in found):
        raise ValueError("a line is no text")
    return found


def _check(bags: Bags, arrays: dict[str, NDArray[Any]], words: int, replies: int, speakers: int) -> None:
    """Raise ValueError if the arrays do not fit each other."""
    utterances = len(bags.offsets) - 1
    for name, values, least, end in (
        ("words", bags.words, 0, words),
        ("reply", arrays["reply"], NO_REPLY, replies),
        ("speaker", arrays["speaker"], NO_SPEAKER, speakers),
    ):
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} is no row of integers")
        if values.size and not (least <= values.min() and values.max() < end):
            raise ValueError(f"{name} is out of its range")
    for name, ends, last in (("offsets", bags.offsets, len(bags.words)), ("starts", bags.starts, utterances)):
        if ends.ndim != 1 or not len(ends) or ends[0] != 0 or ends[-1] != last or (np.diff(ends) < 0).any():
            raise ValueError(f"{name} does not fit")
    for name in ("reply", "continues", "speaker"):
        if arrays[name].shape != (utterances,):
            raise ValueError(f"{name} is not of {utterances} utterances")
    if bags.counts.shape != bags.words.shape:
        raise ValueError("counts does not fit")
