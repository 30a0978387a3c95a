"""The configuration of a fit: everything that decides its result.

Open this to add a field; every field is an option of the command line.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialog_cvae.config import (
    Config,
    DataConfig,
    LanguageModelConfig,
    ModelConfig,
    SentenceModelConfig,
    Share,
    SviConfig,
    TokenizerConfig,
)
from training.schedules import BetaSchedule, LearningRateSchedule

DEFAULT_EPOCHS = 15
TaskName = Literal["dialog", "sentences", "language"]
Sizes = ModelConfig | SentenceModelConfig | LanguageModelConfig
Precision = Literal["fp32", "bf16"]
Steps = Annotated[int, Field(ge=1, le=10**12)]
MAX_THREADS = 1024


class TrainConfig(Config):
    """How long to train, on what batches, and when to look."""

    seed: int = Field(0, ge=0, lt=2**63, description="of initialisation, batch order and noise")
    epochs: Steps | None = Field(
        None, description=f"passes over the training windows; default {DEFAULT_EPOCHS}, unless max_steps is given"
    )
    max_steps: Steps | None = Field(None, description="optimiser updates, in place of epochs")
    batch_size: Steps = Field(30, description="windows in an update, over all processes")
    accumulation: Steps = Field(
        1,
        description="parts that a process's share of a batch goes through the model in, one after the other, for less "
        "memory; the update is the same except for rounding",
    )
    precision: Precision = Field(
        "fp32",
        description="of the matrix products in training; bf16 is faster where the processor multiplies in it, with "
        "weights, gates, losses and the optimiser kept in fp32. A language model's own weights, which are frozen, are "
        "kept in it",
    )
    segment: Steps = Field(
        5, description="neighbouring windows of a conversation that stay together in a batch and share their encoding"
    )
    clip_norm: float = Field(5.0, gt=0, allow_inf_nan=False, description="limit of the gradient's global norm")
    condition_dropout: Share = Field(
        0.1, description="share of windows whose topic or a profile is replaced by the unknown one, which trains it"
    )
    word_dropout: Share = Field(
        0.0,
        description="share of the decoder's input words whose embedding is replaced by zeros, so that z has to say "
        "more; after Bowman et al. (2016), who put the unknown word in their place",
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
        description="nats of KL that cost nothing: the loss takes max(free_bits, KL) of each example",
    )
    free_bits_in: Literal["total", "dimension"] = Field(
        "total", description="whether free_bits are of an example's whole KL or of each latent dimension's"
    )
    svi: SviConfig = SviConfig()
    bow_weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="weight of the bag-of-words loss, never annealed"
    )
    vectors: str | None = Field(
        None,
        description="word vectors to start from: a GloVe or word2vec text file, a name such as glove.6B.100d of a file "
        "in a folder glove beside the corpora, or a gensim downloader name",
    )
    validate_every: Steps | None = Field(None, description="steps between validations; default a quarter of a pass")
    kl_target: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="KL in nats that a PI controller steers to by beta (ControlVAE), which the schedule's beta then "
        "limits; 0 is without",
    )
    control_p: float = Field(0.01, ge=0, allow_inf_nan=False, description="Kp of the controller")
    control_i: float = Field(1e-4, ge=0, allow_inf_nan=False, description="Ki of the controller, for each update")
    autoencoder_share: Share = Field(
        0.0,
        description="share of the run, at its start, that trains an autoencoder (beta 0, z the posterior mean), after "
        "which the decoder is re-initialised and beta's schedule begins; 1 is an autoencoder to the end, validated as "
        "one",
    )
    lagging_updates: int = Field(
        0,
        ge=0,
        le=1_000,
        description="updates of the inference network alone before each of the rest alone (aggressive training)",
    )
    lagging_share: Share = Field(0.2, description="share of the run, at its start, that lagging_updates are for")
    valid_examples: Steps | None = Field(
        None, description="validation examples, the first ones, that each validation scores; default all"
    )
    keep_posteriors: int = Field(
        0,
        ge=0,
        le=100_000,
        description="validation examples, the first ones, whose posterior each validation records in OUT/latents.jsonl",
    )
    early_stopping: bool = Field(True, description="stop by the released code's patience rule on the validation ELBO")
    patience: Steps = Field(10, description="validations to wait at least before stopping early")
    save_every: Steps = Field(500, description="steps between saved states, the most that a killed run loses")
    log_every: Steps = Field(50, description="steps between logged training metrics, which are means over them")
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
        """Updates in one pass over so many training windows, in batches of which only the last may be smaller."""
        return -(-windows // self.batch_size)

    def validation_interval(self, per_epoch: int) -> int:
        """Steps between validations, from the updates in one pass over the training examples."""
        return self.validate_every or max(1, per_epoch // 4)


class FitConfig(Config):
    """A whole experiment; a recipe returns one and a variant changes a field of it.

    `model` gives the sizes of the conditional VAE for conversations, `sentence` those of the unconditional VAE for
    sentences; the corpus decides which of them is fitted. With `language` conversations are modelled by a pre-trained
    language model instead, as the recipe `smollm2` does.
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
        """What the corpus is modelled as; see `training.task`."""
        if self.language is not None:
            return "language"
        return "sentences" if self.corpus.of_sentences else "dialog"

    @property
    def sizes(self) -> Sizes:
        """The sizes of the model that is fitted."""
        if self.language is not None:
            return self.language
        return self.sentence if self.corpus.of_sentences else self.model
