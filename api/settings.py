"""What an operator may set, read from environment variables that begin with `DIALOG_CVAE_`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.field_types import MAX_NAME_CHARS, Diversity, Temperature, TopP
from dialog_cvae.config import MAX_CANDIDATES, MAX_TEMPERATURE, MAX_TOKENS
from dialog_cvae.errors import ConfigError

PREFIX = "DIALOG_CVAE_"
OTHERS = {PREFIX + name for name in ("DATA", "CACHE", "API_KEY")}  # of corpora, of caches and of clients
SPELLED_OUT = ("temperature", "top_p", "prior_temperature", "candidates")  # how responses are drawn, one by one
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


def _listed(value: object) -> object:
    """What stands between commas and white space."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} should be * or an origin such as https://example.org, without a path")
    if "*" in origins and len(origins) > 1:
        raise ValueError("should be * alone or a list of origins")
    return origins


def _switch(value: object) -> object:
    """The usual words for on and off."""
    words = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"}
    return words.get(value.strip().lower(), value.strip().lower()) if isinstance(value, str) else value


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
        None,
        description="default diversity of responses, 0 to 1: chooses both temperatures, and selects from candidates",
    )
    blocked_words: Path | None = Field(
        None, description="file of words and phrases, one a line, that no response may hold; default: no filter"
    )
    max_waiting: int = Field(64, ge=1, le=100_000, description="requests in work or waiting; more get 503")
    max_rows: int = Field(128, ge=1, le=4096, description="candidates that are decoded together, at most")
    timeout_s: float = Field(30.0, gt=0.0, le=3600.0, description="seconds a request waits for its answer, at most")
    body_timeout_s: float = Field(10.0, gt=0.0, le=3600.0, description="seconds in which a body must have come")
    api_keys: SecretStr | None = Field(
        None, description="keys, separated by commas, of which a request must bring one; default: none is needed"
    )
    api_keys_file: Path | None = Field(None, description="file with such keys, one a line, instead")
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_origins)] = Field(
        (), description="origins, separated by commas, whose pages may ask this server; * for all"
    )
    metrics: Annotated[Literal["on", "off", "key"], BeforeValidator(_switch)] = Field(
        "on", description="whether GET /metrics answers: on (to everybody), key (where a key is needed, with one), off"
    )
    page: bool = Field(True, description="whether / is a page to try the model on; else it leads to the documentation")
    log_format: Literal["json", "text"] = Field("text", description="form of the log: json (an object a line) or text")
    log_text: bool = Field(False, description="whether the log may hold what was said and answered")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.api_keys is not None and self.api_keys_file is not None:
            raise ValueError(f"{PREFIX}API_KEYS and {PREFIX}API_KEYS_FILE are both set: set one")
        chosen = [
            PREFIX + name.upper() for name in ("temperature", "prior_temperature") if getattr(self, name) is not None
        ]
        chosen += [f"{PREFIX}CANDIDATES 0"] if self.candidates == 0 else []
        if self.diversity is not None and chosen:
            raise ValueError(f"{PREFIX}DIVERSITY can't be set together with {' and '.join(chosen)}, which it chooses")
        if self.device != "cpu" and self.engine not in (None, "torch"):
            raise ValueError(f"{PREFIX}ENGINE {self.engine} runs on the cpu, but {PREFIX}DEVICE is {self.device}")
        return self

    @property
    def engine_name(self) -> Literal["onnx", "onnx-int8", "torch"]:
        """The engine that is meant."""
        return self.engine or ("onnx" if self.device == "cpu" else "torch")

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a body: no request within the other limits is longer, even if every character is escaped."""
        escaped = len(r"\ud83d\ude00")  # the longest JSON form of one character
        return (self.max_context * (self.max_text_chars + MAX_NAME_CHARS + 8) + 1024) * escaped


def read_settings(**given: Any) -> Settings:
    """The settings of this process.

    Args:
        given: settings that come from elsewhere, in place of their variables.

    Raises:
        ConfigError: one line that names each variable at fault and its value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(_line(item) for item in error.errors())) from None


def effective(settings: Settings) -> dict[str, Any]:
    """Every variable with the value that holds; of secrets only that they are there."""
    values = {name: getattr(settings, name) for name in Settings.model_fields} | {"engine": settings.engine_name}
    return {PREFIX + name.upper(): _shown(value) for name, value in values.items()}


def _shown(value: object) -> str | None:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return None if value is None else str(value)  # a SecretStr shows asterisks


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """One line for each variable of this process that looks like a setting and is none."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    lines = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known | OTHERS:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            lines.append(f"{name} is no setting of the service{f'; {close[0]} is' if close else ''}")
    return lines


def _line(item: Mapping[str, Any]) -> str:
    message: str = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    variable = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    if variable == PREFIX + "CHECKPOINT" and item["type"] == "missing":
        return (
            f"{variable} is not set: it names the folder of a checkpoint, such as the folder best that training writes"
        )
    return f"{variable}: {message}" + ("" if variable == PREFIX + "API_KEYS" else f", got {item['input']!r}")
