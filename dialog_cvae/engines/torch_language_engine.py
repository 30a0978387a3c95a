"""The reference engine of a language model: `LanguageCVAE` in PyTorch, one row at a time, so that rows are independent.

Open it to see decoding without any optimisation; tests compare `onnx_language` with it.

Shape legend: B contexts, R rows, P positions, D width, Z latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.base import ROWS, Condition, Flags, Floats, Ints, Step, one_thread
from dialog_cvae.model.language_cvae import LanguageCVAE, clamped, with_added
from dialog_cvae.nn.devices import on_device
from dialog_cvae.nn.llama import KeysValues


class ReadContext(NamedTuple):
    """A context: its tokens (P,), each layer's keys and values of all but the last, and the state (D,) at the last."""

    tokens: Ints
    seen: tuple[KeysValues, ...]
    condition: Tensor


class RowState(NamedTuple):
    """A row: each layer's keys and values so far, the position of its next token, and z (1, Z)."""

    seen: tuple[KeysValues, ...]
    position: int
    z: Tensor


class RowStates(NamedTuple):
    """`States` of R rows."""

    rows: tuple[RowState, ...]

    def joined(self, later: RowStates) -> RowStates:
        """See `States.joined`."""
        return RowStates((*self.rows, *later.rows))

    def kept(self, stay: Flags) -> RowStates:
        """See `States.kept`."""
        return RowStates(tuple(row for row, stays in zip(self.rows, stay, strict=True) if stays))


class TorchLanguageEngine:
    """`Engine` over a language model.

    Args:
        model: moved to the device.
        device: such as "cpu" or "cuda".

    Raises:
        ConfigError: the device is unknown or absent.
    """

    def __init__(self, model: LanguageCVAE, device: str | torch.device = "cpu") -> None:
        model, self.device = on_device(model, device)
        self._model = model.eval()
        self.name, self.rows = f"PyTorch {torch.__version__} on {self.device}", ROWS
        maps = [each.detach().float().cpu().numpy() for each in model.z_maps.parameters()]
        self.latent_weight: Floats = np.concatenate([*maps, np.zeros((0, model.config.latent_size), np.float32)])

    @torch.inference_mode()
    def condition(self, batch: TurnBatch) -> Condition:
        """See `Engine.condition`."""
        contexts = [
            self._read(batch.tokens[row, : begin + 1]) for row, begin in zip(batch.block, batch.begin, strict=True)
        ]
        priors = [self._model.prior(context.condition[None]) for context in contexts]
        return Condition(
            contexts,
            np.concatenate([prior.mean.cpu().numpy() for prior in priors]),
            np.concatenate([prior.logvar.cpu().numpy() for prior in priors]),
        )

    @torch.inference_mode()
    def start(self, contexts: Sequence[ReadContext], z: Floats) -> tuple[Ints, RowStates]:
        """See `Engine.start`."""
        rows = tuple(
            RowState(context.seen, len(context.tokens) - 1, torch.from_numpy(row[None]).to(self.device))
            for context, row in zip(contexts, z, strict=True)
        )
        return np.array([context.tokens[-1] for context in contexts]), RowStates(rows)

    @torch.inference_mode()
    def step(self, tokens: Ints, states: RowStates, inverse_temperature: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""
        found = [self._advanced(int(token), row) for token, row in zip(tokens, states.rows, strict=True)]
        logits = np.stack([row.float().cpu().numpy() for row, _ in found])
        ids = np.argsort(-logits, axis=1, kind="stable")[:, :likeliest]
        values = np.take_along_axis(logits, ids, axis=1)
        below = logits - values[:, :1]
        masses = np.exp(below).sum(axis=1), np.exp(below * inverse_temperature[:, None]).sum(axis=1)
        return Step(logits, RowStates(tuple(row for _, row in found)), values, ids, *masses)

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """See `Engine.side_by_side`."""
        return one_thread()

    def _read(self, tokens: Ints) -> ReadContext:
        lm = self._model.lm
        rotation = lm.rotation(torch.arange(len(tokens), device=self.device)[None])
        x, seen = lm.embed(torch.from_numpy(tokens[None]).to(self.device)), []
        for layer in lm.layers:
            x, own = layer(x, rotation)
            seen.append(KeysValues(own.keys[:, :, :-1], own.values[:, :, :-1]))
        return ReadContext(tokens, tuple(seen), clamped(lm.normalised(x)[0, -1]))

    def _advanced(self, token: int, row: RowState) -> tuple[Tensor, RowState]:
        """The logits (V,) after one more token, and the row with it."""
        model, lm = self._model, self._model.lm
        rotation = lm.rotation(torch.tensor([[row.position]], device=self.device))
        x, seen = lm.embed(torch.tensor([[token]], device=self.device)), []
        added = [each(row.z).to(x.dtype) for each in model.z_maps]  # (1, D) each
        below = len(lm.layers) - model.z_layers
        for index, (layer, before) in enumerate(zip(lm.layers, row.seen, strict=True)):
            if added and index >= below:
                x = with_added(x, added[index - below])
            everything = x.new_zeros(1, 1, before.keys.shape[2] + 1)
            x, own = layer(x, rotation, everything, before)
            seen.append(before.followed_by(own))
        states = lm.normalised(with_added(x, added[-1]) if added else x)[0, 0]
        return states @ lm.embedding.T, RowState(tuple(seen), row.position + 1, row.z)
