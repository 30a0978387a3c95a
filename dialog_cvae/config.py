"""Configuration of model, data and tokenizer: frozen, validated, every field documented with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dialog_cvae.errors import ConfigError

Size = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
SENTENCE_CORPORA = ("ptb", "yelp", "yelp-full", "toy")


class Config(BaseModel):
    """Base of all configuration: unknown fields are refused and nothing changes after construction."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Config):
    """Where conversations come from and how their text reads."""

    name: str = Field(
        "auto",
        description="corpus: swda, zhao2017, sample (synthetic), or the path of a .jsonl file of your own; "
        "auto is swda where its file is found, else sample; ptb, yelp and toy are sentences, for the sentence VAE",
    )
    dir: Path | None = Field(
        None, description="folder with the corpora, looked into before $DIALOG_CVAE_DATA and the download cache"
    )
    style: Literal["zhao", "fluent", "verbatim"] = Field(
        "zhao",
        description="text of swda: zhao (lower case, no punctuation, no uh/um, turns merged), fluent (no false "
        "starts, with punctuation), verbatim (every word as it was said)",
    )
    valid_share: Share = Field(0.1, description="share of a .jsonl file's conversations held out for validation")
    test_share: Share = Field(0.1, description="share of a .jsonl file's conversations held out for testing")

    @property
    def of_sentences(self) -> bool:
        """Whether the corpus is sentences by themselves, which the sentence VAE models, and not conversations."""
        return self.name in SENTENCE_CORPORA


class TokenizerConfig(Config):
    """How text becomes token ids."""

    mode: Literal["word", "space", "unigram"] = Field(
        "word",
        description="word: lower-cased words as in the paper; space: words as they stand between spaces; unigram: "
        "SentencePiece pieces with byte fallback",
    )
    vocab_size: int = Field(10_000, ge=16, le=1_000_000, description="tokens beside the special ones, at most")


class ModelConfig(Config):
    """Sizes of the conditional VAE; the defaults are the paper's (units: neurons, unless a field says otherwise)."""

    embedding_size: Size = Field(200, description="word embedding, shared by encoders and decoder")
    utterance_size: Size = Field(300, description="utterance encoder, per direction of the bidirectional GRU")
    context_size: Size = Field(600, description="context GRU")
    latent_size: int = Field(
        200,
        ge=0,
        le=65_536,
        description="dimensions of z; 0 is the decoder without z, an HRED-type encoder-decoder: its KL is 0, and "
        "reconstruction and ELBO are the exact log p(x | c)",
    )
    decoder_size: Size = Field(400, description="decoder GRU")
    topic_size: Size = Field(30, description="topic embedding")
    prior_size: Size = Field(400, description="hidden layer of the prior network")
    bow_size: Size = Field(400, description="hidden layer of the bag-of-words head")
    bow: bool = Field(False, description="add the bag-of-words head and its loss (CVAE+BoW)")
    skip: bool = Field(
        False,
        description="z also stands beside every input word of the decoder and beside its state where the softmax is "
        "taken (Dieng et al., 2018)",
    )
    posterior_norm: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="gamma of batch normalisation of the posterior means' distance from the prior's (after BN-VAE, Zhu "
        "et al., 2020), which keeps its standard deviation over the data at gamma; 0 is without. Its statistics are of "
        "a whole batch: it is refused in several processes and with train.accumulation above 1",
    )
    max_context: int = Field(9, ge=1, le=64, description="context utterances a response sees, at most")
    max_utterance_tokens: int = Field(
        40,
        ge=4,
        le=1024,
        description="tokens of an utterance with <s> and </s>; a longer one keeps its first and its last",
    )
    initialisation: Literal["uniform", "torch"] = Field(
        "uniform",
        description="uniform: the official code's U(-0.08, 0.08) for embeddings, recurrences and output, Xavier "
        "elsewhere; torch: the framework's own",
    )


class LlamaConfig(Config):
    """Sizes of a Llama-type language model, as its file says."""

    layers: Size
    width: Size = Field(description="of the states between layers")
    heads: Size = Field(description="query heads; the width is a multiple of them")
    kv_heads: Size = Field(description="key and value heads; the query heads are a multiple of them")
    mlp_size: Size = Field(description="hidden units of a layer's MLP")
    vocab_size: int = Field(ge=1, le=2**24)
    rope_theta: float = Field(10_000.0, gt=0, allow_inf_nan=False, description="base of the rotary positions")
    norm_epsilon: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to a mean square before its root")
    max_positions: int = Field(ge=1, description="tokens of a sequence, at most")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError(
                f"width {self.width} must be an even multiple of heads {self.heads}, and heads a multiple of "
                f"kv_heads {self.kv_heads}"
            )
        return self

    @property
    def head_size(self) -> int:
        """Dimensions of a head."""
        return self.width // self.heads


class BackboneFacts(Config):
    """A pre-trained language model: what adapters must find again."""

    name: str = Field(description="as its file says")
    licence: str | None = Field(description="as its file says; null where it does not")
    sha256: str = Field(description="of the file of its weights")
    sizes: LlamaConfig


class LanguageModelConfig(Config):
    """Sizes of the conditional VAE whose encoder and decoder are a pre-trained language model with adapters."""

    posterior_norm: ClassVar[float] = 0.0
    """The posterior's means are not normalised."""

    backbone: str = Field("smollm2", description="smollm2, or the path of a Llama-type folder or GGUF file")
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="of the file of its weights: another file is refused; default: of the file that is found",
    )
    rank: int = Field(16, ge=1, le=1024, description="of the adapters of every linear map")
    alpha: float = Field(16.0, gt=0, allow_inf_nan=False, description="adapters count alpha / rank")
    latent_size: int = Field(32, ge=0, le=65_536, description="dimensions of z; 0 is the language model without z")
    z_layers: Size = Field(
        10,
        description="uppermost layers that z enters; those below are computed once, with and without z",
    )
    hidden_size: Size = Field(256, description="hidden layer of prior and recognition network and bag-of-words head")
    bow: bool = Field(False, description="add the bag-of-words head and its loss (CVAE+BoW)")
    plain_weight: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="weight of the loss of the same replies without z: it keeps the language model whole, and the "
        "use of z is measured against it",
    )
    block: Size = Field(
        16, description="neighbouring replies, at most, that share one reading of the conversation before them"
    )
    max_context_tokens: int = Field(256, ge=8, le=8192, description="tokens before a block's first reply, at most")
    max_reply_tokens: int = Field(
        96, ge=4, le=1024, description="tokens of a reply; a longer one is cut, and its end is then not learnt"
    )


class SviConfig(Config):
    """Refinement of q(z | x) by gradient descent (Kim et al., 2018); see `dialog_cvae.model.svi`.

    The defaults but for the steps are what the released code's values for the Penn Treebank (10 steps, rate 1, norm 5,
    of means over a batch of 32) come to for each sentence: a rate of 1 / 32 and, where sentences are alike, a norm of
    5 sqrt(32).
    """

    steps: int = Field(0, ge=0, le=1000, description="steps of descent; 0 is no refinement, the ordinary VAE")
    rate: float = Field(1 / 32, gt=0.0, le=1e6, description="of the descent, for mean and log variance")
    momentum: float = Field(0.5, ge=0.0, lt=1.0, description="share of the last step that the next one keeps")
    clip_norm: float | None = Field(28.0, gt=0.0, description="largest norm of a gradient; null for any")
    scope: Literal["example", "batch"] = Field(
        "example",
        description="example: each example descends on its own objective, clipped by its own norm; batch: on the mean "
        "over what goes through the model together, clipped over all of it, as released",
    )
    noise: Literal["fixed", "fresh"] = Field(
        "fixed",
        description="of z in the steps: fixed, one draw for all of them; fresh, one for each, as released. The loss "
        "after the last step has a draw of its own",
    )
    gradient: Literal["exact", "finite_differences"] = Field(
        "exact",
        description="exact: differentiate the steps, their gradients included; finite_differences: the second "
        "derivatives by central differences, in the memory of one step",
    )


class SentenceModelConfig(Config):
    """Sizes of the unconditional VAE of sentences; the defaults are those of the released code for the Penn Treebank
    (units: neurons, unless a field says otherwise).
    """

    bow: ClassVar[bool] = False
    """It has no bag-of-words head."""

    embedding_size: Size = Field(256, description="word embedding")
    shared_embedding: bool = Field(False, description="one embedding for encoder and decoder, not one for each")
    encoder: Literal["lstm", "cnn"] = Field("lstm", description="lstm, or the released Yelp code's convolutions")
    encoder_size: Size = Field(256, description="encoder LSTM; without effect on convolutions")
    filters: Size = Field(300, description="of the encoder's first convolution; the next have 2 and 3 times as many")
    filter_width: int = Field(5, ge=3, le=64, description="words that a filter of the encoder's convolutions spans")
    unit_embedding: bool = Field(False, description="words' vectors are scaled to length 1 wherever they are used")
    decoder_size: Size = Field(256, description="decoder LSTM")
    layers: int = Field(1, ge=1, le=16, description="LSTM layers of encoder and decoder")
    latent_size: int = Field(32, ge=0, le=65_536, description="dimensions of z; 0 is the language model without z")
    z_to_state: bool = Field(True, description="the decoder's first state is a linear function of z, else 0")
    z_to_inputs: bool = Field(True, description="z stands beside every input word of the decoder")
    skip: bool = Field(
        False,
        description="z also stands beside the input of every further layer of the decoder and of its softmax (Dieng et "
        "al., 2018)",
    )
    posterior_norm: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="gamma of batch normalisation of the posterior means (BN-VAE, Zhu et al., 2020), which keeps their "
        "standard deviation over the data at gamma; 0 is without. Its statistics are of a whole batch: it is refused "
        "in several processes and with train.accumulation above 1",
    )
    tied_output: bool = Field(
        False, description="the softmax's weights are the decoder's embedding, after a linear map from its state"
    )
    initial_range: float = Field(
        0.1,
        ge=0,
        allow_inf_nan=False,
        description="all weights start from U(-range, range); 0 is the framework's start",
    )
    max_tokens: int = Field(
        128,
        ge=4,
        le=1024,
        description="tokens of a sentence with <s> and </s>; a longer one keeps its first and its last",
    )

    @model_validator(mode="after")
    def _fits_filters(self) -> Self:
        if self.encoder == "cnn" and self.max_tokens < self.filter_width:
            raise ValueError(
                f"max_tokens must be at least filter_width, {self.filter_width}, for the convolutions, "
                f"but is {self.max_tokens}"
            )
        return self


MAX_TOKENS = 1000
MAX_CANDIDATES = 256  # selecting among them takes a fraction of the time that drawing them does
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0  # beside 0; outside, sampling is greedy or uniform in all but name


@dataclass(frozen=True, slots=True)
class Decoding:
    """How replies are drawn: z from the prior, then its tokens.

    Attributes:
        temperature: 0 takes the likeliest token, as the paper does; 1 samples from the model's distribution; from 0.01
            to 10 otherwise.
        top_p: nucleus sampling: only the likeliest tokens that together have this probability (Holtzman et al., 2020).
        max_tokens: tokens at most, `</s>` included; up to 1000.
        allow_unknown: whether the unknown word may be generated.
        prior_temperature: what the prior's standard deviations are multiplied by, from 0 (z is its mean, and at
            temperature 0 all replies are equal) to 10; 1 is the model's own prior.
        candidates: draws from which the replies to a context are selected (see `selection`), at most 256, and never
            fewer than the replies wanted; 0 takes the first draws instead.

    Raises:
        ConfigError: a field is out of its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 40
    allow_unknown: bool = False
    prior_temperature: float = 1.0
    candidates: int = 0

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # where it is read from a file

    def __post_init__(self) -> None:
        if self.temperature != 0 and not MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"temperature must be 0 or from {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}, but is {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, but is {self.top_p}")
        if not 1 <= self.max_tokens <= MAX_TOKENS:
            raise ConfigError(f"max_tokens must be from 1 to {MAX_TOKENS}, but is {self.max_tokens}")
        if not 0 <= self.prior_temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"prior_temperature must be from 0 to {MAX_TEMPERATURE:g}, but is {self.prior_temperature}"
            )
        if not 0 <= self.candidates <= MAX_CANDIDATES:
            raise ConfigError(f"candidates must be from 0 to {MAX_CANDIDATES}, but is {self.candidates}")
