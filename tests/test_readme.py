"""What the README tells people to type is what the programs accept."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from api.schemas import RespondRequest
from dialog_cvae.data.jsonl_line import parse_line
from eval.dialog import _parser
from training import arguments, check, schedules

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.split("#")[0]) for line in README.splitlines() if re.match(r"python -m [a-z.]+( |$)", line.strip())
]


def commands(module: str) -> list[list[str]]:
    found = [words[3:] for words in COMMANDS if words[2] == module]
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
    assert _parser().parse_args(options).out


def test_no_other_command_is_shown() -> None:
    shown = {words[2] for words in COMMANDS}
    assert shown == {"training.fit", "eval.dialog", check.__name__, schedules.__name__}


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
    assert names >= {"tokenizer", "data/", "cvae", "checkpoint"}
    for name in names:
        assert (ROOT / "dialog_cvae" / (name if name.endswith("/") else f"{name}.py")).exists(), name


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_pages_are_finished_and_their_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "{{" not in text
    assert "TODO" not in text
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_answer_shown_has_the_shape_of_an_answer() -> None:
    (answer,) = re.findall(r"```json\n(\{\"responses\".*?\})\n```", README, flags=re.DOTALL)
    assert set(json.loads(answer)) == {"responses", "topic", "seed", "model"}
