"""The states of the rows that an engine of a GRU model is decoding.

Open it to add something that a row takes from one step to the next.

Shape legend: R rows, D decoder state, A what z adds to a step: 3D to the GRU's gates and V to the logits with skip
connections, else 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dialog_cvae.engines.base import Flags, Floats


class GRUStates(NamedTuple):
    """See `States`.

    Attributes:
        state: (R, D) the decoder's state.
        added: (R, A) what z adds to every step, computed once, since it is the same in all steps of a row.
    """

    state: Floats
    added: Floats

    def joined(self, later: GRUStates) -> GRUStates:
        """See `States.joined`."""
        return GRUStates(np.concatenate((self.state, later.state)), np.concatenate((self.added, later.added)))

    def kept(self, stay: Flags) -> GRUStates:
        """See `States.kept`."""
        return GRUStates(self.state[stay], self.added[stay])
