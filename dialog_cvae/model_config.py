"""Sizes of the models that are trained from scratch: the conditional VAE and the sentence VAE.

Open it to change what an option of a model means: each `description` is the help text of its option.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from dialog_cvae.config import Config, Size

FILTER_STRIDE = 2  # stride of the first two convolutions of the sentence VAE's CNN encoder


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
    clip_norm: float | None = Field(
        28.0, gt=0.0, allow_inf_nan=False, description="maximum norm of a gradient; None is no limit"
    )
    scope: Literal["example", "batch"] = Field(
        "example",
        description="objective of the descent. example: each example's own, clipped by its own norm; batch: the mean "
        "over the examples of a batch, clipped by their joint norm, as in the released code. It needs whole batches: "
        "it is refused with several processes and with train.accumulation above 1, and evaluation takes 32 examples "
        "together",
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

    @property
    def is_joint(self) -> bool:
        """Whether an example's refinement depends on the others that it is processed with."""
        return self.steps > 0 and self.scope == "batch"


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

    @model_validator(mode="after")
    def _decodes_z(self) -> Self:
        if self.latent_size and not (self.z_to_state or self.z_to_inputs or self.skip):
            raise ValueError("one of z_to_state, z_to_inputs and skip must be true, or the decoder never receives z")
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
