"""The input of an update: a batch in parts that go through the model one at a time, and its noise.

Open this to add a kind of batch or a source of randomness. Everything random is a function of the seed and the step.

Shape legend: B examples of the whole batch, T target tokens, S refinement steps, Z latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.data.windows import Integers, Windows, epoch_order
from dialog_cvae.model.svi import noise_of_steps
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from training.config import TrainConfig

NOISE, FORGETTING, WORDS, UNITS, REFINING = 0, 1, 2, 3, 4  # streams of randomness within a step


class MicroBatch(NamedTuple):
    """Windows or sentences that go through the model together, and their rows of the batch's noise."""

    windows: Any
    noise: Tensor


class Extras(NamedTuple):
    """A part's rows of the noise that only some remedies need.

    Attributes:
        dropout: in the decoder.
        refining: (S, B, Z), the noise for refining posteriors.
    """

    dropout: Dropout | None = None
    refining: Tensor | None = None


class Batch(NamedTuple):
    """This process's part of the batch of an update.

    Attributes:
        size: B, over all processes.
        parts: empty if there are more processes than examples.
        extras: of each part.
    """

    size: int
    parts: tuple[MicroBatch, ...]
    extras: tuple[Extras, ...]


class Batches(Protocol):
    """The training batches, each a function of the step; each process makes its own part of them."""

    @property
    def per_epoch(self) -> int:
        """Updates in one pass over the training examples."""
        ...

    @property
    def device(self) -> torch.device | str:
        """The device of the batches."""
        ...

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of the updates after `step`, without end."""
        ...

    def typical(self, count: int) -> Iterator[Batch]:
        """So many batches of the first pass that together take as long as any others."""
        ...


def in_training_order(corpus: Windows, config: TrainConfig, step: int) -> Iterator[tuple[int, Integers]]:
    """The numbers of the updates after `step`, without end, and the windows (B,) of each."""
    per_epoch = config.steps_per_epoch(corpus.windows)
    epoch, position = divmod(step, per_epoch)
    while True:
        order = epoch_order(corpus, config.segment, config.seed, epoch)
        for index in range(position, per_epoch):
            yield epoch * per_epoch + index + 1, order[index * config.batch_size : (index + 1) * config.batch_size]
        epoch, position = epoch + 1, 0


class WindowBatches(ABC):
    """Batches of windows in training order; each subclass says how it makes one.

    Attributes:
        corpus: at least one window.
        config: batch size, accumulation, segment and seed.
    """

    corpus: Windows
    config: TrainConfig

    @property
    def per_epoch(self) -> int:
        """Updates in one pass."""
        return self.config.steps_per_epoch(self.corpus.windows)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of the updates after `step`, without end."""
        for number, chosen in in_training_order(self.corpus, self.config, step):
            yield self._batch(chosen, number)

    def typical(self, count: int) -> Iterator[Batch]:
        """The first batches: all have examples of mixed lengths."""
        first = list(islice(in_training_order(self.corpus, self.config, 0), count))  # the order is not timed with them
        return (self._batch(chosen, number) for number, chosen in first)

    @abstractmethod
    def _batch(self, responses: Integers, step: int) -> Batch:
        """This process's part of the windows that end in `responses` (B,)."""


def noise(seed: int, step: int, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise of a step, a function of seed and step."""
    rng = np.random.default_rng((seed, step, NOISE))
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def refining_noise(config: TrainConfig, step: int, shape: tuple[int, int]) -> Tensor | None:
    """(S, B, Z) noise for refining an update's posteriors, a function of seed and step; None without refinement."""
    if not (config.svi.steps and shape[1]):
        return None
    return noise_of_steps(config.svi, np.random.default_rng((config.seed, step, REFINING)), shape)


def dropped_words(config: TrainConfig, step: int, places: tuple[int, int]) -> Tensor | None:
    """(B, T), true where the input word is hidden from the decoder, but never for `<s>`; None without word dropout."""
    if config.word_dropout == 0:
        return None
    rng = np.random.default_rng((config.seed, step, WORDS))
    dropped = rng.random(places, dtype=np.float32) < config.word_dropout
    dropped[:, 0] = False
    return torch.from_numpy(dropped)


def dropout_of(config: TrainConfig, step: int, places: tuple[int, int], widths: tuple[int, int]) -> Dropout:
    """The decoder's dropout in a step, a function of seed and step.

    Args:
        config: share and seed.
        step: of the update.
        places: B of the whole batch, and T.
        widths: of the decoder's embedded inputs and of its states.
    """
    rng = np.random.default_rng((config.seed, step, UNITS))
    kept = (
        (rng.random((*places, width), dtype=np.float32) >= config.dropout) / np.float32(1 - config.dropout)
        for width in widths
    )
    return Dropout(*(torch.from_numpy(mask) for mask in kept))


def rows_of(dropout: Dropout, rows: slice, longest: int, device: torch.device | str) -> Dropout:
    """The rows of a part of the batch, on a device; cut to the length of its longest response."""
    return Dropout(*(moved(mask[rows, :longest], device) for mask in dropout))
