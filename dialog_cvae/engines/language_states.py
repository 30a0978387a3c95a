"""Keys and values: of contexts, which are remembered, and of the rows that are being decoded.

Open it to see where rows lie while they come and go. Keys and values of a context are held once. Rows of one context
have neighbouring slots; all groups have as many slots as the largest. A row that leaves keeps its slot until more than
half of the slots are empty, since closing up copies what stays.

All positions come in whole blocks, filled up with masked ones, so that sums have the same order in any company.

Shape legend: R rows, G groups, N slots of a group, S positions of the longest context, T of the longest own part,
W = 2 * layers arrays (keys and values of each layer), K key and value heads, E head size, D width, Z latent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dialog_cvae.engines.base import Flags, Floats, Ints

BLOCK = 16  # positions
FEWEST = 2  # slots of a group: a product with a single row has another order of addition
MASKED = np.float32(-1e4)  # as in `dialog_cvae.nn.llama`


def whole_blocks(positions: int) -> int:
    """The number, filled up to whole blocks."""
    return -(-positions // BLOCK) * BLOCK


@dataclass(frozen=True, eq=False)
class Context:
    """A conversation that was read up to the end of a reply's header.

    Attributes:
        tokens: (P,) ids. The last one is what the reply follows; a row reads it again, with its z.
        kept: (W, K, S, E) keys and values without z, of P positions and of some that mean nothing.
        condition: (D,) the state at the last token.
    """

    tokens: Ints
    kept: Floats
    condition: Floats


class Memory:
    """The contexts that were read last, up to a number of bytes.

    Args:
        limit: bytes of keys and values.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: OrderedDict[bytes, Context] = OrderedDict()

    def closest(self, tokens: Ints) -> tuple[Context | None, int]:
        """The context that shares the longest beginning with `tokens` (P,), and its length."""
        best: tuple[Context | None, int] = None, 0
        for context in self._found.values():
            common = min(len(tokens), len(context.tokens))
            differs = context.tokens[:common] != tokens[:common]
            shared = int(differs.argmax()) if differs.any() else common
            if shared > best[1]:
                best = context, shared
        if best[0] is not None:
            self._found.move_to_end(best[0].tokens.tobytes())
        return best

    def add(self, context: Context, replaces: Context | None) -> None:
        """Remember a context, in place of one that it begins with."""
        if replaces is not None:
            self._found.pop(replaces.tokens.tobytes(), None)
        self._found[context.tokens.tobytes()] = context
        while len(self._found) > 1 and self.bytes > self._limit:
            self._found.popitem(last=False)

    @property
    def bytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(context.kept.nbytes for context in self._found.values())


@dataclass(eq=False)
class Table:
    """Slots of rows, with the keys and values that these use.

    Attributes:
        groups: (G,) contexts.
        own: (W, K, G * N, T, E), written to by steps.
        written: (G * N,) how many of each slot's own positions are.
        shared: (W, K, G, S, E) those of the contexts.
        bound: what the engine keeps with these arrays.
    """

    groups: Sequence[Context]
    own: Floats
    written: Ints = field(init=False)
    shared: Floats = field(init=False)
    bound: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.written = np.zeros(self.own.shape[2], np.int64)
        if len(self.groups) == 1:
            self.shared = self.groups[0].kept[:, :, None]
            return
        arrays, heads, _, size = self.groups[0].kept.shape
        longest = max(context.kept.shape[2] for context in self.groups)
        self.shared = np.zeros((arrays, heads, len(self.groups), longest, size), np.float32)
        for group, context in enumerate(self.groups):
            self.shared[:, :, group, : context.kept.shape[2]] = context.kept

    @property
    def slots(self) -> int:
        """G * N."""
        return int(self.own.shape[2])

    def copied(self, positions: int) -> Table:
        """The same slots, with room for so many positions of each."""
        room = whole_blocks(positions)
        own = np.zeros((*self.own.shape[:3], room, self.own.shape[4]), np.float32)
        count = min(room, self.own.shape[3])
        own[:, :, :, :count] = self.own[:, :, :, :count]
        table = Table.__new__(Table)
        table.groups, table.own, table.shared, table.bound = self.groups, own, self.shared, None
        table.written = self.written.copy()
        return table


@dataclass(frozen=True, eq=False)
class LanguageStates:
    """`States` of a language model.

    Attributes:
        contexts: (R,) each row's.
        lengths: (R,) own positions so far.
        added: (R, maps, D) what z adds.
        slots: (R,) in `table`.
        table: where keys and values are.
    """

    contexts: tuple[Context, ...]
    lengths: Ints
    added: Floats
    slots: Ints
    table: Table

    @classmethod
    def begun(cls, contexts: Sequence[Context], added: Floats) -> LanguageStates:
        """Rows without own positions."""
        table, slots = _table(contexts, 0)
        return cls(tuple(contexts), np.zeros(len(contexts), np.int64), added, slots, table)

    def joined(self, later: LanguageStates) -> LanguageStates:
        """See `States.joined`."""
        contexts = (*self.contexts, *later.contexts)
        lengths, added = (
            np.concatenate([getattr(part, name) for part in (self, later)]) for name in ("lengths", "added")
        )
        table, slots = _table(contexts, int(lengths.max(initial=0)))
        self._moved(table, slots[: len(self.slots)])
        later._moved(table, slots[len(self.slots) :])
        return LanguageStates(contexts, lengths, added, slots, table)

    def kept(self, stay: Flags) -> LanguageStates:
        """See `States.kept`."""
        contexts = tuple(context for context, stays in zip(self.contexts, stay, strict=True) if stays)
        part = LanguageStates(contexts, self.lengths[stay], self.added[stay], self.slots[stay], self.table)
        needed = max(FEWEST, max(map(contexts.count, contexts), default=0)) * len(set(map(id, contexts)))
        if not contexts or self.table.slots <= 2 * needed:
            return part
        table, slots = _table(contexts, int(part.lengths.max()))
        part._moved(table, slots)
        return LanguageStates(contexts, part.lengths, part.added, slots, table)

    def writable(self) -> LanguageStates:
        """These states, with room for one more position of each row that no other states have written to."""
        longest, room = int(self.lengths.max()) + 1, self.table.own.shape[3]
        if longest <= room and (self.table.written[self.slots] <= self.lengths).all():
            return self
        table = self.table.copied(max(longest, room))
        table.written[self.slots] = self.lengths
        return LanguageStates(self.contexts, self.lengths, self.added, self.slots, table)

    def _moved(self, table: Table, slots: Ints) -> None:
        """Copy own keys and values to other slots (R,) of another table."""
        count = whole_blocks(int(self.lengths.max(initial=0)))
        table.own[:, :, slots, :count] = self.table.own[:, :, self.slots, :count]
        table.written[slots] = self.lengths


def _table(contexts: Sequence[Context], positions: int) -> tuple[Table, Ints]:
    """An empty table with room for rows of these contexts (R,) and one more position, and their slots (R,)."""
    groups: dict[int, int] = {}  # by identity
    counts: list[int] = []
    places = []
    for context in contexts:
        group = groups.setdefault(id(context), len(groups))
        if group == len(counts):
            counts.append(0)
        places.append((group, counts[group]))
        counts[group] += 1
    wide = max(FEWEST, *counts)
    slots = np.array([group * wide + place for group, place in places], np.int64)
    arrays, heads, _, size = contexts[0].kept.shape
    own = np.zeros((arrays, heads, len(counts) * wide, whole_blocks(positions + 1), size), np.float32)
    distinct = list({id(context): context for context in contexts}.values())
    return Table(distinct, own), slots
