"""The plan of a run: the command line, resolved before anything is built.

Open this to change how options, files and stored runs combine. The first process reads configuration files, the
checkpoint of `--init` and the run to resume, and broadcasts its decision.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import torch

from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from training import arguments, folder, resume
from training.arguments import RunOptions
from training.config import FitConfig
from training.device import device_of
from training.distributed import World
from training.folder import Start
from training.task import task_of, task_of_checkpoint

Layer = Mapping[str, Any]  # fields, nested like the configuration
LANGUAGE_RECIPE = "smollm2"
_PATHS = frozenset(
    ("--out", "--data", "--data-dir", "--config", "--init", "--cache", "--train.vectors", "--language.backbone")
)


class Decision(NamedTuple):
    """The decision of the first process for all processes.

    Attributes:
        config: of the experiment.
        out: folder of the run.
        start: command and provenance at the run's start.
        init: checkpoint to start from; None in all processes except the first.
    """

    config: FitConfig
    out: Path
    start: Start
    init: Checkpoint | None = None

    def to_json(self) -> str:
        """The object as JSON text, without the checkpoint."""
        models = {"config": self.config, "start": self.start}
        return json.dumps(
            {name: model.model_dump(mode="json") for name, model in models.items()} | {"out": str(self.out)}
        )

    @classmethod
    def from_json(cls, text: str) -> Decision:
        """The reverse of `to_json`."""
        content = json.loads(text)
        config, start = FitConfig.model_validate(content["config"]), Start.model_validate(content["start"])
        return cls(config, Path(content["out"]), start)


@dataclass(frozen=True)
class Plan:
    """All decisions before a run is built.

    Attributes:
        config: of the experiment.
        out: folder of the run.
        start: command and provenance at the run's start.
        resume: whether to continue the run in `out`.
        init: checkpoint to start from, in the first process only.
        cache: folder for token ids and converted files, the value of `--cache`.
        report: whether to measure the finished model, the value of `--report`; None: `final_report.is_wanted` decides.
        device: of this process.
        world: the processes of the run.
    """

    config: FitConfig
    out: Path
    start: Start
    resume: bool
    init: Checkpoint | None
    cache: str | None
    report: bool | None
    device: torch.device
    world: World


def resolve(argv: Sequence[str], world: World) -> Plan:
    """The plan of a command line. It is equal in all processes, except for the device.

    Raises:
        DialogCvaeError: an option, a file or a combination of them is invalid. SystemExit: an option is unknown.
    """
    given = arguments.parse(argv)
    options = arguments.run_options(given)
    fields = {name: value for name, value in given.items() if name not in RunOptions.model_fields}

    decision = world.broadcast_result(
        lambda: _decide(argv, options, fields, "recipe" in given), Decision.to_json, Decision.from_json
    )
    if options.report and not task_of(decision.config).served:
        raise ConfigError(f"report: measures replies, but corpus {decision.config.corpus.name} holds sentences")
    device = world.on_every_rank(lambda: device_of(world.device_name(options.device)))
    world.check_equal("device", device.type)
    return Plan(
        decision.config,
        decision.out,
        decision.start,
        options.resume,
        decision.init,
        options.cache,
        options.report,
        device,
        world,
    )


def _decide(argv: Sequence[str], options: RunOptions, fields: Layer, names_recipe: bool) -> Decision:
    """Combine options, configuration file, checkpoint and stored run."""
    # Find the requested configuration.
    init = None if options.init is None else Checkpoint.load(options.init)
    chosen = names_recipe or options.config is not None
    base = arguments.recipe(recipe_name(options.recipe if chosen else None, init))
    layers = [fields] if options.config is None else [arguments.read_config_file(options.config), fields]
    config = arguments.layered(base, *layers)
    if init is not None:
        config = like_checkpoint(config, init, layers)
    if names_recipe or not options.resume:
        config = task_of(config).settled(config)

    # A resumed run keeps all stored fields that affect the result.
    if options.resume:
        out = options.out or folder.default_out(folder.decide_corpus(config))
        stored = resume.stored_run(
            out, config if names_recipe else None, layers, None if init is None else init.config.provenance
        )
        return Decision(stored, out, folder.stored_start(out), init)

    # A new run gets a new folder.
    config = folder.decide_corpus(config)
    out = folder.new_out(options.out, config)
    _note_unused_fields(base, config)
    return Decision(config, out, _start(argv, init), init)


def recipe_name(asked: str | None, init: Checkpoint | None) -> str:
    """The recipe to start from: the requested one, else the one for the kind of model of `--init`."""
    if asked is None and init is not None and init.config.language is not None:
        return LANGUAGE_RECIPE
    return asked or RunOptions().recipe


def like_checkpoint(config: FitConfig, checkpoint: Checkpoint, asked: Sequence[Layer]) -> FitConfig:
    """The configuration with the sizes and the tokenizer of the checkpoint to start from.

    Args:
        config: of the new run.
        checkpoint: of `--init`.
        asked: layers of requested fields, without the recipe's.

    Raises:
        ConfigError: a requested field of the model or the tokenizer differs from the checkpoint's; or word vectors are
            requested, which would replace its embeddings; or the checkpoint is for another task.
    """
    for layer in asked:
        if (vectors := arguments.section(layer, "train").get("vectors")) is not None:
            raise ConfigError(
                f"train.vectors: the checkpoint of --init has its own embeddings, but {vectors!r} is given"
            )
    task, stored = task_of(config), task_of_checkpoint(checkpoint.config)
    sizes = task.stored_sizes(checkpoint.config)
    if sizes is None:
        if stored.examples == task.examples:
            raise ConfigError(
                f"init: the checkpoint's sizes are of the section {stored.section}, but this run fits {task.section} "
                "(a recipe decides which)"
            )
        raise ConfigError(
            f"init: the checkpoint was fitted on {stored.examples}, but corpus {config.corpus.name} holds "
            f"{task.examples}"
        )
    free = {*task.free_sizes, *(() if checkpoint.config.roles else ("role_size",))}  # roles may be added, not resized
    free |= {field for layer in asked for field in arguments.section(layer, task.section)} & {*task.limits}
    if config.sizes.bow and not sizes.bow:  # a new head may be added: exported copies often have none
        free |= {"bow", "bow_size"}
    fixed: dict[str, Any] = {task.section: sizes.model_dump(exclude=free), "train": {"vectors": None}}
    if "tokenizer" in checkpoint.config.provenance.fit:
        fixed["tokenizer"] = checkpoint.config.provenance.fit["tokenizer"]
    for section in (task.section, "tokenizer"):
        values = fixed.get(section, {})
        for field in {field for layer in asked for field in arguments.section(layer, section)} & values.keys():
            value = getattr(getattr(config, section), field)
            if value != values[field]:
                raise ConfigError(
                    f"{section}.{field}: the checkpoint of --init has {values[field]!r}, but {value!r} was asked for"
                )
    return arguments.layered(config, fixed)


def _note_unused_fields(base: FitConfig, config: FitConfig) -> None:
    """Print a note for each changed field that belongs to the model of another task."""
    task = task_of(config)
    for name in arguments.differences(base, config):
        if name.split(".")[0] in task.unused_sections:
            corpus = f"{config.corpus.name}, a corpus of {task.examples}"
            print(f"note: {name} has no effect on {corpus}: see {task.section}.*", flush=True)


def _start(argv: Sequence[str], init: Checkpoint | None) -> Start:
    command = _command(argv)
    if init is None:
        return Start(command=command)
    decoding = replace(init.config.decoding, candidates_from="model")  # the new checkpoint has no index of replies
    return Start(command=command, origin=init.config.provenance, decoding=decoding)


def _command(argv: Sequence[str]) -> str:
    """The command line for a model card. Paths keep only their last part, because folders may be private."""
    words, is_path = [], False
    for word in argv:
        option, equals, value = word.partition("=")
        if is_path:
            words.append(_last_part(word))
        elif option in _PATHS and equals:
            words.append(f"{option}={_last_part(value)}")
        else:
            words.append(re.sub(r"(^|=)/.*/(?=.)", r"\1", word))
        is_path = word in _PATHS
    return shlex.join(["python", "-m", "training.fit", *words])


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name or path  # splits at both kinds of slashes
