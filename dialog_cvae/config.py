"""Configuration of data, tokenizer and decoding: frozen, validated, every field documented with its unit.

Open it to change what an option of a command line means: each `description` is the help text of its option. The sizes
of models are in `model_config` and `language_config`.
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
Reading = Annotated[Literal[1, 2, 3], BeforeValidator(lambda given: int(given) if given in ("1", "2", "3") else given)]
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
        3,
        description="rules of reading. 3: copies and continuations of a conversation and long messages are treated as "
        "the documentation of your own conversations says; 2: as before there were the rules of continuations and of "
        "several answers; 1: as before there were any of these rules (the first words of a long message and </s>). A "
        "run of such a time keeps its rules when it is resumed",
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


MAX_TOKENS = 1000
MAX_CANDIDATES = 256  # selecting among so many takes much less time than drawing them; among 1,000 it takes seconds
CandidateSource = Literal["model", "corpus", "both"]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0  # 0 is valid too; beyond them, sampling is almost greedy or uniform


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
            fewer than the replies wanted; 0 takes the first draws instead. Draws that may not be returned, such as
            those that a word filter refuses, are replaced if too few replies are left.
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

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown field in a file is an error

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
