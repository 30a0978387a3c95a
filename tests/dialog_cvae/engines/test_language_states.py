"""The table of keys and values grows with its rows and positions, and keeps what was written."""

from __future__ import annotations

import numpy as np

from dialog_cvae.engines.language_states import ROOM, Context, LanguageStates


def begun(length: int) -> LanguageStates:
    """One row, whose context has this many tokens before the last one."""
    kept = np.full((2, 1, length, 1), length, np.float32)
    context = Context(np.zeros(length + 1, np.int64), kept, np.zeros(4, np.float32))
    return LanguageStates.begun([context], np.zeros((1, 1, 4), np.float32))


def test_longer_contexts_do_not_add_places() -> None:
    states = begun(1)
    for step in range(1, 12):
        length = 1 + step * (ROOM + 1)  # more positions than the table has
        states = states.joined(begun(length)).kept(np.array([False, True]))
        assert states.table.shape[1:4] == (2, 1, length + ROOM)
        assert (states.table[:, states.places[0], :, :length] == length).all()


def test_places_double_where_rows_join_one_by_one() -> None:
    states, places = begun(3), []
    for _ in range(8):
        states = states.joined(begun(3))
        places.append(states.table.shape[1])
    assert places == [2, 4, 4, 8, 8, 8, 8, 16]
    assert (states.table[:, states.places, :, :3] == 3).all()
