"""The command `dialog-cvae`: it finds each command, and says in one line what is not installed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from dialog_cvae import cli, console, extras

ROOT = Path(__file__).parents[2]
FOREIGN = "raise SystemExit('the package of another project was loaded')"
RUN = "import sys; from dialog_cvae.console import main; sys.exit(main(sys.argv[1:]))"
REQUIRES = [
    "numpy>=1.26",
    'torch<2.14,>=2.11; extra == "torch"',
    'dialog-cvae[torch]; extra == "train"',
    'scikit-learn>=1.5; extra == "train"',
    'ray[serve]>=2.50; extra == "cluster"',
    'dialog-cvae[serve,train]; extra == "dev"',
    'uvicorn>=0.34; extra == "serve"',
]


def run(
    *words: str, cwd: Path, path: list[Path], safe: bool = True, encoding: str = ""
) -> subprocess.CompletedProcess[str]:
    """Another interpreter in a folder, which is itself on the path unless `safe`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    environment.pop("DIALOG_CVAE_CHECKPOINT", None)
    environment |= {"PYTHONIOENCODING": encoding} if encoding else {}
    command = [sys.executable, *(["-P"] if safe else []), *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", console.COMMANDS)
def test_every_command_has_a_module_and_an_extra_of_the_project(name: str) -> None:
    command = console.COMMANDS[name]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert find_spec(command.module)
    assert command.extra in {None, *extras.PURPOSES}
    assert extras.PURPOSES.keys() <= known.keys()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(arguments) == 0
    out = capsys.readouterr().out
    listed = re.findall(r"^  ([a-z]+)  +[a-z]", out.partition("commands:")[2], flags=re.MULTILINE)
    assert listed == list(console.COMMANDS)


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["--version"]) == 0
    assert capsys.readouterr().out == f"dialog-cvae {importlib.metadata.version('dialog-cvae')}\n"


@pytest.mark.parametrize("name", ["check", "fit", "eval", "references", "experiments", "serve", "chat"])
def test_the_help_of_a_command_names_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        console.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: dialog-cvae {name} ")


def test_a_parser_keeps_its_own_name_outside() -> None:
    with cli.renamed("python -m training.fit", "dialog-cvae fit"):
        assert cli.Parser(prog="python -m training.fit").prog == "dialog-cvae fit"
        assert cli.Parser(prog="python -m training.check").prog == "python -m training.check"
    assert cli.Parser(prog="python -m training.fit").prog == "python -m training.fit"


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["train"]) == 2
    assert re.fullmatch(r"error: there is no command 'train': choose from import, check, .*\n", capsys.readouterr().err)


def test_missing_packages_are_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "missing", lambda extra: ["torch", "gensim"] if extra == "train" else [])
    assert console.main(["fit", "--help"]) == 2
    expected = "error: training and evaluation need PyTorch and more: pip install 'dialog-cvae[train]'\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["check", "export", "schedules"])
def test_a_command_without_an_extra_of_its_own_names_one_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    def lacking(module: str) -> None:
        raise ModuleNotFoundError("No module named 'tokenizers'", name="tokenizers")

    monkeypatch.setattr(console, "_main_of", lacking)
    assert console.main([name, "--help"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.endswith("pip install 'dialog-cvae[train]'\n")


def test_the_packages_of_an_extra_are_those_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "requires", lambda _: REQUIRES)
    monkeypatch.setattr(extras, "_is_installed", lambda name: name == "uvicorn")
    assert extras.missing("train") == ["torch", "scikit-learn"]
    assert extras.missing("cluster") == ["ray"]
    assert extras.missing("dev") == ["torch", "scikit-learn"]
    assert extras.missing("serve") == []


def test_a_checkout_that_is_not_installed_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", unknown)
    assert extras.missing("train") == []


def test_a_module_run_by_python_says_the_same_line(tmp_path: Path) -> None:
    """Packages are hidden by a start-up file, which Python runs first."""
    hide = "import importlib.metadata as m\nreal = m.version\n"
    hide += "def version(name):\n    if name == 'torch': raise m.PackageNotFoundError(name)\n    return real(name)\n"
    (tmp_path / "sitecustomize.py").write_text(f"{hide}m.version = version\n", encoding="utf-8")
    for module in ("training.fit", "eval.dialog", "experiments"):
        done = run("-m", module, "--help", cwd=ROOT, path=[tmp_path, ROOT])
        expected = "error: training and evaluation need PyTorch: pip install 'dialog-cvae[train]'\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert run("-m", "training.check", "--help", cwd=ROOT, path=[tmp_path, ROOT]).returncode == 0


def test_what_the_encoding_of_the_output_lacks_is_printed_as_an_escape(tmp_path: Path) -> None:
    """As on Windows, where output that goes to a file has an 8-bit encoding."""
    script = "from dialog_cvae import console; console.main(['--version']); print('\u03b2 = 1')"
    done = run("-c", script, cwd=tmp_path, path=[ROOT], encoding="cp1252")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, [r"\u03b2 = 1"]), done.stderr


def test_a_package_api_in_the_working_folder_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text(FOREIGN, encoding="utf-8")
    done = run("-c", RUN, "serve", cwd=tmp_path, path=[ROOT])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no checkpoint: ")


def test_a_package_api_that_python_finds_first_is_refused(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").touch()
    done = run("-c", RUN, "serve", cwd=tmp_path, path=[tmp_path, ROOT])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: api: found in {tmp_path.resolve()}, but dialog-cvae is installed in {ROOT}\n"
