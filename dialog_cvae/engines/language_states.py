"""Keys and values: of contexts, which are remembered, and of the rows that are being decoded.

Open it to see where rows lie while they come and go. Each row has a place in a table, with a copy of its context's keys
and values before its own. The places of R rows are the first R: a row that leaves gives its place to the last one.

Shape legend: R rows, N places of a table, M positions of a place, P positions of a context, W = 2 * layers arrays (keys
and values of each layer), K key and value heads, E head size, D width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dialog_cvae.engines.base import Flags, Floats, Ints

ROOM = 32  # positions that a table has beyond the longest row


@dataclass(frozen=True, eq=False)
class Context:
    """A conversation that was read up to the end of a reply's header.

    Attributes:
        tokens: (P,) ids. The last one is what the reply follows; a row reads it again, with its z.
        kept: (W, K, P, E) keys and values without z.
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


class LanguageStates:
    """`States` of a language model.

    Args:
        table: (W, N, K, M, E) keys and values; those of R rows at its first R places.
        places: (R,) of each row.
        lengths: (R,) positions so far, with the context's.
        added: (R, maps, D) what z adds.

    Attributes:
        lengths, places, added: as above.
        bound: what the engine keeps with the table and this number of rows.
    """

    def __init__(self, table: Floats, places: Ints, lengths: Ints, added: Floats, bound: Any = None) -> None:
        self._table: Floats | None = table
        self.places, self.lengths, self.added, self.bound = places, lengths, added, bound

    @classmethod
    def begun(cls, contexts: Sequence[Context], added: Floats) -> LanguageStates:
        """Rows (R,) that have read all but the last token of their contexts."""
        lengths = np.array([len(context.tokens) - 1 for context in contexts], np.int64)
        table = _empty(contexts[0].kept[:, None], len(contexts), int(lengths.max()))
        for place, (context, length) in enumerate(zip(contexts, lengths, strict=True)):
            table[:, place, :, :length] = context.kept[:, :, :length]
        return cls(table, np.arange(len(contexts)), lengths, added)

    @property
    def table(self) -> Floats:
        """(W, N, K, M, E)."""
        assert self._table is not None, "these states have been used up"
        return self._table

    def joined(self, later: LanguageStates) -> LanguageStates:
        """See `States.joined`."""
        count, more = len(self.places), len(later.places)
        lengths = np.concatenate((self.lengths, later.lengths))
        table, longest = self.table, int(lengths.max())
        room = table.shape[1]
        if room < count + more:
            # as many places again, so that rows which join one by one are not copied each time
            room = max(count + more, 2 * room)
        if room > table.shape[1] or table.shape[3] < longest:
            table = _moved(table, count, room, longest)
        own = int(later.lengths.max())
        table[:, count : count + more, :, :own] = later.table[:, :more, :, :own]
        self._table = later._table = None
        places = np.concatenate((self.places, count + later.places))
        return LanguageStates(table, places, lengths, np.concatenate((self.added, later.added)))

    def kept(self, stay: Flags) -> LanguageStates:
        """See `States.kept`."""
        table, places, lengths = self.table, self.places[stay], self.lengths[stay]
        free = np.setdiff1d(np.arange(len(places)), places)
        moving = np.flatnonzero(places >= len(places))
        for row, place in zip(moving, free, strict=True):
            table[:, place, :, : lengths[row]] = table[:, places[row], :, : lengths[row]]
        places[moving] = free
        self._table = None
        return LanguageStates(table, places, lengths, self.added[stay])

    def roomy(self) -> LanguageStates:
        """The same rows, with room for one more position of each."""
        table, longest = self.table, int(self.lengths.max())
        if longest < table.shape[3]:
            return self
        self._table = None
        moved = _moved(table, len(self.places), len(self.places), longest)
        return LanguageStates(moved, self.places, self.lengths, self.added)

    def advanced(self) -> LanguageStates:
        """After the engine has written one more position of each row."""
        table, self._table = self.table, None
        return LanguageStates(table, self.places, self.lengths + 1, self.added, self.bound)


def _empty(like: Floats, places: int, positions: int) -> Floats:
    """A table for arrays like (W, ..., K, ..., E), with so many positions and more."""
    arrays, _, heads, _, size = like.shape
    return np.empty((arrays, places, heads, positions + ROOM, size), np.float32)


def _moved(table: Floats, rows: int, places: int, longest: int) -> Floats:
    """The first rows in a larger table."""
    moved = _empty(table, places, longest)
    count = min(longest, table.shape[3])
    moved[:, :rows, :, :count] = table[:, :rows, :, :count]
    return moved
