"""The training batches for a language model: neighbouring replies in blocks, a function of seed and step.

Open this to change how replies are put into blocks.

Shape legend: B replies of the whole batch, Z latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dialog_cvae.data.turns import Blocks, EncodedTurns, collate_turns
from dialog_cvae.data.windows import Integers
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.turn_tensors import TurnTensors
from dialog_cvae.nn.devices import moved
from training.batch import FORGETTING, Batch, Extras, MicroBatch, WindowBatches, noise
from training.config import TrainConfig
from training.distributed import SINGLE_PROCESS, World


@dataclass(frozen=True)
class TurnBatches(WindowBatches):
    """Batches of replies; see `training.batch.Batches`.

    Attributes:
        corpus: encoded training conversations, at least one reply.
        config: batch size, accumulation, segment, dropout of topics, and seed.
        model: context tokens and replies of a block, and Z.
        world: the processes that share each batch.
        device: where batches are put.
    """

    corpus: EncodedTurns
    config: TrainConfig
    model: LanguageModelConfig
    world: World = SINGLE_PROCESS
    device: torch.device | str = "cpu"

    def _batch(self, replies: Integers, step: int) -> Batch:
        """This process's part of the batch of `replies` (B,)."""
        config, size = self.config, len(replies)
        # All processes draw noise and blocks of the whole batch, so that neither depends on their number.
        eps = noise(config.seed, step, (size, self.model.latent_size))
        draws = np.random.default_rng((config.seed, step, FORGETTING)).random(size)
        blocks = Blocks.of(self.corpus, replies, self.model.block, draws < config.condition_dropout)
        # Then each takes its own rows.
        parts = []
        for rows in self.world.shards(size, config.accumulation):
            arrays = collate_turns(self.corpus, replies[rows], self.model.max_context_tokens, blocks.rows(rows))
            parts.append(MicroBatch(TurnTensors.from_arrays(arrays, self.device), moved(eps[rows], self.device)))
        return Batch(size, tuple(parts), (Extras(),) * len(parts))
