"""What an operator may set, read from environment variables that begin with `DIALOG_CVAE_`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dialog_cvae.decoding import MAX_CANDIDATES, MAX_TEMPERATURE, MAX_TOKENS, MIN_TEMPERATURE
from dialog_cvae.errors import ConfigError

PREFIX = "DIALOG_CVAE_"
MAX_NAME_CHARS = 64
MAX_TOPIC_CHARS = 200


def _representable(temperature: float) -> float:
    """Between greedy and `MIN_TEMPERATURE`, logits divided by the temperature leave float32's range."""
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise ValueError(f"should be 0 (greedy) or at least {MIN_TEMPERATURE}")
    return temperature


Temperature = Annotated[float, Field(ge=0.0, le=MAX_TEMPERATURE, allow_inf_nan=False), AfterValidator(_representable)]
TopP = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Diversity = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The service's settings; field `max_responses` is the variable `DIALOG_CVAE_MAX_RESPONSES`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    checkpoint: Path = Field(description="folder of the checkpoint to serve")
    device: str = Field(
        "cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="where the model runs: cpu, cuda, cuda:1"
    )
    engine: Literal["onnx", "onnx-int8", "torch"] | None = Field(
        None,
        description="what computes: onnx, onnx-int8 (smaller and less exact) or torch; default: onnx where the device "
        "is cpu, else torch",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads of the model; default: one for each core")
    max_responses: int = Field(20, ge=1, le=1000, description="responses a request may ask for")
    max_context: int = Field(200, ge=1, le=10_000, description="utterances of a request; the model reads the last ones")
    max_text_chars: int = Field(2000, ge=1, le=100_000, description="characters of an utterance")
    max_tokens: int = Field(
        40,
        ge=1,
        le=MAX_TOKENS,
        description="tokens of a response that a request may ask for, and the default, unless the checkpoint's is less",
    )
    temperature: Temperature | None = Field(
        None, description="default sampling temperature, 0 decodes each z greedily; default: the checkpoint's"
    )
    top_p: TopP | None = Field(
        None, description="default nucleus: the share of probability sampled from; default: the checkpoint's"
    )
    prior_temperature: float | None = Field(
        None,
        ge=0.0,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
        description="what the prior's standard deviations are multiplied by; default: the checkpoint's",
    )
    candidates: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="draws from which the responses of a request are selected, most typical first; 0: the first "
        "distinct draws, likeliest per token first; default: the checkpoint's",
    )
    diversity: Diversity | None = Field(
        None, description="default diversity of responses, 0 to 1, in place of the four settings above"
    )
    max_rows: int = Field(64, ge=1, le=4096, description="candidates that are decoded together, at most")
    page: bool = Field(True, description="whether / is a page to try the model on; else it leads to the documentation")
    max_waiting: int = Field(64, ge=1, le=100_000, description="requests in work or waiting; more get 503")
    timeout_s: float = Field(30.0, gt=0.0, le=3600.0, description="seconds a request waits for its answer, at most")

    @property
    def engine_name(self) -> str:
        """The engine that is meant."""
        return self.engine or ("onnx" if self.device == "cpu" else "torch")

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a body: no request within the other limits is longer, even if every character is escaped."""
        escaped = len(r"\ud83d\ude00")  # the longest JSON form of one character
        return (self.max_context * (self.max_text_chars + MAX_NAME_CHARS + 8) + 1024) * escaped


def read_settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigError: one line that names each variable at fault and its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("; ".join(_line(item) for item in error.errors())) from None


def _line(item: Mapping[str, Any]) -> str:
    variable = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    if variable == PREFIX + "CHECKPOINT" and item["type"] == "missing":
        return (
            f"{variable} is not set: it names the folder of a checkpoint, such as the folder best that training writes"
        )
    return f"{variable}: {item['msg'].removeprefix('Value error, ')}, got {item['input']!r}"
