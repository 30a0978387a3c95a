"""The service's settings, read from environment variables that begin with `DIALOG_CVAE_`.

Open it to add a setting.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.checkpoints import NamedCheckpoint, parse_checkpoints
from api.field_types import Diversity, Score, Temperature, TopP
from dialog_cvae.config import MAX_CANDIDATES, MAX_TEMPERATURE, MAX_TOKENS
from dialog_cvae.errors import ConfigError
from dialog_cvae.limits import MAX_PROFILES, MAX_SPEAKER_CHARS

PREFIX = "DIALOG_CVAE_"
OTHERS = {PREFIX + name for name in ("DATA", "CACHE", "API_KEY")}  # settings of others: corpora, caches, clients
KEYS = (f"{PREFIX}API_KEYS", f"{PREFIX}API_KEYS_FILE")
CLIENT_KEY = f"{PREFIX}API_KEY"
# The decoding options that can be set one by one.
SPELLED_OUT = ("temperature", "top_p", "prior_temperature", "candidates")
Engine = Literal["onnx", "onnx-int8", "onnx-fp32", "torch"]
ESCAPED_CHARS = len(r"\ud83d\ude00")  # length of the longest JSON form of one character
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # ends of origins that browsers leave out


def _listed(value: object) -> object:
    """Items separated by commas or white space."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} must be * or an origin such as https://example.org, without a path")
    if "*" in origins and len(origins) > 1:
        raise ValueError("must be * alone or a list of origins")
    return tuple(_without_default_port(origin) for origin in origins)


def _without_default_port(origin: str) -> str:
    """The origin as browsers send it."""
    scheme = origin.partition(":")[0]
    return origin.removesuffix(DEFAULT_PORTS.get(scheme, ""))


def _switch(value: object) -> object:
    """On or off, from their usual synonyms."""
    words = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"}
    return words.get(value.strip().lower(), value.strip().lower()) if isinstance(value, str) else value


class Settings(BaseSettings):
    """The service's settings; field `max_responses` is the variable `DIALOG_CVAE_MAX_RESPONSES`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    checkpoint: Path = Field(
        description="folder of the checkpoint to serve; several: their folders separated by commas, each DIR or "
        "NAME=DIR, the default first"
    )
    backbone: Path | None = Field(
        None,
        description="file or folder of the language model that the checkpoint's adapters belong to; default: the one "
        "that the checkpoint names, where dialog-cvae backbone puts it",
    )
    device: str = Field(
        "cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="where the model runs: cpu, cuda, cuda:1"
    )
    engine: Engine | None = Field(
        None,
        description="inference engine: onnx, onnx-int8 (smaller and less exact), onnx-fp32 or torch; onnx is onnx-int8 "
        "for a language model, else onnx-fp32; default: onnx if the device is cpu, else torch",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads of the model; default: one per core")
    max_responses: int = Field(
        20, ge=1, le=MAX_CANDIDATES, description="maximum number of responses of a request, at most 256"
    )
    max_batch: int = Field(16, ge=1, le=1000, description="maximum number of requests in a batch")
    max_context: int = Field(200, ge=1, le=10_000, description="maximum number of utterances of a request")
    max_text_chars: int = Field(2000, ge=1, le=100_000, description="maximum number of characters of an utterance")
    max_tokens: int = Field(
        40,
        ge=1,
        le=MAX_TOKENS,
        description="maximum number of tokens of a response; also the default, unless the checkpoint's is lower",
    )
    temperature: Temperature | None = Field(
        None,
        description="sampling temperature of requests that give none; 0 decodes each z greedily; "
        "default: the checkpoint's",
    )
    top_p: TopP | None = Field(
        None,
        description="nucleus of requests that give none: the share of probability sampled from; "
        "default: the checkpoint's",
    )
    prior_temperature: float | None = Field(
        None,
        ge=0.0,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
        description="factor of the prior's standard deviations; default: the checkpoint's",
    )
    candidates: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="number of draws from which responses are selected, most typical first; 0: the first "
        "distinct draws, likeliest per token first; default: the checkpoint's",
    )
    diversity: Diversity | None = Field(
        None,
        description="diversity of requests that give none, 0 to 1: sets both temperatures, and selects from candidates",
    )
    min_score: Score | None = Field(
        None,
        description="responses with a lower score are left out of requests that give no min_score, 0 to 1; default: "
        "none are",
    )
    blocked_words: Path | None = Field(
        None, description="file of words and phrases, one per line, that no response may contain; default: no filter"
    )
    guard: bool = Field(
        False,
        description="whether responses are refused that hold a number, an address or a name which few training "
        "conversations have and the context lacks: on or off; those few are known where the checkpoint lists common "
        "words",
    )
    max_waiting: int = Field(
        64,
        ge=1,
        le=100_000,
        description="maximum number of requests being decoded or waiting, of all models together; more get 503",
    )
    max_rows: int = Field(
        128, ge=1, le=4096, description="maximum number of candidates decoded together, of each model"
    )
    timeout_s: float = Field(
        30.0, gt=0.0, le=3600.0, description="seconds after which a request without a reply gets 503"
    )
    body_timeout_s: float = Field(10.0, gt=0.0, le=3600.0, description="seconds within which a body must arrive")
    api_keys: SecretStr | None = Field(
        None, description="API keys, separated by commas; a request needs one of them; default: none is needed"
    )
    api_keys_file: Path | None = Field(None, description="file with API keys, one per line, instead of API_KEYS")
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_origins)] = Field(
        (), description="origins, separated by commas, whose pages may call this server; * for all"
    )
    feedback: Path | None = Field(
        None, description="file that POST /feedback appends JSON lines to; default: feedback is refused"
    )
    feedback_max_mb: int = Field(
        100, ge=1, le=1_000_000, description="maximum size of the file of feedback in megabytes; then feedback gets 507"
    )
    metrics: Annotated[Literal["on", "off", "key"], BeforeValidator(_switch)] = Field(
        "on",
        description="who may read GET /metrics: on (everyone), key (requests with an API key, if keys are set), off "
        "(no one)",
    )
    page: bool = Field(True, description="whether / is a page to try the model; else it redirects to the documentation")
    log_format: Literal["json", "text"] = Field(
        "text", description="format of the log: json (an object per line) or text"
    )
    log_text: bool = Field(False, description="whether the log may contain the texts of requests and responses")

    @model_validator(mode="after")
    def _named(self) -> Self:
        try:
            parse_checkpoints(str(self.checkpoint))
        except ValueError as error:
            raise ValueError(f"{PREFIX}CHECKPOINT: {error}") from None
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.api_keys is not None and self.api_keys_file is not None:
            raise ValueError(f"{PREFIX}API_KEYS and {PREFIX}API_KEYS_FILE are both set: set one")
        chosen = [
            PREFIX + name.upper() for name in ("temperature", "prior_temperature") if getattr(self, name) is not None
        ]
        chosen += [f"{PREFIX}CANDIDATES 0"] if self.candidates == 0 else []
        if self.diversity is not None and chosen:
            raise ValueError(f"{PREFIX}DIVERSITY can't be set together with {' and '.join(chosen)}, which it sets")
        if self.device != "cpu" and self.engine not in (None, "torch"):
            raise ValueError(f"{PREFIX}ENGINE {self.engine} runs on the cpu, but {PREFIX}DEVICE is {self.device}")
        return self

    @property
    def checkpoints(self) -> tuple[NamedCheckpoint, ...]:
        """The checkpoints to serve, the default first."""
        return parse_checkpoints(str(self.checkpoint))

    def of(self, checkpoint: NamedCheckpoint) -> Self:
        """The settings with this checkpoint alone."""
        return self.model_copy(update={"checkpoint": checkpoint.folder})

    @property
    def engine_name(self) -> Engine:
        """The engine, with the default resolved."""
        return self.engine or ("onnx" if self.device == "cpu" else "torch")

    @property
    def max_body_bytes(self) -> int:
        """Maximum length of a body in bytes: enough for any request within the limits, all characters escaped."""
        turns = self.max_context * (self.max_text_chars + MAX_SPEAKER_CHARS + 8)
        profiles = MAX_PROFILES * (MAX_SPEAKER_CHARS + 64)
        return (turns + profiles + 1024) * ESCAPED_CHARS


def read_settings(**given: Any) -> Settings:
    """The settings of this process.

    Args:
        given: settings that replace their variables.

    Raises:
        ConfigError: the message, one line, names each invalid variable and its value.
    """
    for name in KEYS:  # other empty variables count as unset, but an empty key may be a missing secret
        if os.environ.get(name) == "" and name.removeprefix(PREFIX).lower() not in given:
            raise ConfigError(f"{name} is empty, which would open the service to everyone; unset it if that is meant")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(_line(item) for item in error.errors())) from None


def effective(settings: Settings) -> dict[str, Any]:
    """All variables with their values; secrets are shown as asterisks."""
    values = {name: getattr(settings, name) for name in Settings.model_fields} | {"engine": settings.engine_name}
    return {PREFIX + name.upper(): _shown(value) for name, value in values.items()}


def _shown(value: object) -> str | None:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return None if value is None else str(value)  # a SecretStr shows asterisks


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A warning for each variable that has the settings' prefix but is not a setting."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    lines = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known | OTHERS:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            lines.append(f"{name} is not a setting of the service{f'; did you mean {close[0]}?' if close else ''}")
    return lines


def open_by_mistake(settings: Settings, environment: Mapping[str, str] = os.environ) -> str | None:
    """A warning if the key that clients use is set, but the service requires none; else None."""
    given = any(value for name, value in environment.items() if name.upper() == CLIENT_KEY)
    if not given or settings.api_keys is not None or settings.api_keys_file is not None:
        return None
    return f"{CLIENT_KEY} is for clients: this service requires no key; to require one, set {' or '.join(KEYS)}"


def _line(item: Mapping[str, Any]) -> str:
    message: str = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    variable = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    if variable == PREFIX + "CHECKPOINT" and item["type"] == "missing":
        return (
            f"{variable} is not set: set it to the folder of a checkpoint, such as the folder best that training writes"
        )
    return f"{variable}: {message}" + ("" if variable == PREFIX + "API_KEYS" else f", got {item['input']!r}")
