"""The pool: rows of many requests that are decoded together.

Open it to see how draws of different requests share the decoder's steps. A row is a reply that is being decoded: its
last token, its random numbers, and the engine's state for it. Rows of many requests, each with its own decoding, take
their steps together in a `Pool`. Finished rows leave it, and new rows join at the next step. An engine's result for a
row does not depend on the other rows, so a draw depends on its own row alone.

Shape legend: R rows, Z latent, V vocabulary, T steps, W most tokens of a row, F tokens that may be forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.engines.base import Engine, Flags, Floats, Ints, Step
from dialog_cvae.generate.decoding import Draw, SpecialIds, TokenScore
from dialog_cvae.generate.sampling import (
    GREEDY_LIKELIEST,
    NUCLEUS_LIKELIEST,
    Doubles,
    Forbidden,
    SamplingParameters,
    choose,
    inverse_temperature,
)

Key = TypeVar("Key", bound=Hashable)
DRAWN = -1  # mark of a token that is drawn, in place of a given one


class Start(NamedTuple):
    """Rows to be decoded.

    Attributes:
        contexts: (R,) from `Engine.condition`.
        z: (R, Z).
        uniforms: (R, T) numbers in [0, 1), T >= max_tokens; at a temperature above 0 each step uses one.
        given: (R,) the tokens of rows that the model only scores, the end token included, at most max_tokens; empty for
            a row that is drawn. None if all rows are drawn.
        likeliest: score each token, and list this many likeliest tokens in its place; None: no scores.
    """

    contexts: Sequence[Any]
    z: Floats
    uniforms: Floats
    given: Sequence[tuple[int, ...]] | None = None
    likeliest: int | None = None

    def part(self, rows: slice) -> Start:
        """The same for a slice of the rows."""
        given = None if self.given is None else self.given[rows]
        return Start(self.contexts[rows], self.z[rows], self.uniforms[rows], given, self.likeliest)


class _Rows(NamedTuple):
    """The rows of a pool, field by field, in the order in which they joined.

    Attributes:
        number: (R,) identifies a row, to find its key.
        token: (R,) the last token.
        length: (R,) number of tokens so far.
        log_prob: (R,) their log probability, in nats.
        written: (R, W) the tokens, with W at least the limit of each row.
        temperature, top_p, inverse_temperature: (R,) the row's sampling parameters.
        forbids: (R, F + 1) which tokens it may not draw now; see `SamplingParameters`.
        limit: (R,) most tokens.
        uniforms: (R, W).
        given: (R, W) the tokens of a row that is scored; `DRAWN` elsewhere.
    """

    number: Ints
    token: Ints
    length: Ints
    log_prob: Doubles
    written: Ints
    temperature: Doubles
    top_p: Doubles
    inverse_temperature: Floats
    forbids: Flags
    limit: Ints
    uniforms: Floats
    given: Ints


class _Scores(NamedTuple):
    """The scores of a row's tokens so far, with this many likeliest tokens each."""

    likeliest: int
    found: list[TokenScore]


class Pool(Generic[Key]):
    """Rows that are decoded together.

    Args:
        engine: the model.
        special: ids of the tokenizer.
        vocabulary: V.
    """

    def __init__(self, engine: Engine, special: SpecialIds, vocabulary: int) -> None:
        self._engine, self._special = engine, special
        self._unknown = () if special.unknown is None else (special.unknown,)
        self._forbidden = Forbidden.of((special.end, *self._unknown, *special.forbidden), vocabulary)
        self._end = int(self._forbidden.column[special.end])
        self._rows: _Rows | None = None
        self._states: Any = None  # the engine's `States` of the same rows
        self._keys: dict[int, Key] = {}
        self._scores: dict[int, _Scores] = {}  # scores of the rows that need them, by row number
        self._count = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Sequence[Key], start: Start, decoding: Decoding) -> None:
        """Add rows; `step` returns the key of each when it has finished."""
        count = len(keys)
        if count == 0:
            return
        numbers = np.arange(self._count, self._count + count)
        self._count += count
        self._keys.update(zip(numbers.tolist(), keys, strict=True))
        if start.likeliest is not None:
            self._scores |= {number: _Scores(start.likeliest, []) for number in numbers.tolist()}
        limit = decoding.max_tokens
        given = np.full((count, limit), DRAWN)
        for row, tokens in enumerate(start.given or ()):
            given[row, : len(tokens)] = tokens
        temperature = np.where(given[:, 0] == DRAWN, decoding.temperature, 0.0)
        token, states = self._engine.start(start.contexts, start.z)
        joining = _Rows(
            number=numbers,
            token=token,
            length=np.zeros(count, dtype=np.int64),
            log_prob=np.zeros(count),
            written=np.zeros((count, limit), dtype=np.int64),
            temperature=temperature,
            top_p=np.full(count, decoding.top_p),
            inverse_temperature=inverse_temperature(temperature),
            forbids=np.repeat(self._forbids(decoding)[None], count, axis=0),
            limit=np.full(count, limit),
            uniforms=start.uniforms[:, :limit],
            given=given,
        )
        if self._rows is None:
            self._rows, self._states = joining, states
        else:
            self._rows, self._states = _joined(self._rows, joining), self._states.joined(states)

    def remove(self, leaves: Callable[[Key], bool]) -> None:
        """Remove the rows whose key makes `leaves` true."""
        gone = [number for number, key in self._keys.items() if leaves(key)]
        for number in gone:
            del self._keys[number]
            self._scores.pop(number, None)
        if gone and self._rows is not None:
            self._keep(~np.isin(self._rows.number, gone))

    def step(self) -> list[tuple[Key, Draw]]:
        """Decode one more token of every row; returns the rows that are now finished."""
        rows = self._rows
        if rows is None:
            return []
        # the engine's step, and what each row may draw from it
        many = (rows.temperature > 0).any() or any(
            scores.likeliest > GREEDY_LIKELIEST for scores in self._scores.values()
        )
        likeliest = NUCLEUS_LIKELIEST if many else GREEDY_LIKELIEST
        step = self._engine.step(rows.token, self._states, rows.inverse_temperature, likeliest)
        every = np.arange(len(rows.token))
        rows.forbids[:, self._end] = rows.length == 0
        parameters = SamplingParameters(
            rows.temperature, rows.top_p, rows.uniforms[every, rows.length], rows.inverse_temperature, rows.forbids
        )
        # The log of the sum of exp(logit), which normalises the model's own distribution.
        normaliser = step.values[:, 0] + np.log(step.mass.astype(np.float64))
        given = rows.given[every, rows.length]
        token = np.where(given == DRAWN, choose(step, parameters, self._forbidden), given)
        # record the tokens, then take out the rows that have ended
        log_prob = step.logits[every, token] - normaliser
        rows.log_prob[:] += log_prob
        if self._scores:
            self._score(step, token, log_prob, normaliser)
        rows.written[every, rows.length] = token
        rows.length[:] += 1
        rows = self._rows = rows._replace(token=token)
        self._states = step.states
        ended = (token == self._special.end) | (rows.length == rows.limit)
        finished = [(self._keys.pop(int(rows.number[i])), self._draw(rows, i)) for i in np.flatnonzero(ended).tolist()]
        if finished:
            self._keep(~ended)
        return finished

    def _score(
        self, step: Step, token: Ints, log_prob: NDArray[np.floating[Any]], normaliser: NDArray[np.floating[Any]]
    ) -> None:
        """Record the step's tokens (R,) of the rows that want scores."""
        assert self._rows is not None
        for row, number in enumerate(self._rows.number.tolist()):
            if (scores := self._scores.get(number)) is not None:
                most = scores.likeliest
                others = (step.values[row, :most] - normaliser[row]).tolist()
                likeliest = tuple(zip(step.ids[row, :most].tolist(), others, strict=True))
                scores.found.append(TokenScore(int(token[row]), float(log_prob[row]), likeliest))

    def _forbids(self, decoding: Decoding) -> Flags:
        """(F + 1) which tokens this decoding never draws."""
        forbids = np.isin(self._forbidden.tokens, self._special.forbidden)
        forbids[self._forbidden.column[list(self._unknown)]] = not decoding.allow_unknown
        return np.append(forbids, False)

    def _draw(self, rows: _Rows, index: int) -> Draw:
        length = int(rows.length[index])
        ids = rows.written[index, :length].tolist()
        tokens = ids[:-1] if ids[-1] == self._special.end else ids
        scores = self._scores.pop(int(rows.number[index]), None)
        return Draw(tuple(tokens), float(rows.log_prob[index]), length, tuple(scores.found) if scores else ())

    def _keep(self, stay: Flags) -> None:
        assert self._rows is not None
        if stay.any():
            self._rows, self._states = _Rows._make(field[stay] for field in self._rows), self._states.kept(stay)
        else:
            self._rows = self._states = None


def _joined(rows: _Rows, joining: _Rows) -> _Rows:
    """Both sets of rows, padded to the same width."""
    width = max(rows.written.shape[1], joining.written.shape[1])

    def widened(part: _Rows) -> _Rows:
        missing = ((0, 0), (0, width - part.written.shape[1]))
        return part._replace(
            written=np.pad(part.written, missing),
            uniforms=np.pad(part.uniforms, missing),
            given=np.pad(part.given, missing, constant_values=DRAWN),
        )

    both = widened(rows), widened(joining)
    return _Rows._make(np.concatenate([getattr(part, name) for part in both]) for name in _Rows._fields)


def decode(engine: Engine, start: Start, decoding: Decoding, special: SpecialIds, vocabulary: int) -> list[Draw]:
    """Decode one draw for each row.

    Args:
        engine: the model.
        start: R rows; at most `engine.rows` are decoded together.
        decoding: how to draw.
        special: ids of the tokenizer.
        vocabulary: V.

    Returns:
        R draws, each a function of its own row.
    """
    pool: Pool[int] = Pool(engine, special, vocabulary)
    draws: dict[int, Draw] = {}
    begun, total = 0, len(start.z)
    while len(draws) < total:
        joining = range(begun, min(total, begun + engine.rows - len(pool)))
        begun += len(joining)
        pool.add(joining, start.part(slice(joining.start, joining.stop)), decoding)
        draws.update(pool.step())
    return [draws[row] for row in range(total)]
