"""The one checkpoint format: a folder that holds everything a reply needs.

    config.json          sizes, topics, roles, what it was fitted on, and the SHA-256 of all others but the card
    model.safetensors    the weights, in single precision or, to be shipped, in half
    tokenizer.model      the SentencePiece model, or the language model's tokenizer.json
    metrics.json         what was measured
    README.md            the model card
    replies.safetensors  replies of the training conversations, only if they were exported too
    common_words.txt     words and numbers that many training conversations have; older checkpoints lack it

The first five are parts of every checkpoint: one that lacks one is refused. `config.json` carries a checksum of its
own, so that no single changed byte goes unnoticed, except in the card, which may be edited. The folder is written under
another name and then renamed; readers never see half of one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_weights
from safetensors.numpy import save as serialise_weights

from dialog_cvae.config import Config, Decoding
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.data.roles import checked_roles
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.language_config import BackboneFacts, LanguageModelConfig
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.storage.files import previous_name, replace_folder
from dialog_cvae.text.stored_tokenizer import AnyTokenizer, read_tokenizer
from dialog_cvae.text.tokenizer import Tokenizer

FORMAT = 1
ModelKind = Literal["dialog model", "sentence VAE"]
WEIGHTS, TOKENIZER, CONFIG, METRICS, CARD = (
    "model.safetensors",
    "tokenizer.model",
    "config.json",
    "metrics.json",
    "README.md",
)
REPLIES, COMMON_WORDS = "replies.safetensors", "common_words.txt"
BEST = "best"  # the checkpoint of a training run, below its folder
T = TypeVar("T")
_READS = 8  # attempts to read a folder that is being replaced meanwhile


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


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    `weights` maps parameter names to arrays of any floating type; models compute in single precision. `replies` are
    those of the training conversations, and `common` words are what many of these have, if the checkpoint has them.
    """

    config: CheckpointConfig
    weights: Mapping[str, NDArray[Any]]
    tokenizer: AnyTokenizer
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    replies: ReplyIndex | None = None
    common: CommonWords | None = None

    @property
    def word_tokenizer(self) -> Tokenizer:
        """The tokenizer of a model that is not a language model's.

        Raises:
            CheckpointError: it is a language model's.
        """
        if not isinstance(self.tokenizer, Tokenizer):
            raise CheckpointError(f"the checkpoint {self.language_model}")
        return self.tokenizer

    @property
    def language_model(self) -> str:
        """What a command that opens other models says of a checkpoint of a language model; empty for another."""
        if self.config.base is None:
            return ""
        return (
            f"holds adapters of the language model {self.config.base.name}; this command opens only models with "
            "weights of their own"
        )

    def save(self, path: Path) -> None:
        """Write the folder `path`, replacing what is there only once the new one is complete.

        Raises:
            DialogCvaeError: it cannot be written; what was there is untouched.
        """
        parts: dict[str, bytes] = {
            WEIGHTS: serialise_weights({name: np.ascontiguousarray(w) for name, w in self.weights.items()}),
            TOKENIZER: self.tokenizer.to_bytes(),
            METRICS: _json_bytes(self.metrics),
            **({} if self.replies is None else {REPLIES: self.replies.to_bytes()}),
            **({} if self.common is None else {COMMON_WORDS: self.common.to_bytes()}),
        }
        content = self.config.model_dump(mode="json") | {"files": {name: _sha256(data) for name, data in parts.items()}}
        content["checksum"] = _checksum(content)
        replace_folder(path, parts | {CARD: self.card.encode(errors="replace"), CONFIG: _json_bytes(content)})

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read and verify a checkpoint folder.

        Raises:
            CheckpointError: naming the part that is missing, truncated, changed or of another format.
        """
        for _ in range(_READS - 1):
            before = _identity(path)
            try:
                return _load(_folder(path))
            except CheckpointError:
                if before is not None and before == _identity(path):
                    raise
        return _load(_folder(path))


def _load(folder: Path) -> Checkpoint:
    content = _read_config(folder / CONFIG)
    parts = _verified_parts(folder, content.pop("files"))
    try:
        config = CheckpointConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{folder / CONFIG}: field {place}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    try:
        weights: dict[str, NDArray[Any]] = load_weights(parts[WEIGHTS])
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"{folder / WEIGHTS}: not a readable safetensors file ({error})") from None
    try:
        tokenizer = read_tokenizer(parts[TOKENIZER])
    except CheckpointError as error:
        raise CheckpointError(f"{folder / TOKENIZER}: {error}") from None
    if len(tokenizer) != config.vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER}: has {len(tokenizer)} pieces, but {CONFIG} says vocab_size {config.vocab_size}"
        )
    metrics = _json_object(folder / METRICS, parts[METRICS])
    replies = _optional(folder, REPLIES, parts, ReplyIndex.from_bytes)
    common = _optional(folder, COMMON_WORDS, parts, CommonWords.from_bytes)
    return Checkpoint(config, weights, tokenizer, metrics, parts[CARD].decode(errors="replace"), replies, common)


def _optional(folder: Path, name: str, parts: Mapping[str, bytes], read: Callable[[bytes], T]) -> T | None:
    """A part that not every checkpoint has."""
    try:
        return read(parts[name]) if name in parts else None
    except CheckpointError as error:
        raise CheckpointError(f"{folder / name}: {error}") from None


def _folder(path: str | Path) -> Path:
    """Where the checkpoint is: at `path`, in the run at `path`, or under its previous name if replacing it was
    interrupted.
    """
    folder = Path(path)
    if not str(path) or "\0" in str(path):  # Path("") would be the working folder
        raise CheckpointError(f"{str(path)!r}: no checkpoint folder there")
    try:
        if folder.is_dir():
            is_run = not (folder / WEIGHTS).exists() and (folder / BEST / CONFIG).is_file()
            return folder / BEST if is_run else folder
        if folder.exists():
            raise CheckpointError(f"{path}: is a file; a checkpoint is a folder")
        if previous_name(folder).is_dir():
            return previous_name(folder)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    raise CheckpointError(f"{path}: no checkpoint folder there")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Identifies the folder that is at `path` now; changes when the folder is replaced. None if there is none."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_ctime_ns


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    """The content as UTF-8; half of a surrogate pair, which that has no bytes for, stays the escape it came from."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content in a canonical spelling, itself left out."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return _sha256(json.dumps(rest, sort_keys=True, ensure_ascii=True).encode())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _verified_parts(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """The parts beside `config.json`, each except the card checked against its hash."""
    if missing := [name for name in (WEIGHTS, TOKENIZER) if name not in hashes]:
        raise CheckpointError(f"{folder / CONFIG}: field files: no SHA-256 of {' and '.join(missing)}")
    parts = {name: _read_bytes(folder / name) for name in (WEIGHTS, TOKENIZER, METRICS, CARD)}
    parts |= {name: _read_bytes(folder / name) for name in (REPLIES, COMMON_WORDS) if name in hashes}
    for name in (TOKENIZER, METRICS, CARD, COMMON_WORDS):
        if name not in parts:
            continue
        if name != TOKENIZER or parts[name].startswith(b"{"):  # a SentencePiece model is no text
            parts[name] = parts[name].replace(b"\r\n", b"\n")  # which Git writes on Windows
    for name, expected in hashes.items():
        if name in parts and name != CARD and (found := _sha256(parts[name])) != expected:
            raise CheckpointError(
                f"{folder / name}: truncated or changed: its SHA-256 is {found[:12]}..., "
                f"{CONFIG} says {str(expected)[:12]}..."
            )
    return parts


def _read_config(path: Path) -> dict[str, Any]:
    """The verified content of `config.json`, without its checksum."""
    content = _json_object(path, _read_bytes(path))
    if content.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{path}: format {content['format']!r}; this version reads format {FORMAT}")
    if not isinstance(content.get("files"), dict):
        raise CheckpointError(f"{path}: not a checkpoint's configuration (no field `files`)")
    if content.pop("checksum", None) != _checksum(content):
        raise CheckpointError(f"{path}: changed since it was written (its checksum does not match)")
    return content


def _json_object(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not {type(content).__name__}")
    return content
