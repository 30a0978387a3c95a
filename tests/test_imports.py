"""Who may import whom: the layers of the packages, read from the source, and what a service must not load."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


# Folders of the core, lowest first: each may import itself and what is below it. Single files of `dialog_cvae`, such as
# config and types, are below all folders.
CORE = ("text", "nn", "imports", "data", "storage", "model", "engines", "generate")
# What each package may import beside itself.
PACKAGES = {
    "dialog_cvae": set(),
    "training": {"dialog_cvae"},
    "eval": {"dialog_cvae"},
    "api": {"dialog_cvae"},
    "experiments": {"dialog_cvae", "training", "eval"},
    "benchmarks": {"dialog_cvae", "training", "eval", "experiments", "api"},
}
PURE = "eval.metrics"  # imports nothing of ours but itself and what a word is
WORDS = "dialog_cvae.text.words"
# Loading any module of these folders loads nothing that a service can do without, unless its name begins with `torch_`.
SERVED = (
    "dialog_cvae/*.py",
    *(f"dialog_cvae/{name}/**/*.py" for name in ("text", "imports", "data", "storage", "engines", "generate")),
    "api/*.py",
)
NOT_FOR_SERVING = {"torch", "nltk", "gensim", "matplotlib", "pooch", "tensorboard", "tqdm", "opentelemetry.sdk"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(module: str, source: str, is_package: bool) -> Iterator[str]:
    """Modules of ours that a module imports anywhere in its text, also in functions and for type checking only."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import module` means the module, `from module import name` the module that has the name.
            names = [name if (name := f"{base}.{alias.name}") in FILES else base for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def floor(module: str) -> int:
    """Height of a core module: 0 for the files of `dialog_cvae` itself, then the place of its folder in CORE."""
    parts = module.split(".")
    in_folder = (ROOT / "dialog_cvae" / parts[1]).is_dir() if len(parts) > 1 else False
    return CORE.index(parts[1]) + 1 if in_folder else 0


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    own = module.split(".")[0]
    found = []
    for name in dict.fromkeys(imported(module, source, is_package)):
        package = name.split(".")[0]
        if package != own and package not in PACKAGES[own]:
            found.append(f"{module} imports {name}: {own} may import {sorted(PACKAGES[own])}")
        elif f"{module}.".startswith(f"{PURE}.") and not f"{name}.".startswith((f"{PURE}.", f"{WORDS}.")):
            found.append(f"{module} imports {name}: metrics import no more than the definition of a word")
        elif own == package == "dialog_cvae" and module != own and floor(name) > floor(module):
            found.append(f"{module} imports {name}, which is above it")
        elif own == package == "dialog_cvae" and {floor(module), floor(name)} == {1, 2}:
            found.append(f"{module} imports {name}: text and networks know nothing of each other")
    return found


def binds_eval(source: str) -> bool:
    """Whether `import eval` or `import eval.x` hides the builtin."""
    imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import))
    return any((alias.asname or alias.name.split(".")[0]) == "eval" for node in imports for alias in node.names)


def test_the_packages_are_found():
    assert {"dialog_cvae", "dialog_cvae.types", "training.schedules", "api", "eval"} <= FILES.keys()


@pytest.mark.parametrize("module", FILES)
def test_layers(module):
    path = FILES[module]
    assert not violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")


def test_nothing_imports_eval_whole():
    skipped = {".venv", "build", "dist"}
    paths = [path for path in ROOT.rglob("*.py") if not skipped & set(path.relative_to(ROOT).parts)]
    assert Path(__file__) in paths
    assert not [str(path.relative_to(ROOT)) for path in paths if binds_eval(path.read_text(encoding="utf-8"))]


def test_what_a_service_imports_loads_nothing_for_training():
    files = [file for pattern in SERVED for file in sorted(ROOT.glob(pattern)) if not file.name.startswith("torch_")]
    modules = [module_name(file) for file in files]
    assert {"api.app", "dialog_cvae.engines.onnx_engine", "dialog_cvae.data.readers.jsonl"} <= set(modules)
    code = """
import importlib, json, sys
unwanted, found = set(json.loads(sys.argv[1])), {}
for module in json.loads(sys.argv[2]):
    importlib.import_module(module)
    if loaded := unwanted & sys.modules.keys():
        found[module] = sorted(loaded)
        unwanted -= loaded
print(json.dumps(found))
"""
    arguments = [json.dumps(sorted(NOT_FOR_SERVING)), json.dumps(modules)]
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dialog_cvae.types", "from dialog_cvae.text.words import normalised"),
        ("dialog_cvae.nn.decoder", "def f():\n    from dialog_cvae.model.cvae import CVAE"),
        ("dialog_cvae.nn.decoder", "if TYPE_CHECKING:\n    from ..model.cvae import CVAE"),
        ("dialog_cvae.nn.decoder", "from dialog_cvae.text.tokenizer import Tokenizer"),
        ("dialog_cvae.data.batches", "from ..generate import responder"),
        ("dialog_cvae.data.batches", "from ..generate.responder import Responder"),
        ("dialog_cvae.data.batches", "import dialog_cvae.generate.responder as r"),
        ("dialog_cvae.data.readers.ptb", "from dialog_cvae.storage.files import write_atomically"),
        ("dialog_cvae.storage.checkpoint", "from training.config import FitConfig"),
        ("dialog_cvae.generate.responder", "from eval.metrics.bleu import context_bleu"),
        ("api.app", "from training.schedules import beta"),
        ("api.app", "from eval.metrics import bleu"),
        ("eval.metrics.bleu", "from dialog_cvae.types import Conversation"),
        ("eval.metrics.bleu", "from eval.contexts import windows"),
        ("eval.dialog", "from training.config import FitConfig"),
        ("training.loop", "from eval.metrics import bleu"),
        ("training.loop", "from experiments.toy import EXPERIMENT"),
    ],
)
def test_a_violation_is_seen(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "dialog_cvae.model.cvae",
            "from dialog_cvae.nn import distributions\nfrom ..nn.decoder import Decoder\nimport torch",
        ),
        ("dialog_cvae.data.batches", "from dialog_cvae.text.tokenizer import Tokenizer\nfrom dialog_cvae import types"),
        ("eval.metrics.diversity", "from eval.metrics.bleu import context_bleu"),
        ("experiments.toy", "from training.fit import main\nfrom eval.metrics.probe import probe"),
        ("api.app", "from dialog_cvae import load\nfrom api.settings import Settings"),
    ],
)
def test_an_allowed_import_passes(module, source):
    assert violations(module, source) == []


@pytest.mark.parametrize(
    ("source", "hides"),
    [
        ("import eval", True),
        ("import eval.metrics.bleu", True),
        ("def f():\n    import eval", True),
        ("import eval.metrics.bleu as bleu", False),
        ("from eval.metrics.bleu import sentence_bleu", False),
        ("import evaluate", False),
    ],
)
def test_import_eval_is_seen(source, hides):
    assert binds_eval(source) is hides
