"""Configuration of model, data and tokenizer: frozen, validated, every field documented with its unit.

Open it to change what an option of a command line means: each `description` is the help text of its option.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dialog_cvae.errors import ConfigError
from dialog_cvae.limits import visible

Size = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
# An option of a command line is text.
Reading = Annotated[Literal[1, 2], BeforeValidator(lambda given: int(given) if given in ("1", "2") else given)]
FILTER_STRIDE = 2  # of the first two convolutions of the sentence VAE's CNN encoder
SENTENCE_CORPORA = ("ptb", "yelp", "yelp-full", "toy")


class Config(BaseModel):
    """Base of all configuration: unknown fields are refused, and an instance never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Config):
    """Where conversations come from and how their text reads."""

    name: str = Field(
        "auto",
        description="corpus: swda, zhao2017, sample (synthetic), or the path of your own .jsonl file or of a chat or "
        "data set that dialog-cvae import reads; auto is swda if its file is found, else sample; ptb, yelp, yelp-full "
        "and toy hold sentences, for the sentence VAE",
    )
    dir: Path | None = Field(
        None, description="folder with the corpora, searched before $DIALOG_CVAE_DATA and the download cache"
    )
    style: Literal["zhao", "fluent", "verbatim"] = Field(
        "zhao",
        description="form of the text of swda: zhao (lower case, no punctuation, no uh/um, turns merged), fluent (no "
        "false starts, with punctuation), verbatim (every word as spoken)",
    )
    valid_share: Share = Field(0.1, description="share of a .jsonl file's conversations held out for validation")
    test_share: Share = Field(0.1, description="share of a .jsonl file's conversations held out for testing")
    reading: Reading = Field(
        2,
        description="rules of reading. 2: copies of a conversation and long messages are treated as the documentation "
        "of your own conversations says; 1: as before there were these rules (the first words of a long message and "
        "</s>), which a run of that time keeps when it is resumed",
    )

    respond_as: tuple[str, ...] = Field(
        (),
        description="names of speakers, such as agent: only their utterances are learnt and evaluated as replies, all "
        "others are context; default: every utterance is a reply",
    )

    @model_validator(mode="after")
    def _has_speakers(self) -> Self:
        if self.respond_as and self.of_sentences:
            raise ValueError(f"respond_as names speakers, but corpus {self.name} holds sentences")
        if blank := [name for name in self.respond_as if not visible(name)]:
            raise ValueError(f"respond_as must hold names with a visible character, but has {blank[0]!r}")
        return self

    @property
    def of_sentences(self) -> bool:
        """Whether the corpus holds single sentences, for the sentence VAE, instead of conversations."""
        return self.name in SENTENCE_CORPORA


class TokenizerConfig(Config):
    """How text becomes token ids."""

    mode: Literal["word", "space", "unigram"] = Field(
        "word",
        description="unit of text that is one token. word: lower-cased words, as in the paper; space: the text between "
        "spaces, unchanged; unigram: SentencePiece pieces with byte fallback",
    )
    vocab_size: int = Field(
        10_000, ge=16, le=1_000_000, description="maximum number of tokens, without the special ones"
    )


class ModelConfig(Config):
    """Sizes of the conditional VAE; the defaults are the paper's."""

    embedding_size: Size = Field(200, description="dimensions of a word's embedding, shared by encoders and decoder")
    utterance_size: Size = Field(
        300, description="units of the utterance encoder, a bidirectional GRU, in each direction"
    )
    context_size: Size = Field(600, description="units of the context GRU")
    latent_size: int = Field(
        200,
        ge=0,
        le=65_536,
        description="dimensions of z; 0 leaves an encoder-decoder like HRED, without z: its KL is 0, and its ELBO "
        "is the exact log p(x | c)",
    )
    decoder_size: Size = Field(400, description="units of the decoder GRU")
    topic_size: Size = Field(30, description="dimensions of a topic's embedding")
    role_size: int = Field(
        0,
        ge=0,
        le=65_536,
        description="dimensions of a role's embedding, for your own conversations: who says each utterance and who "
        "replies, such as customer and agent, as dialog-cvae check lists them; without roles in them, and with 0, the "
        "model knows of a speaker only whether it is the one who replies",
    )
    prior_size: Size = Field(400, description="units of the prior network's hidden layer")
    bow_size: Size = Field(400, description="units of the bag-of-words head's hidden layer")
    bow: bool = Field(False, description="bag-of-words head and its loss (CVAE+BoW)")
    skip: bool = Field(
        False,
        description="skip connections (Dieng et al., 2018): z is also concatenated to every input of the decoder and "
        "to its states before the softmax",
    )
    posterior_norm: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="gamma, the standard deviation over the data to which batch normalisation sets the distance "
        "between posterior and prior means (after BN-VAE, Zhu et al., 2020); 0 turns it off. It needs whole batches: "
        "it is refused with several processes and with train.accumulation above 1",
    )
    max_context: int = Field(9, ge=1, le=64, description="maximum number of context utterances before a response")
    max_utterance_tokens: int = Field(
        40,
        ge=4,
        le=1024,
        description="maximum number of tokens of an utterance, <s> and </s> included; of a longer one the beginning is "
        "learnt as a reply, and its first and last tokens are read as context",
    )
    initialisation: Literal["uniform", "torch"] = Field(
        "uniform",
        description="distribution of the initial weights. uniform: U(-0.08, 0.08) for embeddings, GRUs and output, "
        "Xavier elsewhere, as in the official code; torch: PyTorch's defaults",
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

    state_limit: ClassVar[float] = 4.0
    """The latent networks read states within -4 and 4: a few dimensions of a language model's states are tens
    of times larger."""

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
        96,
        ge=4,
        le=1024,
        description="tokens of a reply that are learnt, at most; the last ones of a longer utterance, as many again, "
        "are read as context",
    )


class SviConfig(Config):
    """Refinement of q(z | x) by gradient descent (Kim et al., 2018); see `dialog_cvae.model.svi`.

    The defaults of `rate` and `clip_norm` are the released code's values for the Penn Treebank (10 steps, rate 1, norm
    5, for means over a batch of 32), converted to single sentences: a rate of 1 / 32 and, if sentences have similar
    gradients, a norm of 5 sqrt(32).
    """

    steps: int = Field(
        0, ge=0, le=1000, description="steps of gradient descent; 0 is the ordinary VAE, without refinement"
    )
    rate: float = Field(1 / 32, gt=0.0, le=1e6, description="step size of the descent, for mean and log variance")
    momentum: float = Field(0.5, ge=0.0, lt=1.0, description="momentum: share of a step that is added to the next one")
    clip_norm: float | None = Field(28.0, gt=0.0, description="maximum norm of a gradient; null is no limit")
    scope: Literal["example", "batch"] = Field(
        "example",
        description="objective of the descent. example: each example's own, clipped by its own norm; batch: the mean "
        "over the examples processed together, clipped by their joint norm, as in the released code",
    )
    noise: Literal["fixed", "fresh"] = Field(
        "fixed",
        description="noise of z in the steps. fixed: one draw for all steps; fresh: a new draw for each step, as in "
        "the released code. The loss after the last step always has a new draw",
    )
    gradient: Literal["exact", "finite_differences"] = Field(
        "exact",
        description="method of differentiating through the steps. exact: second derivatives by autograd; "
        "finite_differences: second derivatives by central differences, with the memory of a single step",
    )


class SentenceModelConfig(Config):
    """Sizes of the unconditional sentence VAE; the defaults are the released code's for the Penn Treebank."""

    bow: ClassVar[bool] = False
    """It has no bag-of-words head."""

    embedding_size: Size = Field(256, description="dimensions of a word's embedding")
    shared_embedding: bool = Field(False, description="encoder and decoder share one embedding")
    encoder: Literal["lstm", "cnn"] = Field(
        "lstm", description="encoder: lstm, or cnn, the convolutions of the released Yelp code"
    )
    encoder_size: Size = Field(256, description="units of the encoder LSTM; no effect on cnn")
    filters: Size = Field(
        300, description="filters of the first convolution of cnn; the next two have 2 and 3 times as many"
    )
    filter_width: int = Field(5, ge=3, le=64, description="words that a filter of cnn spans")
    unit_embedding: bool = Field(False, description="word vectors are scaled to length 1")
    decoder_size: Size = Field(256, description="units of the decoder LSTM")
    layers: int = Field(1, ge=1, le=16, description="LSTM layers of encoder and decoder")
    latent_size: int = Field(32, ge=0, le=65_536, description="dimensions of z; 0 is a language model without z")
    z_to_state: bool = Field(
        True, description="the decoder's initial state is a linear function of z; otherwise it is 0"
    )
    z_to_inputs: bool = Field(True, description="z is concatenated to every input word of the decoder")
    skip: bool = Field(
        False,
        description="skip connections (Dieng et al., 2018): z is also concatenated to the inputs of the decoder's "
        "second and later layers and of its softmax",
    )
    posterior_norm: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="gamma, the standard deviation over the data to which batch normalisation sets the posterior "
        "means (BN-VAE, Zhu et al., 2020); 0 turns it off. It needs whole batches: it is refused with several "
        "processes and with train.accumulation above 1",
    )
    tied_output: bool = Field(
        False, description="the softmax uses the decoder's embedding as its weights, after a linear map of the state"
    )
    initial_range: float = Field(
        0.1,
        ge=0,
        allow_inf_nan=False,
        description="range of the initial weights, U(-range, range); 0 means PyTorch's defaults",
    )
    max_tokens: int = Field(
        128,
        ge=4,
        le=1024,
        description="maximum number of tokens of a sentence, <s> and </s> included; of a longer one the first tokens "
        "and </s> are kept",
    )

    @model_validator(mode="after")
    def _fits_filters(self) -> Self:
        if self.encoder == "cnn" and self.max_tokens < self.filter_width:
            raise ValueError(
                f"max_tokens must be at least filter_width, {self.filter_width}, for the convolutions, "
                f"but is {self.max_tokens}"
            )
        return self

    @property
    def padded_width(self) -> int:
        """Width of the input of the convolutions: a sentence with `filter_width` - 1 zero vectors on each side."""
        return self.max_tokens + 2 * (self.filter_width - 1)

    @property
    def last_filter_width(self) -> int:
        """Width of the third convolution, which spans all outputs of the first two."""
        places = self.padded_width
        for _ in range(2):
            places = (places - self.filter_width) // FILTER_STRIDE + 1
        return places


MAX_TOKENS = 1000
MAX_CANDIDATES = 256  # selecting among so many takes much less time than drawing them
CandidateSource = Literal["model", "corpus", "both"]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0  # or 0; beyond these limits, sampling is practically greedy or uniform


@dataclass(frozen=True, slots=True)
class Decoding:
    """How replies are drawn: z from the prior, then its tokens.

    Attributes:
        temperature: 0 takes the most likely token, as the paper does; otherwise from 0.01 to 10, and 1 samples from the
            model's distribution.
        top_p: nucleus sampling: the most likely tokens with this total probability are kept (Holtzman et al., 2020).
        max_tokens: maximum number of tokens, `</s>` included; up to 1000.
        allow_unknown: whether the unknown word may be generated.
        prior_temperature: factor of the prior's standard deviations, from 0 (z is the prior mean, and at temperature 0
            all replies are equal) to 10; 1 is the model's own prior.
        candidates: draws from which the replies to a context are selected (see `selection`), at most 256, and never
            fewer than the replies wanted; 0 takes the first draws instead.
        candidates_from: where candidates come from: the model draws them, or they are found among the replies of the
            training conversations (corpus), or both. All but "model" need a checkpoint with an index of replies.

    Raises:
        ConfigError: a field is out of its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 40
    allow_unknown: bool = False
    prior_temperature: float = 1.0
    candidates: int = 0
    candidates_from: CandidateSource = "model"

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # when it is read from a file

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
        if self.candidates_from not in (names := get_args(CandidateSource)):
            raise ConfigError(f"candidates_from must be one of {', '.join(names)}, but is {self.candidates_from!r}")
