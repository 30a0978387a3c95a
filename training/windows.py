"""What an update is made from: windows in training order and their noise, both functions of seed and step.

Shape legend: B windows of the whole batch, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.config import ModelConfig
from dialog_cvae.data.batches import EncodedCorpus, Integers, collate, epoch_order, forget_conditions
from dialog_cvae.model.cvae import TensorBatch
from dialog_cvae.model.svi import noise_of_steps
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from training.config import TrainConfig
from training.distributed import ALONE, World

NOISE, FORGETTING, WORDS, UNITS, REFINING = 0, 1, 2, 3, 4  # streams of randomness within a step


class MicroBatch(NamedTuple):
    """Windows or sentences that go through the model together, and their rows of the batch's noise."""

    windows: Any
    noise: Tensor


class Extras(NamedTuple):
    """What else is random where a remedy asks for it: a part's rows of it.

    Attributes:
        dropout: in the decoder.
        refining: (S, B, Z), the noise by which posteriors are refined.
    """

    dropout: Dropout | None = None
    refining: Tensor | None = None


class Batch(NamedTuple):
    """This process's part of the batch of an update.

    Attributes:
        size: B, over all processes.
        parts: none where there are more processes than windows.
        extras: of each part.
    """

    size: int
    parts: tuple[MicroBatch, ...]
    extras: tuple[Extras, ...]


@dataclass(frozen=True)
class Windows:
    """The training windows: a batch is a function of the step, and each process makes its own part of it.

    Attributes:
        corpus: encoded training conversations, at least one window.
        config: batch size, accumulation, segment, dropout of conditions and words, and seed.
        model: context utterances at most, and Z.
        world: the processes that share each batch.
        device: where batches are put.
    """

    corpus: EncodedCorpus
    config: TrainConfig
    model: ModelConfig
    world: World = ALONE
    device: torch.device | str = "cpu"

    @property
    def per_epoch(self) -> int:
        """Updates in one pass."""
        return self.config.steps_per_epoch(self.corpus.windows)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of the updates after `step`, without end."""
        config, per_epoch = self.config, self.per_epoch
        epoch, position = divmod(step, per_epoch)
        while True:
            order = epoch_order(self.corpus, config.segment, config.seed, epoch)
            for index in range(position, per_epoch):
                chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
                yield self._batch(chosen, epoch * per_epoch + index + 1)
            epoch, position = epoch + 1, 0

    def _batch(self, responses: Integers, step: int) -> Batch:
        """This process's part of the windows that end in `responses` (B,); what is random is drawn for all of them."""
        config, size = self.config, len(responses)
        eps = noise(config.seed, step, (size, self.model.latent_size))
        draws = np.random.default_rng((config.seed, step, FORGETTING)).random((size, 3))
        dropped = self._dropped_words(size, step)
        dropout = self._dropout(responses, step)
        refining = refining_noise(config, step, (size, self.model.latent_size))
        parts, extras = [], []
        for rows in self.world.shares(size, config.accumulation):
            arrays = collate(self.corpus, responses[rows], self.model.max_context)
            arrays = forget_conditions(arrays, config.condition_dropout, draws[rows])
            windows = TensorBatch.from_arrays(arrays, self.device)
            if dropped is not None:
                windows = windows._replace(
                    dropped=moved(dropped[rows, : int(windows.target_lengths.max())], self.device)
                )
            own = None if dropout is None else rows_of(dropout, rows, int(windows.target_lengths.max()), self.device)
            steps = None if refining is None else moved(refining[:, rows], self.device)
            parts.append(MicroBatch(windows, moved(eps[rows], self.device)))
            extras.append(Extras(own, steps))
        return Batch(size, tuple(parts), tuple(extras))

    def _dropout(self, responses: Integers, step: int) -> Dropout | None:
        if self.config.dropout == 0:
            return None
        ends = self.corpus.offsets[responses.astype(np.int64) + 1].astype(np.int64)
        longest = int((ends - self.corpus.offsets[responses].astype(np.int64)).max()) - 1
        return dropout_of(
            self.config, step, (len(responses), longest), (self.model.embedding_size, self.model.decoder_size)
        )

    def _dropped_words(self, size: int, step: int) -> Tensor | None:
        """(B, tokens at most) where the decoder does not see its input; it always sees `<s>`. None without dropout."""
        if self.config.word_dropout == 0:
            return None
        rng = np.random.default_rng((self.config.seed, step, WORDS))
        dropped = rng.random((size, self.model.max_utterance_tokens - 1), dtype=np.float32) < self.config.word_dropout
        dropped[:, 0] = False
        return torch.from_numpy(dropped)


def noise(seed: int, step: int, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise of a step, a function of seed and step."""
    rng = np.random.default_rng((seed, step, NOISE))
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def refining_noise(config: TrainConfig, step: int, shape: tuple[int, int]) -> Tensor | None:
    """(S, B, Z) noise by which the posteriors of an update are refined, a function of seed and step; None if not."""
    if not (config.svi.steps and shape[1]):
        return None
    return noise_of_steps(config.svi, np.random.default_rng((config.seed, step, REFINING)), shape)


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
    return Dropout(*(torch.from_numpy(each) for each in kept))


def rows_of(dropout: Dropout, rows: slice, longest: int, device: torch.device | str) -> Dropout:
    """A part of a batch's dropout: its rows, as far as its longest response goes, where the model is."""
    return Dropout(*(moved(each[rows, :longest], device) for each in dropout))
