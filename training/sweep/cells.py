"""The cells of a sweep: each is one fit, named by the varied options and its seed.

Open this to change how a cell is named or checked. A cell's whole configuration is known and checked before anything
starts. Its command is an ordinary `training.fit`, so a cell can be repeated anywhere.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from dialog_cvae.data.corpora import resolve
from dialog_cvae.errors import ConfigError
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import Provenance
from dialog_cvae.storage.checkpoint_files import BEST
from training import arguments, folder, plan, resume
from training.arguments import DURATIONS, SHORT_NAMES, SPEAKERS
from training.config import FitConfig
from training.folder import CONFIG_FILE
from training.state import STATE_FILE, load_progress
from training.task import task_of

MAX_CELLS = 10_000
MAX_NAME = 200  # characters of a folder's name; file systems take 255 bytes
DEFAULT_THREADS = 1  # threads of a cell; parallel cells use the cores better than more threads
_SHORT = {long.replace("-", "_"): short for long, short in SHORT_NAMES.items()}
_LONG = {short.replace("-", "_"): long for long, short in _SHORT.items()}
_SEED = "train.seed"
_DURATIONS = {f"train.{name}" for name in DURATIONS}

CellState = Literal["new", "started", "finished"]


class Axis(NamedTuple):
    """A varied field of the configuration, with dots, and its values as text."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One fit of a sweep.

    Attributes:
        recipe: the recipe of its command.
        config: its whole configuration, with the seed.
        variation: the varied values by short option name, without the seed, in alphabetical order; it identifies the
            variant.
        init: checkpoint to start from.
        origin: provenance of that checkpoint.
    """

    recipe: str
    config: FitConfig
    variation: Mapping[str, str] = field(default_factory=dict)
    init: Path | None = None
    origin: Provenance | None = None

    @property
    def seed(self) -> int:
        """The seed."""
        return self.config.train.seed

    @property
    def name(self) -> str:
        """The name of its folder, such as `schedule=cyclical,seed=3`, for any order of the options."""
        values = {**self.variation, "seed": str(self.seed)}
        return ",".join(f"{name}={quote(value, safe='+')}" for name, value in values.items())

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `training.fit` that give this configuration on any machine: the recipe and all differences."""
        changed = arguments.differences(arguments.recipe(self.recipe), self.config)
        values = {name: new for name, (_, new) in changed.items() if name != _SEED}
        values["train.precision"] = self.config.train.precision  # a recipe's may depend on the worker's processor
        if any(values.get(name) is not None for name in _DURATIONS):  # one kind of duration replaces the other
            values = {name: value for name, value in values.items() if name not in _DURATIONS or value is not None}
        if self.init is not None:  # the checkpoint's limits hold where none is given
            task = task_of(self.config)
            values |= {f"{task.section}.{name}": getattr(self.config.sizes, name) for name in task.limits}
        options = (f"--recipe={self.recipe}", f"--seed={self.seed}", *(option(*item) for item in values.items()))
        return options if self.init is None else (*options, f"--init={self.init}")

    def command(self, folder: Path) -> str:
        """The command line that fits this cell."""
        return shlex.join(["python", "-m", "training.fit", *self.options, f"--out={folder}"])

    def state(self, out: Path) -> CellState:
        """Whether its run below `out` is new, started or finished.

        Raises:
            ConfigError: the folder holds a run of another configuration; the message names folder, field and values.
            CheckpointError: the folder holds an incomplete or broken run.
        """
        path = out / self.name
        if not (path / STATE_FILE).exists() and not (path / BEST).exists():
            folder.new_out(path, self.config)
            return "new"
        resume.stored_run(path, self.config, [{"train": {"precision": self.config.train.precision}}])
        if (origin := folder.stored_start(path).origin) != self.origin:
            raise ConfigError(
                f"init: the run in {path} was started {_from(origin)}, but one {_from(self.origin)} was asked for"
            )
        stored = FitConfig.model_validate_json((path / CONFIG_FILE).read_bytes())
        # Another path may have other conversations; only the resumed fit compares them.
        same_file = stored.corpus.name == self.config.corpus.name
        complete = load_progress(path).finished and (path / BEST).is_dir()
        return "finished" if complete and same_file else "started"


def grid(
    recipe: str,
    axes: Sequence[Axis],
    seeds: Sequence[int],
    *layers: Mapping[str, Any],
    init: Path | None = None,
) -> list[Cell]:
    """A cell for each combination of values and each seed; all variants of a seed come before the next seed.

    Args:
        recipe: a recipe's name.
        axes: the varied fields, each at most once.
        seeds: distinct.
        layers: fields that override the recipe and are overridden by the axes, nested like the configuration; later
            layers override earlier ones.
        init: checkpoint to start every cell from.

    Raises:
        ConfigError: a field is unknown, duplicate or out of range, or contradicts another; or there are too many cells.
    """
    axes = sorted(axes, key=lambda axis: short_name(axis.field))
    _check_axes(axes, seeds, _fields(recipe, layers))
    checkpoint = None if init is None else Checkpoint.load(init)
    variants = [
        _variant(recipe, dict(zip((axis.field for axis in axes), values, strict=True)), layers, init, checkpoint)
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    cells = [_with_seed(variant, seed) for seed in seeds for variant in variants]
    counts = Counter(cell.name for cell in cells)
    if duplicate := next((name for name, count in counts.items() if count > 1), None):
        raise ConfigError(f"vary: duplicate cell {duplicate}")
    if long := next((name for name in counts if len(name) > MAX_NAME), None):
        raise ConfigError(f"vary: a cell's name must have at most {MAX_NAME} characters, but {long} has {len(long)}")
    return cells


def parse_axis(text: str) -> Axis:
    """Parse `NAME=V1,V2`, where NAME is a long or short option of `training.fit`.

    Raises:
        ConfigError: there is no name, it is the seed's, or a value is empty. `grid` checks that it is a field.
    """
    name, separator, values = text.partition("=")
    plain = name.strip().removeprefix("--").replace("-", "_")
    dotted = _LONG.get(plain, plain)
    if not separator or not name.strip():
        raise ConfigError(f"vary: must be NAME=V1,V2,... but is {text!r}")
    if dotted == _SEED:
        raise ConfigError(f"vary: give seeds with --seeds, not with {text!r}")
    parts = tuple(value.strip() for value in values.split(","))
    if "" in parts:
        raise ConfigError(f"vary: {name} has an empty value in {text!r}")
    return Axis(dotted, parts)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse seeds: a number N gives 0 to N - 1; `0,1,7` gives these seeds; `7,` gives a single one.

    Raises:
        ConfigError: the text has another form, or a duplicate seed.
    """
    parts = text.removesuffix(",").split(",")
    if not all(re.fullmatch(r" *[0-9]{1,19} *", part) for part in parts):
        raise ConfigError(f"seeds: must be a number of seeds, or seeds as in 0,1,7, but is {text!r}")
    numbers = tuple(int(part) for part in parts)
    if "," in text:
        if len(set(numbers)) < len(numbers):
            raise ConfigError(f"seeds: duplicate seed in {text!r}")
        return numbers
    if not 1 <= numbers[0] <= MAX_CELLS:
        raise ConfigError(f"seeds: their number must be from 1 to {MAX_CELLS}, but is {numbers[0]}")
    return tuple(range(numbers[0]))


def seeds_option(seeds: Sequence[int]) -> str:
    """The shortest text that `parse_seeds` parses to these seeds."""
    if list(seeds) == list(range(len(seeds))):
        return str(len(seeds))
    return ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")


def _fields(recipe: str, layers: Sequence[Mapping[str, Any]]) -> set[str]:
    """The dotted names of a recipe's fields; those of a language model only if the recipe or a layer has one."""
    names = set(arguments.flat(arguments.recipe(recipe).model_dump()))
    if any(arguments.section(layer, "language") for layer in layers):
        names |= {f"language.{name}" for name in LanguageModelConfig.model_fields}
    return names


def _check_axes(axes: Sequence[Axis], seeds: Sequence[int], fields: Collection[str]) -> None:
    if unknown := next((axis.field for axis in axes if axis.field not in fields), None):
        raise ConfigError(
            f"vary: {short_name(unknown)!r} is not a field of the configuration (training.fit --help lists them)"
        )
    counts = Counter(axis.field for axis in axes)
    if duplicate := next((name for name, count in counts.items() if count > 1), None):
        raise ConfigError(f"vary: duplicate {short_name(duplicate)}; give all its values together")
    count = math.prod((len(seeds), *(len(axis.values) for axis in axes)))
    if count > MAX_CELLS:
        raise ConfigError(f"vary, seeds: a sweep has at most {MAX_CELLS} cells, but this one has {count}")


def _variant(
    recipe: str,
    fields: Mapping[str, str],
    layers: Sequence[Mapping[str, Any]],
    init: Path | None,
    checkpoint: Checkpoint | None,
) -> Cell:
    """The cell of a variant, before its seed is set."""
    varied: dict[str, Any] = {}
    for name, value in fields.items():
        varied = arguments.merge(varied, _nested(name, _value(name, value)))
    config = arguments.layered(arguments.recipe(recipe), *layers, varied)
    if checkpoint is not None:
        config = plan.like_checkpoint(config, checkpoint, [*layers, varied])
    train = config.train.model_copy(update={"threads": config.train.threads or DEFAULT_THREADS})
    config = task_of(config).settled(config.model_copy(update={"corpus": resolve(config.corpus), "train": train}))
    values = arguments.flat(config.model_dump(mode="json"))
    if config.language is not None and "language.bow" not in fields:
        values["model.bow"] = config.language.bow  # --bow is for the fitted model
    variation = {short_name(name): _text(values[name]) for name in fields}
    return Cell(recipe, config, variation, init, None if checkpoint is None else checkpoint.config.provenance)


def _with_seed(cell: Cell, seed: int) -> Cell:
    return replace(cell, config=arguments.layered(cell.config, {"train": {"seed": seed}}))


def _value(name: str, text: str) -> str | list[str] | None:
    """The value of a field in a layer; of speakers, each text is one name."""
    if name == SPEAKERS:
        return [] if text == "None" else [text]
    return None if text == "None" else text


def _nested(name: str, value: Any) -> dict[str, Any]:
    """A layer with one field."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def _from(origin: Provenance | None) -> str:
    return "without --init" if origin is None else f"from a checkpoint of {origin.data}, step {origin.step}"


def short_name(name: str) -> str:
    """The shortest option for a dotted field."""
    return _SHORT.get(name, name).replace("_", "-")


def _text(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value)) or str(None)
    return str(value).lower() if isinstance(value, bool) else str(value)


def option(name: str, value: object) -> str:
    """The option that sets a field to a value."""
    if isinstance(value, bool):
        return f"--{short_name(name)}" if value else f"--no-{short_name(name)}"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value
    return f"--{short_name(name)}={shown}"
