"""The content of a checkpoint's `config.json`: sizes, topics, roles, decoding, and what the model was fitted on.

Open it to add a field; its default is what holds for checkpoints that were written before there was such a field.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator, model_validator

from dialog_cvae.config import Config, Decoding
from dialog_cvae.data.roles import checked_roles
from dialog_cvae.errors import ConfigError
from dialog_cvae.language_config import BackboneFacts, LanguageModelConfig
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.storage.checkpoint_files import FORMAT

ModelKind = Literal["dialog model", "sentence VAE"]


class Provenance(Config):
    """What a model was fitted on and how."""

    data: str = Field(description="name of the corpus; says so if it is synthetic")
    style: str | None = Field(None, description="text style, where the corpus has several")
    licence: str | None = Field(None, description="licence that the text puts on the weights")
    step: int = Field(0, ge=0, description="optimiser updates")
    fit: dict[str, Any] = Field(default_factory=dict, description="the full training configuration")
    changes: tuple[str, ...] = Field((), description="what was done to the weights since then, such as rounding")


class CheckpointConfig(Config):
    """The content of `config.json`, less the hashes."""

    format: int = Field(FORMAT, description="version of this format")
    model: ModelConfig
    sentence: SentenceModelConfig | None = Field(
        None, description="sizes of a sentence VAE, for which `model` has no meaning"
    )
    language: LanguageModelConfig | None = Field(
        None, description="sizes of what was added to a language model, for which `model` says nothing"
    )
    base: BackboneFacts | None = Field(None, description="that language model, whose own weights are not here")
    vocab_size: int = Field(ge=1, description="rows of the embedding, special tokens included")
    topics: tuple[str, ...] = Field(description="known topics, in the order of their embedding after `<unknown>`")
    respond_as: tuple[str, ...] = Field(
        (), description="the speakers whose replies were learnt, of whom the first answers by default; empty: all"
    )
    roles: tuple[str, ...] = Field(
        (), description="known roles of speakers, in the order of their embedding after the unknown one"
    )
    decoding: Decoding = Field(Decoding(), description="how replies are drawn, unless a request says otherwise")
    provenance: Provenance

    @property
    def kind(self) -> ModelKind:
        """What the weights are of, in messages."""
        return "dialog model" if self.sentence is None else "sentence VAE"

    @field_validator("decoding", mode="wrap")
    @classmethod
    def _drawable(cls, value: object, validate: ValidatorFunctionWrapHandler) -> Decoding:
        try:
            decoding: Decoding = validate(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return decoding

    @model_validator(mode="after")
    def _names_its_base(self) -> Self:
        if (self.language is None) != (self.base is None):
            raise ValueError("language and base must be given together")
        return self

    @model_validator(mode="after")
    def _embeds_its_roles(self) -> Self:
        reads_roles = self.sentence is None and self.language is None
        if reads_roles and bool(self.roles) != bool(self.model.role_size):
            raise ValueError(f"roles has {len(self.roles)} names, but model.role_size is {self.model.role_size}")
        return self

    @field_validator("roles")
    @classmethod
    def _roles(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        return checked_roles(roles)

    @field_validator("topics")
    @classmethod
    def _distinct(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [topic for topic, count in Counter(topics).items() if count > 1]:
            raise ValueError(f"duplicate topic {twice[0]!r}")
        return topics
