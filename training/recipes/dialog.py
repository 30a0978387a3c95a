"""Recipes of the dialog experiments (Fu et al., 2019, section 6.2).

Open this to add such a recipe, or to change a value.
"""

from __future__ import annotations

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.model_config import ModelConfig
from training.config import FitConfig, TrainConfig
from training.schedules import BetaSchedule, LearningRateSchedule


def paper() -> FitConfig:
    """The paper's model and cyclical schedule (M = 4, R = 0.5), 15 passes, constant learning rate."""
    return FitConfig(train=TrainConfig(patience_at_full_beta=True))


def released() -> FitConfig:
    """The released code's values: cycles of 5,148 updates with a ramp of 3,432, cosine restarts of the learning rate in
    step with them, batches of single windows, every topic and profile known. `--schedule monotonic
    --learning-rate.kind constant` is its baseline, a ramp of 10,000 updates.
    """
    cycle = 5_148
    return FitConfig(
        beta=BetaSchedule(cycle_steps=cycle, ratio=2 / 3, warmup_steps=10_000, first_step=1),
        learning_rate=LearningRateSchedule(kind="cosine_restarts", cycle_steps=cycle),
        train=TrainConfig(epochs=15, segment=1, condition_dropout=0.0, validate_every=1_716),
    )


def small() -> FitConfig:
    """About a tenth of the paper's cost for each example, for a laptop; it uses the roles of own conversations."""
    return FitConfig(
        tokenizer=TokenizerConfig(vocab_size=5_000),
        model=ModelConfig(
            embedding_size=100,
            utterance_size=100,
            context_size=200,
            latent_size=64,
            decoder_size=200,
            prior_size=100,
            bow_size=200,
            role_size=16,
        ),
        train=TrainConfig(epochs=10, patience_at_full_beta=True),
    )


def glove100() -> FitConfig:
    """The paper's model with embeddings of 100 dimensions that really start from GloVe 6B."""
    return FitConfig(
        model=ModelConfig(embedding_size=100),
        train=TrainConfig(vectors="glove.6B.100d", patience_at_full_beta=True),
    )


def sample() -> FitConfig:
    """A tiny model for the synthetic corpus: one or two minutes on two cores, to try all steps."""
    return small().model_copy(
        update={
            "corpus": DataConfig(name="sample"),
            "learning_rate": LearningRateSchedule(peak=3e-3),
            # One thread: small products gain little from a second one, and lose much on shared cores.
            "train": TrainConfig(
                epochs=14, patience_at_full_beta=True, validate_every=100, save_every=200, log_every=20, threads=1
            ),
        }
    )
