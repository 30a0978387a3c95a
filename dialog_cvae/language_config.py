"""Sizes of a pre-trained language model, and of what the conditional VAE adds to it.

Open it to change what an option of the adapters means: each `description` is the help text of its option.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from dialog_cvae.config import Config, Size


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
