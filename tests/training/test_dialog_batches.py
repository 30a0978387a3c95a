"""The batch of a step is a function of the step."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model_config import ModelConfig
from training.config import TrainConfig
from training.dialog_batches import DialogBatches


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_the_batch_of_a_step_does_not_depend_on_where_training_began(encoded: EncodedCorpus, size: int) -> None:
    config = TrainConfig(batch_size=size, condition_dropout=0.3, word_dropout=0.2, segment=3)
    windows = DialogBatches(encoded, config, ModelConfig(max_context=4, latent_size=2))
    per_epoch = -(-len(encoded.responses) // size)
    total = min(3 * per_epoch, 30)
    whole = list(islice(windows.from_step(0), total))
    assert sum(batch.size for batch in whole[:per_epoch]) in (len(encoded.responses), total * size)
    assert all(batch.size == len(batch.parts[0].noise) for batch in whole)
    for step in {0, 1, per_epoch - 1, per_epoch, per_epoch + 1, total - 1} & set(range(total)):
        (ours,), (expected,) = next(windows.from_step(step)).parts, whole[step].parts
        assert torch.equal(ours.noise, expected.noise)
        for name, tensor in ours.windows._asdict().items():
            assert torch.equal(tensor, getattr(expected.windows, name)), (step, name)
