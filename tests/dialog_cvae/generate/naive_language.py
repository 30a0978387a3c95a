"""A language model's checkpoint on a tiny base, and an engine that reads everything again for every token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.base import Condition, Flags, Floats, Ints, Step
from dialog_cvae.engines.torch_language import new_language_model
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.build import weights_of
from dialog_cvae.model.language_cvae import EncodedConversations, LanguageCVAE
from dialog_cvae.model.turn_tensors import TurnTensors
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.storage.find_backbone import open_backbone

SIZES = LanguageModelConfig(
    rank=2, latent_size=3, z_layers=1, hidden_size=5, bow=True, max_context_tokens=40, backbone="tiny.gguf"
)


def language_checkpoint(base: Path, sizes: LanguageModelConfig = SIZES) -> Checkpoint:
    """Random adapters, large enough that mistakes change their output."""
    found = open_backbone(base)
    torch.manual_seed(0)
    model = new_language_model(sizes, found)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    config = CheckpointConfig(
        model=ModelConfig(),
        language=sizes,
        base=found.facts,
        vocab_size=len(found.tokenizer),
        topics=(),
        decoding=Decoding(1.0, 0.9, max_tokens=8, candidates=6),
        provenance=Provenance(data="tiny", step=3),
    )
    return Checkpoint(config, weights_of(model), found.tokenizer, {"kl": 1.5}, "# Tiny\n")


class Row(NamedTuple):
    """A row being decoded: ids of its context with the header, z, and ids since."""

    context: NDArray[np.int64]
    z: Floats
    written: tuple[int, ...] = ()


class Rows(tuple[Row, ...]):
    """`States`."""

    __slots__ = ()

    def joined(self, later: Rows) -> Rows:
        return Rows((*self, *later))

    def kept(self, stay: Flags) -> Rows:
        return Rows(row for row, stays in zip(self, stay, strict=True) if stays)


class NaiveLanguageEngine:
    """`Engine`, one row and one token at a time."""

    name, rows = "naive", 8

    def __init__(self, model: LanguageCVAE) -> None:
        self.model = model.eval()
        self.latent_weight = torch.cat([each.weight for each in model.z_maps]).detach().numpy()

    @torch.inference_mode()
    def condition(self, batch: TurnBatch) -> Condition:
        contexts = [batch.tokens[row, : end + 1] for row, end in zip(batch.block, batch.begin, strict=True)]
        priors = [self.model.prior(self._read(context)[1].condition) for context in contexts]
        mean, logvar = (torch.cat(parts).numpy() for parts in zip(*priors, strict=True))
        return Condition(contexts, mean, logvar)

    def start(self, contexts: Sequence[Any], z: Floats) -> tuple[Ints, Rows]:
        tokens = np.array([context[-1] for context in contexts], dtype=np.int64)
        return tokens, Rows(Row(*each) for each in zip(contexts, z, strict=True))

    @torch.inference_mode()
    def step(self, tokens: Ints, states: Rows, inverse_temperature: Floats, likeliest: int) -> Step:
        rows = Rows(row._replace(written=(*row.written, int(token))) for row, token in zip(states, tokens, strict=True))
        logits = np.stack([self._logits(row) for row in rows])
        ids = np.argsort(-logits, axis=1, kind="stable")[:, :likeliest]
        values = np.take_along_axis(logits, ids, axis=1)
        below = logits - values[:, :1]
        return Step(
            logits, rows, values, ids, np.exp(below).sum(1), np.exp(below * inverse_temperature[:, None]).sum(1)
        )

    @contextmanager
    def side_by_side(self) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool

    def _logits(self, row: Row) -> Floats:
        assert row.written[0] == row.context[-1]
        tensors, read = self._read(row.context, row.written[1:])
        states = self.model._states(tensors, read, torch.from_numpy(row.z)[None])
        logits: Floats = (states[-1] @ self.model.lm.embedding.T).numpy()
        return logits

    def _read(
        self, context: NDArray[np.int64], written: Sequence[int] = ()
    ) -> tuple[TurnTensors, EncodedConversations]:
        tokens = np.concatenate((context, written, [0])).astype(np.int64)[None]  # any token may be the next one
        zero = np.zeros(1, dtype=np.int64)
        batch = TurnBatch(tokens, zero, zero + len(context) - 1, zero + len(written) + 1)
        tensors = TurnTensors.from_arrays(batch)
        return tensors, self.model.encode(tensors)
