"""From a checkpoint to an engine and a codec: which engine, and for a language model, which backbone.

Open it to add an engine, or to change how the language model that adapters belong to is found.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from dialog_cvae.data.cache import open_cache
from dialog_cvae.engines.base import Engine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.codec import Codec, DialogCodec
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import WEIGHTS

if TYPE_CHECKING:  # the packages that read a language model need not be installed
    from dialog_cvae.storage.backbone import Backbone

EngineName = Literal["auto", "onnx", "onnx-int8", "onnx-fp32", "torch"]

_log = logging.getLogger(__name__)


class Options(NamedTuple):
    """How a model is opened; see `Responder.load`. The engine is one that `engine_name` returned."""

    engine: str
    device: str = "cpu"
    threads: int | None = None
    backbone: Path | None = None


class Opened(NamedTuple):
    """A model that is ready to be used."""

    engine: Engine
    codec: Codec


def opened(checkpoint: Checkpoint, folder: str | Path, options: Options) -> Opened:
    """The engine and the codec of a checkpoint.

    Args:
        checkpoint: of a dialog model or a language model.
        folder: where it was read, for messages.
        options: how to open it.

    Raises:
        CheckpointError: a weight does not fit, or a language model's backbone is missing, damaged or another one.
        ConfigError: the device is unknown or absent.
    """
    source = f"{folder}/{WEIGHTS}"
    if checkpoint.config.base is not None:
        return _language(checkpoint, source, options)
    if options.backbone is not None:
        _log.info("backbone %s is not used: %s has weights of its own", options.backbone, folder)
    return Opened(_dialog_engine(checkpoint, source, options), dialog_codec(checkpoint))


def dialog_codec(checkpoint: Checkpoint) -> DialogCodec:
    """The codec of a dialog model.

    Raises:
        CheckpointError: it is a language model's checkpoint.
    """
    config = checkpoint.config
    return DialogCodec(checkpoint.word_tokenizer, config.topics, config.model, config.roles)


def _dialog_engine(checkpoint: Checkpoint, source: str, options: Options) -> Engine:
    if options.engine == "torch":
        from dialog_cvae.engines.torch_engine import TorchEngine
        from dialog_cvae.model.build import build_model
        from dialog_cvae.model.cvae import CVAE

        return TorchEngine(build_model(checkpoint, source, required=CVAE), options.device)
    from dialog_cvae.engines.onnx_engine import OnnxEngine

    cache = open_cache(None, _log.info, "graphs")
    return OnnxEngine.of(checkpoint, source, cache, threads=options.threads, int8=options.engine == "onnx-int8")


def _language(checkpoint: Checkpoint, source: str, options: Options) -> Opened:
    from dialog_cvae.generate.language_codec import LanguageCodec
    from dialog_cvae.storage.checkpoint_backbone import backbone_of_checkpoint
    from dialog_cvae.text.byte_pairs import BytePairs

    config = checkpoint.config
    backbone = backbone_of_checkpoint(config, source, options.backbone)
    assert config.language is not None
    assert isinstance(checkpoint.tokenizer, BytePairs)
    codec = LanguageCodec(checkpoint.tokenizer, config.language, backbone.config.vocab_size)
    return Opened(_language_engine(checkpoint, backbone, source, options), codec)


def _language_engine(checkpoint: Checkpoint, backbone: Backbone, source: str, options: Options) -> Engine:
    if options.engine == "torch":
        from dialog_cvae.engines.torch_language import build_language_model
        from dialog_cvae.engines.torch_language_engine import TorchLanguageEngine

        return TorchLanguageEngine(build_language_model(checkpoint, backbone, source=source), options.device)
    from dialog_cvae.engines.onnx_language import OnnxLanguageEngine

    cache, int8 = open_cache(None, _log.info, "graphs"), options.engine != "onnx-fp32"
    return OnnxLanguageEngine.of(checkpoint, backbone, source, cache, threads=options.threads, int8=int8)


def engine_name(engine: str, device: str) -> str:
    """The engine to use.

    Raises:
        ConfigError: it is unknown, not installed, or ONNX Runtime on another device than the CPU.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"engine must be one of {', '.join(get_args(EngineName))}, but is {engine!r}")
    if engine == "auto":
        return "onnx" if device == "cpu" and _installed("onnxruntime") and _installed("onnx") else "torch"
    if engine != "torch" and device != "cpu":
        raise ConfigError(f"engine {engine} runs on the cpu, but the device is {device}: take engine torch")
    needed = ("torch",) if engine == "torch" else ("onnxruntime", "onnx")
    if missing := [package for package in needed if not _installed(package)]:
        raise ConfigError(f"engine {engine} needs the package {missing[0]}, which is not installed")
    return engine


def _installed(package: str) -> bool:
    return find_spec(package) is not None
