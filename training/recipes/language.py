"""Recipes of the conditional VAE on a pre-trained language model.

Open this to add such a recipe, or to change a value.
"""

from __future__ import annotations

import torch

from dialog_cvae.config import DataConfig
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.nn.matmul import has_fast_matmul
from training.config import FitConfig, TrainConfig
from training.schedules import BetaSchedule, LearningRateSchedule


def smollm2() -> FitConfig:
    """CVAE+BoW on SmolLM2-135M-Instruct: adapters of rank 16, z of 32, one pass, a rate of 2e-3 that falls to 0.

    Such a strong decoder hardly needs z, so everything that keeps z in use is on. Beta stays at 0 for two fifths of
    each of 2 cycles (half in Optimus, Li et al., 2020), rises over a fifth and is 1 for two fifths. 0.1 nats of KL in
    each dimension are free, 3.2 in all. The bag-of-words head predicts words from z. An update has 16 replies, most of
    them neighbours: a short run learns more from many small updates than from a few large ones. It uses bfloat16 where
    that is faster. Validation scores the first 256 replies: all of them would take longer than the training between two
    validations.
    """
    return FitConfig(
        corpus=DataConfig(style="fluent"),  # text in the style that its base knows
        language=LanguageModelConfig(bow=True, max_context_tokens=160),
        beta=BetaSchedule(cycles=2, hold=0.4, ratio=0.2),
        learning_rate=LearningRateSchedule(kind="linear", peak=2e-3),
        train=TrainConfig(
            epochs=1,
            batch_size=16,
            segment=16,
            precision="bf16" if has_fast_matmul(torch.bfloat16, torch.device("cpu")) else "fp32",
            free_bits=0.1,
            free_bits_in="dimension",
            clip_norm=1.0,
            valid_examples=256,
            validate_every=800,
            save_every=200,
            log_every=20,
            early_stopping=False,
        ),
    )
