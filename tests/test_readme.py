"""What the README tells people to type is what the programs accept."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from torch.distributed.run import get_args_parser

from api import chat
from api.schemas import RespondRequest
from benchmarks import corpus as corpus_benchmark
from benchmarks import evaluation as evaluation_benchmark
from benchmarks import serving as serving_benchmark
from benchmarks import training as training_benchmark
from dialog_cvae.data.readers.jsonl_line import parse_line
from eval.dialog_arguments import dialog_parser
from eval.references import __main__ as references
from experiments import run as experiments
from experiments.table3 import command as table3
from training import arguments, check, export, schedules
from training.sweep import run as sweep

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.split("#")[0])
    for line in README.splitlines()
    if re.match(r"python -m [a-z0-9.]+( |$)", line.strip())
]


def commands(module: str) -> list[list[str]]:
    name = module.removesuffix(".__main__").split()
    found = [words[2 + len(name) :] for words in COMMANDS if words[2 : 2 + len(name)] == name]
    assert found, f"the README shows no {module}"
    return found


@pytest.mark.parametrize("options", commands("training.fit"), ids=" ".join)
def test_fit_accepts(options: list[str]) -> None:
    given = arguments.parse(options)
    chosen = arguments.run_options(given)
    fields = {name: value for name, value in given.items() if name not in arguments.RunOptions.model_fields}
    arguments.layered(arguments.recipe(chosen.recipe), fields)


@pytest.mark.parametrize("options", commands("eval.dialog"), ids=" ".join)
def test_evaluation_accepts(options: list[str]) -> None:
    assert dialog_parser().parse_args(options).out


@pytest.mark.parametrize("module", [chat, export, references], ids=lambda module: module.__name__)
def test_small_commands_accept(module: ModuleType) -> None:
    for options in commands(module.__name__):
        assert module._parser().parse_args(options)


@pytest.mark.parametrize("options", commands("experiments table3"), ids=" ".join)
def test_the_table_accepts(options: list[str]) -> None:
    planned = table3.planned_cells(*arguments.parse_with(table3._parser(), sweep.FitFields, options))
    assert len(planned) in (45, 15)


@pytest.mark.parametrize("options", commands("training.sweep"), ids=" ".join)
def test_sweep_accepts(options: list[str]) -> None:
    assert len(sweep._cells(*arguments.parse_with(sweep._parser(), sweep.FitFields, options))) == 10


COMMANDS_OF_THEIR_OWN = ("table3", "lesson")
BENCHMARKS = (training_benchmark, evaluation_benchmark, corpus_benchmark, serving_benchmark)


@pytest.mark.parametrize("module", BENCHMARKS, ids=lambda module: module.__name__)
def test_benchmarks_accept(module: ModuleType) -> None:
    for options in commands(module.__name__):
        assert module._parser().parse_args(options)


def test_experiments_accept() -> None:
    shown = [
        arguments.parse_with(experiments._parser(), sweep.FitFields, options)[0].experiment
        for options in commands("experiments")
        if options[0] not in COMMANDS_OF_THEIR_OWN
    ]
    assert shown == list(experiments.ENTRIES)


def test_several_processes_run_what_fit_accepts() -> None:
    lines = [shlex.split(line.split("#")[0]) for line in README.splitlines() if line.startswith("torchrun ")]
    assert len(lines) == 3
    for words in lines:
        place = words.index("-m")
        assert words[place + 1] == "training.fit"
        torch_arguments, _ = get_args_parser().parse_known_args([*words[1:place], "script"])
        assert int(torch_arguments.nproc_per_node) in (2, 4)
        arguments.run_options(arguments.parse(words[place + 2 :]))


def test_no_other_command_is_shown() -> None:
    shown = {words[2] for words in COMMANDS}
    expected = {"training.fit", "eval.dialog", check.__name__, schedules.__name__, "training.sweep"}
    expected |= {export.__name__, "eval.references", chat.__name__, "experiments"}
    assert shown == expected | {module.__name__ for module in BENCHMARKS}


def test_the_conversation_shown_is_valid() -> None:
    (line,) = re.findall(r"```json\n(\{\"id\".*\})\n```", README)
    record = parse_line(line.encode(), 1)
    assert [utterance.speaker for utterance in record.conversation.utterances] == ["Ann", "Bo"]


def test_the_requests_shown_are_valid() -> None:
    bodies = re.findall(r"-d '(\{.*?\})'", README, flags=re.DOTALL)
    assert len(bodies) == 2
    for body in bodies:
        assert RespondRequest.model_validate_json(body).context


def test_the_map_of_the_code_names_what_is_there() -> None:
    tree = README.split("```\ndialog_cvae/")[1].split("```")[0]
    named = re.findall(r"^  ((?:[a-z_]+/? )+) ", tree, flags=re.MULTILINE)
    names = {name for line in named for name in line.split()}
    assert names >= {"types", "data/", "nn/", "generate/"}
    for name in names:
        assert (ROOT / "dialog_cvae" / (name if name.endswith("/") else f"{name}.py")).exists(), name


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_pages_are_finished_and_their_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "{{" not in text
    assert "@@" not in text
    assert "TODO" not in text
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_answer_shown_has_the_shape_of_an_answer() -> None:
    (answer,) = re.findall(r"```json\n(\{\"responses\".*?\})\n```", README, flags=re.DOTALL)
    assert set(json.loads(answer)) == {"responses", "topic", "seed", "model"}
