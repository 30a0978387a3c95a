"""What the README and the documentation show is what the programs accept, and their links lead somewhere."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from torch.distributed.run import get_args_parser

from api.app import create_app
from api.batch import BatchRequest
from api.feedback import FeedbackRequest
from api.openai_schemas import ChatRequest
from api.respond_schemas import RespondRequest, RespondResponse
from dialog_cvae import console
from dialog_cvae.cli import Parser
from dialog_cvae.data.readers.jsonl_line import parse_line
from experiments import __main__ as experiments
from experiments import cycles, experiment, ptb, remedies, toy, yelp
from experiments.table3 import command as table3
from training import arguments
from training.sweep import run as sweep

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "models" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
ALL_TEXT = "\n".join(TEXTS.values())
CODE = re.compile(r"^```\n(.*?)^```$|(?<!`)`([^`]+)`(?!`)", flags=re.MULTILINE | re.DOTALL)


class Shown(NamedTuple):
    """A command line on a page.

    Attributes:
        page: file that shows it.
        module: that `python -m` runs.
        options: of the command.
    """

    page: str
    module: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([f"{self.page}: {self.module}", *self.options])


def command_lines(text: str) -> list[list[str]]:
    """Words of each line of code that is a command of ours, in blocks without a language and within lines."""
    lines = [
        line.split("  #")[0]
        for block, inline in CODE.findall(text)
        for line in (block.splitlines() if block else [" ".join(inline.split())])
    ]
    named = (line for line in lines if re.match(r"([A-Z_]+=\S+ )*(python -m|dialog-cvae) [a-z]", line.strip()))
    return [[word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)] for line in named]


def shown(page: Path) -> list[Shown]:
    found = []
    for words in command_lines(TEXTS[page]):
        if words[0] == "dialog-cvae":
            assert words[1] in console.COMMANDS, f"{page}: {words}"
            module, options = console.COMMANDS[words[1]].module, words[2:]
        else:
            module, options = words[2], words[3:]
        found.append(Shown(str(page.relative_to(ROOT)), module, tuple(options)))
    return found


COMMANDS = list(dict.fromkeys(each for page in PAGES for each in shown(page)))


def commands(module: str, *first: str) -> list[list[str]]:
    """Options of each command line shown for a module, whose first words are these."""
    count = len(first)
    found = {each.options[count:] for each in COMMANDS if each.module == module and each.options[:count] == first}
    assert found, f"no page shows {module} {' '.join(first)}"
    return [list(options) for options in sorted(found) if "--help" not in options]


class Accepted(BaseException):
    """Raised in the place of the command's work, once its arguments are parsed."""


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_shown_is_accepted(command: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: Parser, *given: list[str] | None) -> NoReturn:
        parse(parser, *given)
        raise Accepted

    monkeypatch.setattr(Parser, "parse_args", parse_and_stop)
    module = importlib.import_module(command.module)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{command.module}.__main__")
    if command.options:
        with pytest.raises((Accepted, SystemExit)) as ended:
            module.main(command.options)
        assert ended.type is Accepted or getattr(ended.value, "code", None) == 0  # the exit status of --help


@pytest.mark.parametrize("options", commands("training.fit"), ids=" ".join)
def test_fit_accepts_the_values(options: list[str]) -> None:
    given = arguments.parse(options)
    chosen = arguments.run_options(given)
    fields = {name: value for name, value in given.items() if name not in arguments.RunOptions.model_fields}
    arguments.layered(arguments.recipe(chosen.recipe), fields)


PAGE_OF_OPTIONS = TEXTS[ROOT / "docs" / "sizes-and-schedules.md"]
OPTIONS = sorted({" ".join(code.split()) for _, code in CODE.findall(PAGE_OF_OPTIONS) if code.startswith("--")})


@pytest.mark.parametrize("options", OPTIONS)
def test_fit_has_the_options_that_are_named_alone(options: str) -> None:
    assert arguments.parse(shlex.split(options))


@pytest.mark.parametrize("options", [each for each in commands("experiments", "table3") if each], ids=" ".join)
def test_the_table_accepts_the_values(options: list[str]) -> None:
    assert table3.parse_table(options).runs


@pytest.mark.parametrize("options", [each for each in commands("training.sweep") if each], ids=" ".join)
def test_sweep_accepts_the_values(options: list[str]) -> None:
    assert len(sweep._cells(*arguments.parse_with(sweep._parser(), sweep.FitFields, options))) == 10


def test_every_experiment_and_every_command_is_shown() -> None:
    names = {options[0] for options in commands("experiments") if options}
    assert names == set(experiments.COMMANDS)
    assert {command.module for command in console.COMMANDS.values()} <= {each.module for each in COMMANDS}


SENTENCE_EXPERIMENTS = {each.EXPERIMENT.name: each.EXPERIMENT for each in (toy, ptb, yelp, cycles, remedies)}


@pytest.mark.parametrize(
    "options",
    [each for each in commands("experiments") if each and each[0] in SENTENCE_EXPERIMENTS],
    ids=" ".join,
)
def test_the_sentence_experiments_accept_the_values(options: list[str]) -> None:
    assert experiment.parse_study(SENTENCE_EXPERIMENTS[options[0]], options[1:]).runs


def test_several_processes_run_what_fit_accepts() -> None:
    lines = [shlex.split(line.split("#")[0]) for line in ALL_TEXT.splitlines() if line.startswith("torchrun ")]
    assert len(lines) == 3
    for words in lines:
        place = words.index("-m")
        assert words[place + 1] == "training.fit"
        torch_arguments, _ = get_args_parser().parse_known_args([*words[1:place], "script"])
        assert int(torch_arguments.nproc_per_node) in (2, 4)
        arguments.run_options(arguments.parse(words[place + 2 :]))


BODIES = {
    "/respond": RespondRequest,
    "/respond/batch": BatchRequest,
    "/feedback": FeedbackRequest,
    "/v1/chat/completions": ChatRequest,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_requests_shown_are_valid(page: Path) -> None:
    paths = create_app().openapi()["paths"] | {"/v1/chat/completions": {"post"}}  # OpenAI documents the last one
    for path, rest in re.findall(r"^curl [^\n]*http://127\.0\.0\.1:8000(/\S*)(.*?)^```$", TEXTS[page], re.M | re.S):
        assert path in paths
        for body in re.findall(r"-d '(\{.*?\})'", rest, flags=re.DOTALL):
            assert BODIES[path].model_validate_json(body)
            assert "post" in paths[path]


def test_requests_are_shown() -> None:
    assert len(re.findall(r"-d '\{", ALL_TEXT)) >= 4


@pytest.mark.parametrize("page", ["README.md", "docs/your-conversations.md"])
def test_the_conversation_shown_is_valid(page: str) -> None:
    (line,) = re.findall(r"```json\n(\{\"id\".*\})\n```", TEXTS[ROOT / page])
    record = parse_line(line.encode(), 1)
    assert [utterance.speaker for utterance in record.conversation.utterances] == ["Ann", "Bo"]


def test_the_answer_shown_has_the_shape_of_an_answer() -> None:
    (answer,) = re.findall(r"```json\n(\{\"responses\".*?\})\n```", TEXTS[README], flags=re.DOTALL)
    RespondResponse.model_validate_json(answer)


def test_the_readme_is_one_page_with_a_map_of_the_code() -> None:
    assert len(TEXTS[README].splitlines()) <= 130
    tree = TEXTS[README].split("```\ndialog_cvae/")[1].split("```")[0]
    named = re.findall(r"^  ((?:[a-z_]+/? )+) ", tree, flags=re.MULTILINE)
    names = {name for line in named for name in line.split()}
    assert names >= {"types", "data/", "nn/", "generate/"}
    for name in names:
        assert (ROOT / "dialog_cvae" / (name if name.endswith("/") else f"{name}.py")).exists(), name
    for folder in re.findall(r"^([a-z]+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_pages_are_finished_and_their_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for unfinished in ("{{", "@@", "TODO"):
        assert unfinished not in text
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        made_from_the_code = target.startswith("reference/")  # when the site is built, which checks these links
        assert made_from_the_code or (page.parent / target).exists(), target
