"""What an update of the sentence VAE is made from: sentences of one length and noise, functions of seed and step.

Shape legend: B sentences of the whole batch, T their target tokens, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.config import SentenceModelConfig
from dialog_cvae.data.sentences import Sentences, batches_per_epoch, epoch_batches
from dialog_cvae.model.sentence_vae import SentenceBatch
from dialog_cvae.nn.devices import moved
from training.config import TrainConfig
from training.distributed import ALONE, World
from training.windows import WORDS, Batch, Extras, MicroBatch, dropout_of, noise, refining_noise, rows_of


@dataclass(frozen=True)
class SentenceBatches:
    """The training sentences: a batch is a function of the step, and each process makes its own part of it.

    Attributes:
        corpus: training sentences, at least one.
        config: batch size, accumulation, dropout and seed.
        model: Z, and the widths that dropout is over.
        world: the processes that share each batch.
        device: where batches are put.
    """

    corpus: Sentences
    config: TrainConfig
    model: SentenceModelConfig
    world: World = ALONE
    device: torch.device | str = "cpu"

    @property
    def per_epoch(self) -> int:
        """Updates in one pass."""
        return batches_per_epoch(self.corpus, self.config.batch_size)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of the updates after `step`, without end."""
        per_epoch = self.per_epoch
        epoch, position = divmod(step, per_epoch)
        while True:
            batches = epoch_batches(self.corpus, self.config.batch_size, self.config.seed, epoch)
            for index in range(position, per_epoch):
                yield self._batch(batches[index], epoch * per_epoch + index + 1)
            epoch, position = epoch + 1, 0

    def _batch(self, chosen: NDArray[np.int64], step: int) -> Batch:
        """This process's part of a batch; what is random is drawn for all of it."""
        config, size = self.config, len(chosen)
        tokens = torch.from_numpy(self.corpus.rows(chosen))  # (B, L)
        targets = tokens.shape[1] - 1
        eps = noise(config.seed, step, (size, self.model.latent_size))
        dropped = self._dropped_words((size, targets), step)
        dropout = None
        if config.dropout:
            widths = (self.model.embedding_size, self.model.decoder_size)
            dropout = dropout_of(config, step, (size, targets), widths)
        refining = refining_noise(config, step, (size, self.model.latent_size))
        parts, extras = [], []
        for rows in self.world.shares(size, config.accumulation):
            hidden = None if dropped is None else moved(dropped[rows], self.device)
            own = None if dropout is None else rows_of(dropout, rows, targets, self.device)
            sentences = SentenceBatch(moved(tokens[rows], self.device), hidden)
            steps = None if refining is None else moved(refining[:, rows], self.device)
            parts.append(MicroBatch(sentences, moved(eps[rows], self.device)))
            extras.append(Extras(own, steps))
        return Batch(size, tuple(parts), tuple(extras))

    def _dropped_words(self, places: tuple[int, int], step: int) -> Tensor | None:
        """(B, T) where the decoder does not see its input; it always sees `<s>`. None without dropout."""
        if self.config.word_dropout == 0:
            return None
        rng = np.random.default_rng((self.config.seed, step, WORDS))
        dropped = rng.random(places, dtype=np.float32) < self.config.word_dropout
        dropped[:, 0] = False
        return torch.from_numpy(dropped)
