"""The training batches of sentences: sentences of one length, a function of seed and step.

Open this to change the dropout or noise of sentences.

Shape legend: B sentences of the whole batch, L their tokens, T = L - 1 their targets, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dialog_cvae.data.sentences import Sentences, batches_per_epoch, epoch_batches
from dialog_cvae.model.sentence_vae import SentenceBatch
from dialog_cvae.model_config import SentenceModelConfig
from dialog_cvae.nn.devices import moved
from training.batch import Batch, Extras, MicroBatch, dropout_of, dropped_words, noise, refining_noise, rows_of
from training.config import TrainConfig
from training.distributed import SINGLE_PROCESS, World


@dataclass(frozen=True)
class SentenceBatches:
    """Batches of sentences; see `training.batch.Batches`.

    Attributes:
        corpus: training sentences, at least one.
        config: batch size, accumulation, dropout and seed.
        model: Z, and the widths of what dropout applies to.
        world: the processes that share each batch.
        device: of the batches.
    """

    corpus: Sentences
    config: TrainConfig
    model: SentenceModelConfig
    world: World = SINGLE_PROCESS
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

    def typical(self, count: int) -> Iterator[Batch]:
        """Batches of the first pass with few to many tokens, evenly spaced in their order by tokens."""
        batches, lengths = epoch_batches(self.corpus, self.config.batch_size, self.config.seed, 0), self.corpus.lengths
        tokens = [len(chosen) * lengths[chosen[0]] for chosen in batches]
        order = np.argsort(tokens, kind="stable")
        middles = (order[len(order) * (2 * part + 1) // (2 * count)] for part in range(count))
        return (self._batch(batches[index], int(index) + 1) for index in middles)

    def _batch(self, chosen: NDArray[np.int64], step: int) -> Batch:
        """This process's part of the batch of the sentences `chosen` (B,)."""
        config, size = self.config, len(chosen)
        tokens = torch.from_numpy(self.corpus.rows(chosen))  # (B, L)
        targets = tokens.shape[1] - 1
        # All processes draw the noise of the whole batch, so that it does not depend on their number.
        eps = noise(config.seed, step, (size, self.model.latent_size))
        dropped = dropped_words(config, step, (size, targets))
        dropout = None
        if config.dropout:
            widths = (self.model.embedding_size, self.model.decoder_size)
            dropout = dropout_of(config, step, (size, targets), widths)
        refining = refining_noise(config, step, (size, self.model.latent_size))
        # Then each takes its own rows.
        parts, extras = [], []
        for rows in self.world.shards(size, config.accumulation):
            own_dropped = None if dropped is None else moved(dropped[rows], self.device)
            own_dropout = None if dropout is None else rows_of(dropout, rows, targets, self.device)
            own_refining = None if refining is None else moved(refining[:, rows], self.device)
            sentences = SentenceBatch(moved(tokens[rows], self.device), own_dropped)
            parts.append(MicroBatch(sentences, moved(eps[rows], self.device)))
            extras.append(Extras(own_dropout, own_refining))
        return Batch(size, tuple(parts), tuple(extras))
