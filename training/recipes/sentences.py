"""Recipes of the experiments with sentences (Fu et al., 2019, sections 4, 6.1 and 6.3).

Open this to add such a recipe, or to change a value.
"""

from __future__ import annotations

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.model_config import SentenceModelConfig
from training.config import FitConfig, TrainConfig
from training.schedules import BetaSchedule, LearningRateSchedule

WORDS = TokenizerConfig(mode="space")


def toy() -> FitConfig:
    """Section 4: ten one-hot sequences, two-dimensional z, LSTMs of two layers and 64 units, 40,000 updates.

    The paper does not give batches, optimiser and rate: here a batch is the whole corpus, and Adam's rate is 1e-3. Its
    monotonic schedule rises over the first quarter.
    """
    return FitConfig(
        corpus=DataConfig(name="toy"),
        tokenizer=WORDS,
        sentence=SentenceModelConfig(
            embedding_size=10, encoder_size=64, decoder_size=64, layers=2, latent_size=2, initial_range=0
        ),
        beta=BetaSchedule(warmup_steps=10_000),
        train=TrainConfig(
            max_steps=40_000,
            batch_size=10,
            validate_every=500,
            save_every=2_500,
            log_every=100,
            early_stopping=False,
            keep_posteriors=10,
        ),
    )


def ptb() -> FitConfig:
    """Section 6.1 with the values of the released code: 40 passes in batches of at most 32 sentences of one length,
    dropout 0.5, every weight from U(-0.1, 0.1). Beta starts at 0.1 and reaches 1 after 0.45 of each of 4 cycles.
    `--learning-rate.kind cosine_restarts` is the released cyclical learning rate. The released baseline M rises over 9
    passes: `--schedule monotonic --beta.ratio 0.225`; without that ratio it would rise over 0.45 of the run, 18 passes.
    """
    return FitConfig(
        corpus=DataConfig(name="ptb"),
        tokenizer=WORDS,
        beta=BetaSchedule(ratio=0.45, start=0.1),
        train=TrainConfig(epochs=40, batch_size=32, dropout=0.5, early_stopping=False),
    )


def ptb_small() -> FitConfig:
    """About a tenth of `ptb`'s cost for each sentence, and 3 passes instead of 40, for one core. Only the 2,000 most
    frequent of 10,000 words are known (86% of the text): a softmax over all words would take most of the time.
    """
    config = ptb()
    train = {"epochs": None, "max_steps": 4_000, "validate_every": 1_000, "dropout": 0.2}
    return config.model_copy(
        update={
            "tokenizer": WORDS.model_copy(update={"vocab_size": 2_000}),
            "sentence": SentenceModelConfig(embedding_size=64, encoder_size=64, decoder_size=64),
            "learning_rate": LearningRateSchedule(peak=2e-3),
            "train": config.train.model_copy(update=train),
        }
    )


def yelp() -> FitConfig:
    """Section 6.3 with the values of the released code: convolutions, z of 256, 100 passes of Adam at 1e-4; cyclical
    beta has 10 cycles of 10 passes. The released baseline M rises over 10 passes: `--schedule monotonic --beta.ratio
    0.1`; without that ratio it would rise over half of the run, 50 passes. `--train.autoencoder-share 1` is the
    autoencoder.

    Two differences: in the released code the learning rate of its baseline M falls by 1% every 2 passes, which is not
    possible here; and its loss includes padding, while a batch here has sentences of one length.
    """
    return FitConfig(
        corpus=DataConfig(name="yelp"),
        tokenizer=WORDS,
        sentence=SentenceModelConfig(
            encoder="cnn",
            max_tokens=17,
            latent_size=256,
            shared_embedding=True,
            unit_embedding=True,
            tied_output=True,
            initial_range=0,
        ),
        beta=BetaSchedule(cycles=10),
        learning_rate=LearningRateSchedule(peak=1e-4, cycles=10),
        train=TrainConfig(epochs=100, batch_size=32, dropout=0.5, clip_norm=1e6, early_stopping=False),
    )


def yelp_small() -> FitConfig:
    """About a twentieth of `yelp`'s cost for each sentence, 4,000 updates (3 passes) in 4 cycles, for one core."""
    config = yelp()
    train = {"epochs": None, "max_steps": 4_000, "validate_every": 400, "dropout": 0.2, "clip_norm": 5.0}
    return config.model_copy(
        update={
            "sentence": config.sentence.model_copy(
                update={"embedding_size": 64, "decoder_size": 64, "filters": 48, "latent_size": 32}
            ),
            "beta": BetaSchedule(),
            "learning_rate": LearningRateSchedule(peak=1e-3),
            "train": config.train.model_copy(update=train),
        }
    )
