"""A map of the latent space of one context, in the two dimensions that change replies most.

Open it to see what the page's map and the fields `map` and `at` mean.

The prior p(z | c) has hundreds of dimensions, most of which hardly change a reply. The map's axes are the two
directions of e = (z - mean) / std along which the decoder's first state changes most: the first right singular vectors
of W diag(std), where W is the weight by which z enters that state. A place on the map is (v1 . e, v2 . e), in standard
deviations of the prior: draws lie around (0, 0), two thirds of them within one unit along each axis.

Shape legend: R draws, D decoder state, Z latent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dialog_cvae.engines.base import Floats

AXES = 2


class LatentMap(NamedTuple):
    """The axes (Z, 2), orthonormal; (1, 1) for a latent space of one dimension."""

    axes: Floats

    @classmethod
    def of(cls, latent_weight: Floats, std: Floats) -> LatentMap:
        """The map of a prior.

        Args:
            latent_weight: (D, Z), W.
            std: (Z,) the prior's standard deviations.
        """
        scaled = latent_weight.astype(np.float64) * std
        values, vectors = np.linalg.eigh(scaled.T @ scaled)  # (Z,), rising
        axes = vectors[:, np.argsort(-values, kind="stable")[:AXES]]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        return cls((axes * np.where(largest < 0, -1.0, 1.0)).astype(np.float32))  # fix the arbitrary sign of each axis

    def places(self, noise: Floats) -> Floats:
        """The places (R, 2) of draws e (R, Z)."""
        found: Floats = noise @ self.axes
        return np.pad(found, ((0, 0), (0, AXES - found.shape[1])))

    def moved(self, noise: Floats, place: tuple[float, float]) -> Floats:
        """The draws (R, Z) moved to this place, otherwise unchanged."""
        target = np.array(place[: self.axes.shape[1]], dtype=np.float32)
        return (noise + (target - noise @ self.axes) @ self.axes.T).astype(np.float32)
