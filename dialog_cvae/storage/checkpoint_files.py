"""The files of a checkpoint's folder: found, read, and compared with their hashes in `config.json`.

Open it to change what counts as damaged. `dialog_cvae.storage.checkpoint` describes the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.files import previous_name

FORMAT = 1
WEIGHTS, TOKENIZER, CONFIG, METRICS, CARD = (
    "model.safetensors",
    "tokenizer.model",
    "config.json",
    "metrics.json",
    "README.md",
)
REPLIES, COMMON_WORDS = "replies.safetensors", "common_words.txt"
TRAINED = "trained_conversations.safetensors"
BEST = "best"  # the checkpoint of a training run, below its folder


def find_folder(path: str | Path) -> Path:
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


def identity(path: str | Path) -> tuple[int, int] | None:
    """Identifies the folder that is at `path` now; changes when the folder is replaced. None if there is none."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_ctime_ns


def sealed_config(config: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """The file `config.json`: the configuration with the hashes of the other parts, and its own checksum."""
    content = dict(config) | {"files": {name: _sha256(data) for name, data in parts.items()}}
    content["checksum"] = _checksum(content)
    return json_bytes(content)


def read_config(path: Path) -> dict[str, Any]:
    """The verified content of `config.json`, without its checksum."""
    content = json_object(path, _read_bytes(path))
    if content.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{path}: format {content['format']!r}; this version reads format {FORMAT}")
    if not isinstance(content.get("files"), dict):
        raise CheckpointError(f"{path}: not a checkpoint's configuration (no field `files`)")
    if content.pop("checksum", None) != _checksum(content):
        raise CheckpointError(f"{path}: changed since it was written (its checksum does not match)")
    return content


def verified_parts(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """The parts beside `config.json`, each except the card checked against its hash."""
    if missing := [name for name in (WEIGHTS, TOKENIZER) if name not in hashes]:
        raise CheckpointError(f"{folder / CONFIG}: field files: no SHA-256 of {' and '.join(missing)}")
    parts = {name: _read_bytes(folder / name) for name in (WEIGHTS, TOKENIZER, METRICS, CARD)}
    parts |= {name: _read_bytes(folder / name) for name in (REPLIES, COMMON_WORDS, TRAINED) if name in hashes}
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


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """The content as UTF-8; half of a surrogate pair, which that has no bytes for, stays the escape it came from."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def json_object(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not {type(content).__name__}")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content in a canonical spelling, itself left out."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return _sha256(json.dumps(rest, sort_keys=True, ensure_ascii=True).encode())
