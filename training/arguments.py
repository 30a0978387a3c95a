"""The command line of `training.fit`: every field of the configuration is an option, the common ones by a short name.

Later layers override earlier ones: defaults, recipe, configuration file, command line. Open this to change how options
and layers combine.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import tomllib
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict

from dialog_cvae.cli import Parser
from dialog_cvae.config import Config
from dialog_cvae.errors import ConfigError
from training.config import FitConfig
from training.recipes import RECIPES

C = TypeVar("C", bound=Config)
DURATIONS = ("epochs", "max_steps")
SHORT_NAMES = {
    "corpus.name": "data",
    "corpus.dir": "data-dir",
    "corpus.style": "style",
    "corpus.valid-share": "valid-share",
    "corpus.test-share": "test-share",
    "corpus.respond-as": "respond-as",
    "beta.kind": "schedule",
    "model.bow": "bow",
    "train.seed": "seed",
    "train.epochs": "epochs",
    "train.max-steps": "max-steps",
    "train.max-minutes": "max-minutes",
    "train.batch-size": "batch-size",
    "train.early-stopping": "early-stopping",
    "train.vectors": "vectors",
    "train.threads": "threads",
}
SPEAKERS = "corpus.respond_as"  # read here, because settings take a name with a comma for two names


class RunOptions(Config):
    """The options of a run that are not part of its configuration."""

    recipe: Literal[
        "paper",
        "released",
        "small",
        "glove100",
        "sample",
        "smollm2",
        "toy",
        "ptb",
        "ptb-small",
        "yelp",
        "yelp-small",
    ] = Field("paper", description="configuration to start from; smollm2 if --init names adapters")
    config: Path | None = Field(
        None, description="JSON or TOML file with fields of the configuration, which override the recipe"
    )
    out: Path | None = Field(None, description="folder of the run; default runs/DATA-MODEL-SCHEDULE-seedN")
    resume: bool = Field(False, description="continue the run in OUT, exactly where it stopped")
    init: Path | None = Field(None, description="checkpoint to start from; its tokenizer, topics and decoding are kept")
    report: bool | None = Field(
        None,
        description="at the end measure the finished model on held-out conversations, for a minute or two, print what "
        "was found in words, and write OUT/test/report.html and samples.md with conversations to read; default: on "
        "your own conversations and the sample, unless --cache is off",
    )
    device: str = Field("auto", description="auto, cpu or cuda")
    cache: str | None = Field(
        None,
        description="folder for what is kept of corpora, shared by runs: token ids, and the text of a chat or table in "
        "our format; default $DIALOG_CVAE_CACHE, else the user's cache folder; off: no copy of your data stays on "
        "disk, and each run reads it again",
    )


class FitArguments(RunOptions, FitConfig, BaseSettings):
    """Fit a conditional VAE to conversations and write its best checkpoint to OUT/best.

    First steps:
      python -m training.fit --data sample --recipe sample        two minutes, synthetic conversations
      python -m training.fit --data swda --schedule cyclical      Switchboard, the paper's model and schedule
      python -m training.fit --data swda --schedule cyclical --bow    CVAE+BoW
      python -m training.fit --data mine.jsonl --recipe small     your own conversations
      python -m training.fit --data mine.jsonl --recipe smollm2   on a language model; first: dialog-cvae backbone
      python -m training.fit --recipe ptb                         a VAE of sentences; see `python -m experiments`
      python -m training.fit --out runs/mine --resume             continue after a stop

    Later layers win: defaults, --recipe, --config, options. Stop with Ctrl-C: the state is saved first.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="python -m training.fit",
        cli_shortcuts=SHORT_NAMES,
        cli_implicit_flags=True,
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        frozen=True,
        extra="forbid",
    )


def parse(argv: Sequence[str] | None) -> dict[str, Any]:
    """The given options, nested like the configuration; an unknown option exits with status 2."""
    parser = Parser(
        prog=FitArguments.model_config.get("cli_prog_name"),
        description=inspect.getdoc(FitArguments),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parse_with(parser, FitArguments, argv)[1]


def parse_with(
    parser: Parser, settings: type[BaseSettings], argv: Sequence[str] | None
) -> tuple[Namespace, dict[str, Any]]:
    """Parse a command line with the options of the parser and of the settings.

    Returns:
        All parsed options, and the given options of the settings, nested like the settings.
    """
    source: CliSettingsSource[Any] = CliSettingsSource(
        settings, root_parser=parser, formatter_class=RawDescriptionHelpFormatter
    )
    parsed = parser.parse_args(argv)
    speakers = vars(parsed).pop(SPEAKERS, None)
    given = dict(source(parsed_args=parsed)())
    if speakers is None:
        return parsed, given
    return parsed, merge(given, {"corpus": {"respond_as": [name for value in speakers for name in _names(value)]}})


def _names(value: str) -> list[str]:
    """The names in a value: those of a JSON list, or else the value itself."""
    with contextlib.suppress(ValueError, RecursionError):
        names = json.loads(value)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return [value]


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """The options that are not part of the configuration, validated."""
    return _valid(RunOptions, {name: value for name, value in given.items() if name in RunOptions.model_fields})


def layered(base: FitConfig, *layers: Mapping[str, Any]) -> FitConfig:
    """A configuration with fields replaced by layers; later layers override earlier ones.

    Raises:
        ConfigError: a field is unknown or out of range, or fields contradict each other; the message gives the field,
            the limit and the value.
    """
    merged = base.model_dump(mode="json")
    for layer in layers:
        for name, value in layer.items():
            if name in FitConfig.model_fields and not isinstance(value, Mapping):
                raise ConfigError(f"{name}: must hold fields, but is {value!r}")
        asked = section(layer, "train")
        if any(asked.get(name) is not None for name in DURATIONS):  # replaces all durations of earlier layers
            merged = merge(merged, {"train": dict.fromkeys(DURATIONS)})
        merged = merge(merged, layer)
        bow = section(layer, "model").get("bow")
        if isinstance(merged["language"], Mapping) and bow is not None and "bow" not in section(layer, "language"):
            merged = merge(merged, {"model": {"bow": False}, "language": {"bow": bow}})  # --bow is for the fitted model
    return _valid(FitConfig, merged)


def section(layer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The fields of a layer in a section; empty if it has none."""
    fields = layer.get(name)
    return fields if isinstance(fields, Mapping) else {}


def read_config_file(path: Path) -> dict[str, Any]:
    """The fields in a JSON or TOML file.

    Raises:
        ConfigError: the file is missing, or not in the format of its suffix.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid {'TOML' if path.suffix == '.toml' else 'JSON'} ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold an object of configuration fields, not {type(content).__name__}")
    return content


def recipe(name: str) -> FitConfig:
    """A recipe by name."""
    return RECIPES[name]()


def differences(old: FitConfig, new: FitConfig) -> dict[str, tuple[Any, Any]]:
    """The old and new values of all fields that differ, by dotted name; None if a configuration lacks the section."""
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    pairs = {name: (before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The nested values of `base`, overridden by those of `over`."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _valid(kind: type[C], content: Mapping[str, Any]) -> C:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(detail) for detail in error.errors(include_url=False))) from None


def _explained(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{place}: there is no such field"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    shown = "" if isinstance(given, Mapping) else f", but is {given!r}"
    start = f"{place}: " if place else ""  # empty for a contradiction between sections: the message names the fields
    return f"{start}{message}{shown}"
