"""The training batches of conversations: windows in training order, a function of seed and step.

Open this to change what is hidden from the model in training.

Shape legend: B windows of the whole batch, T target tokens, Z latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dialog_cvae.data.batches import collate, drop_conditions, drop_roles
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.windows import Integers
from dialog_cvae.model.cvae import TensorBatch
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from training.batch import (
    FORGETTING,
    Batch,
    Extras,
    MicroBatch,
    WindowBatches,
    dropout_of,
    dropped_words,
    noise,
    refining_noise,
    rows_of,
)
from training.config import TrainConfig
from training.distributed import SINGLE_PROCESS, World


@dataclass(frozen=True)
class DialogBatches(WindowBatches):
    """Batches of windows; see `training.batch.Batches`.

    Attributes:
        corpus: encoded training conversations, at least one window.
        config: batch size, accumulation, segment, dropout of conditions and words, and seed.
        model: maximum number of context utterances, and Z.
        world: the processes that share each batch.
        device: of the batches.
    """

    corpus: EncodedCorpus
    config: TrainConfig
    model: ModelConfig
    world: World = SINGLE_PROCESS
    device: torch.device | str = "cpu"

    def _batch(self, responses: Integers, step: int) -> Batch:
        """This process's part of the windows that end in `responses` (B,)."""
        config, size = self.config, len(responses)
        # All processes draw the noise of the whole batch, so that it does not depend on their number.
        eps = noise(config.seed, step, (size, self.model.latent_size))
        forgetting = np.random.default_rng((config.seed, step, FORGETTING))
        draws, role_draws = forgetting.random((size, 3)), forgetting.random((size, 3))
        dropped = dropped_words(config, step, (size, self.model.max_utterance_tokens - 1))
        dropout = self._dropout(responses, step)
        refining = refining_noise(config, step, (size, self.model.latent_size))
        # Then each takes its own rows.
        parts, extras = [], []
        for rows in self.world.shards(size, config.accumulation):
            arrays = collate(self.corpus, responses[rows], self.model.max_context)
            arrays = drop_conditions(arrays, config.condition_dropout, draws[rows])
            arrays = drop_roles(arrays, config.condition_dropout, role_draws[rows])
            windows = TensorBatch.from_arrays(arrays, self.device)
            longest = int(windows.target_lengths.max())
            if dropped is not None:
                windows = windows._replace(dropped=moved(dropped[rows, :longest], self.device))
            own_dropout = None if dropout is None else rows_of(dropout, rows, longest, self.device)
            own_refining = None if refining is None else moved(refining[:, rows], self.device)
            parts.append(MicroBatch(windows, moved(eps[rows], self.device)))
            extras.append(Extras(own_dropout, own_refining))
        return Batch(size, tuple(parts), tuple(extras))

    def _dropout(self, responses: Integers, step: int) -> Dropout | None:
        if self.config.dropout == 0:
            return None
        ends = self.corpus.offsets[responses.astype(np.int64) + 1].astype(np.int64)
        longest = int((ends - self.corpus.offsets[responses].astype(np.int64)).max()) - 1
        return dropout_of(
            self.config, step, (len(responses), longest), (self.model.embedding_size, self.model.decoder_size)
        )
