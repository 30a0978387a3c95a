"""The configuration of a fit: everything that affects its result.

Open this to add a field; every field is an option of the command line.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialog_cvae.config import Config, DataConfig, Share, TokenizerConfig
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig, SviConfig
from training.schedules import BetaSchedule, LearningRateSchedule

DEFAULT_EPOCHS = 15
TaskName = Literal["dialog", "sentences", "language"]
Sizes = ModelConfig | SentenceModelConfig | LanguageModelConfig
Precision = Literal["fp32", "bf16"]
Steps = Annotated[int, Field(ge=1, le=10**12)]
MAX_THREADS = 1024


class TrainConfig(Config):
    """Duration, batches, objective and validation of a fit."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of initialisation, batch order and noise")
    epochs: Steps | None = Field(
        None, description=f"passes over the training windows; default {DEFAULT_EPOCHS}, unless max_steps is given"
    )
    max_steps: Steps | None = Field(None, description="optimiser updates; replaces epochs")
    max_minutes: float | None = Field(
        None,
        gt=0,
        le=10**6,
        description="minutes for updates and validations, not for --report: a run that would take longer gets fewer "
        "steps, by a speed that is measured at its start; its schedules then end with these",
    )
    batch_size: Steps = Field(30, description="windows in an update, over all processes")
    accumulation: Steps = Field(
        1,
        description="number of parts of a process's share of a batch, which go through the model one after the other "
        "to save memory; the update is the same except for rounding",
    )
    precision: Precision = Field(
        "fp32",
        description="precision of the matrix products in training; bf16 is faster on some processors, and a note says "
        "where it is not; weights, gates, losses and the optimiser stay in fp32, except for a language model's own "
        "weights, which are frozen",
    )
    segment: Steps = Field(
        5, description="neighbouring windows of a conversation that stay together in a batch and share their encoding"
    )
    clip_norm: float = Field(5.0, gt=0, allow_inf_nan=False, description="limit of the gradient's global norm")
    condition_dropout: Share = Field(
        0.1,
        description="share of windows whose topic, a profile or roles are replaced by the unknown ones, which trains "
        "them",
    )
    word_dropout: Share = Field(
        0.0,
        description="share of the decoder's input words whose embedding is replaced by zeros, so that z has to carry "
        "more; after Bowman et al. (2016), who use the unknown word instead",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the decoder's embedded inputs, and of its states before the softmax, that an update sets "
        "to 0",
    )
    free_bits: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="nats of KL without cost: the loss takes max(free_bits, KL) of each example",
    )
    free_bits_in: Literal["total", "dimension"] = Field(
        "total", description="whether free_bits apply to an example's total KL or to each latent dimension"
    )
    svi: SviConfig = SviConfig()
    bow_weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="weight of the bag-of-words loss, never annealed"
    )
    vectors: str | None = Field(
        None,
        description="word vectors to start from: a GloVe or word2vec text file, the name of a file in the folder glove "
        "next to the corpora, such as glove.6B.100d, or a gensim downloader name",
    )
    validate_every: Steps | None = Field(None, description="steps between validations; default a quarter of a pass")
    kl_target: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="KL in nats that a PI controller reaches by changing beta (ControlVAE); the schedule's beta is "
        "then its limit; 0 means no controller",
    )
    control_p: float = Field(0.01, ge=0, allow_inf_nan=False, description="Kp of the controller")
    control_i: float = Field(1e-4, ge=0, allow_inf_nan=False, description="Ki of the controller, for each update")
    autoencoder_share: Share = Field(
        0.0,
        description="share of the run, at its start, that trains an autoencoder (beta 0, z the posterior mean), after "
        "which the decoder is re-initialised and beta's schedule begins; until then no validation counts for the best "
        "checkpoint or for early stopping; 1 trains and validates an autoencoder to the end",
    )
    lagging_updates: int = Field(
        0,
        ge=0,
        le=1_000,
        description="updates of only the inference network before each update of only the rest (aggressive training)",
    )
    lagging_share: Share = Field(0.2, description="share of the run, at its start, that uses lagging_updates")
    valid_examples: Steps | None = Field(
        None,
        description="number of validation examples, the first ones of the split, that each validation scores; default "
        "all",
    )
    keep_posteriors: int = Field(
        0,
        ge=0,
        le=100_000,
        description="number of first validation examples whose posteriors are recorded in OUT/latents.jsonl",
    )
    early_stopping: bool = Field(True, description="stop by the released code's patience rule on the validation ELBO")
    patience: Steps = Field(10, description="minimum validations before early stopping")
    patience_at_full_beta: bool = Field(
        False,
        description="count only validations at full beta, so that early stopping does not end a run while beta rises; "
        "the released code, with 3 validations in a cycle, counts all",
    )
    save_every: Steps = Field(500, description="steps between saved states; a killed run loses at most these")
    log_every: Steps = Field(50, description="steps between logged training metrics, which are means over these steps")
    threads: int | None = Field(
        None, ge=1, le=MAX_THREADS, description="CPU threads of each process; default PyTorch's choice"
    )

    @model_validator(mode="after")
    def _one_duration(self) -> Self:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError(f"give epochs ({self.epochs}) or max_steps ({self.max_steps}), not both")
        return self

    def total_steps(self, per_epoch: int) -> int:
        """T, fixed at the start of a run, from the updates in one pass over the training examples."""
        return self.max_steps or (self.epochs or DEFAULT_EPOCHS) * per_epoch

    def steps_per_epoch(self, windows: int) -> int:
        """Updates in one pass over the training windows; only the last batch may be smaller."""
        return -(-windows // self.batch_size)

    def validation_interval(self, per_epoch: int) -> int:
        """Steps between validations, from the updates in one pass over the training examples."""
        return self.validate_every or max(1, per_epoch // 4)


class FitConfig(Config):
    """The configuration of an experiment. A recipe returns one; a variant changes a field of it.

    `model` gives the sizes of the conditional VAE for conversations, `sentence` those of the unconditional VAE for
    sentences; the corpus decides which one is fitted. With `language`, as in the recipe `smollm2`, conversations are
    modelled by a pre-trained language model instead.
    """

    corpus: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    sentence: SentenceModelConfig = SentenceModelConfig()
    language: LanguageModelConfig | None = Field(
        None, description="sizes of what is added to a pre-trained language model; null fits a model of its own"
    )
    beta: BetaSchedule = BetaSchedule()
    learning_rate: LearningRateSchedule = LearningRateSchedule()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _normalised_together(self) -> Self:
        if self.sizes.posterior_norm and self.train.accumulation > 1:
            raise ValueError(
                "posterior_norm takes the statistics of what goes through the model together, the whole batch: "
                f"train.accumulation must be 1, but is {self.train.accumulation}"
            )
        if self.train.svi.is_joint and self.train.accumulation > 1:
            raise ValueError(
                "train.svi.scope batch refines what goes through the model together, the whole batch: "
                f"train.accumulation must be 1, but is {self.train.accumulation}"
            )
        return self

    @model_validator(mode="after")
    def _has_z(self) -> Self:
        if self.sizes.latent_size:
            return self
        train = self.train
        needing_z = {
            "train.lagging_updates": train.lagging_updates,
            "train.svi.steps": train.svi.steps,
            "train.kl_target": train.kl_target,
            "train.autoencoder_share": train.autoencoder_share,
            "posterior_norm": self.sizes.posterior_norm,
        }
        for name, value in needing_z.items():
            if value:
                raise ValueError(f"latent_size must be at least 1 with {name} {value}, but is 0")
        return self

    @model_validator(mode="after")
    def _fits_language_model(self) -> Self:
        if self.language is None:
            return self
        if self.corpus.of_sentences:
            raise ValueError(f"language models conversations, but corpus {self.corpus.name} holds sentences")
        train = self.train
        refused = {
            "train.svi.steps": (train.svi.steps, "each step would read the reply again through the language model"),
            "train.word_dropout": (train.word_dropout, "the reply's words are read once, with and without z"),
            "train.dropout": (train.dropout, "the reply's words are read once, with and without z"),
            "train.vectors": (train.vectors, "the language model has embeddings of its own"),
        }
        for name, (value, reason) in refused.items():
            if value:
                raise ValueError(f"{name} cannot be used on a language model, but is {value}: {reason}")
        return self

    @property
    def task(self) -> TaskName:
        """The task of the corpus; see `training.task`."""
        if self.language is not None:
            return "language"
        return "sentences" if self.corpus.of_sentences else "dialog"

    @property
    def sizes(self) -> Sizes:
        """The sizes of the model to fit."""
        if self.language is not None:
            return self.language
        return self.sentence if self.corpus.of_sentences else self.model
