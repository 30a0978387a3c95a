"""Who may import whom: the layers of the packages, read from the source, and what a service must not load."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Layer(NamedTuple):
    """Modules by pattern, and the layers that they may import from."""

    modules: tuple[str, ...]
    imports: tuple[str, ...]


# Lowest first. A module belongs to the first layer with a pattern that fits; one that fits none fails the test.
LAYERS = {
    "command line basics": Layer(("dialog_cvae.cli",), imports=("foundations",)),
    "foundations": Layer(
        ("dialog_cvae.errors", "dialog_cvae.config", "dialog_cvae.types", "training.schedules"),
        imports=("command line basics",),
    ),
    "metrics": Layer(
        (
            "eval.bleu",
            "eval.diversity",
            "eval.embedding",
            "eval.matching",
            "eval.probe",
            "eval.significance",
            "eval.single_reference",
            "eval.tokens",
        ),
        imports=("metrics",),
    ),
    "parts": Layer(
        (
            "dialog_cvae.tokenizer",
            "dialog_cvae.detokenize",
            "dialog_cvae.data",
            "dialog_cvae.data.*",
            "dialog_cvae.distributions",
            "dialog_cvae.devices",
            "dialog_cvae.ray_cluster",
            "dialog_cvae.products",
            "dialog_cvae.recurrence",
            "dialog_cvae.likelihood",
            "dialog_cvae.lstm",
            "dialog_cvae.lstm_gradient",
            "dialog_cvae.selection",
            "dialog_cvae.encoders",
            "dialog_cvae.decoder",
            "dialog_cvae.latent_model",
            "dialog_cvae.posterior_norm",
            "dialog_cvae.sentence_encoders",
        ),
        imports=("foundations", "parts"),
    ),
    "networks": Layer(
        ("dialog_cvae.cvae", "dialog_cvae.sentence_vae"),
        imports=("foundations", "parts", "networks"),
    ),
    "inference": Layer(
        (
            "dialog_cvae",
            "dialog_cvae.elbo",
            "dialog_cvae.svi",
            "dialog_cvae.runtime",
            "dialog_cvae.runtime.*",
            "dialog_cvae.decoding",
            "dialog_cvae.diversity",
            "dialog_cvae.sampling",
            "dialog_cvae.pool",
            "dialog_cvae.latent_map",
            "dialog_cvae.replies",
            "dialog_cvae.respond",
            "dialog_cvae.checkpoint",
            "dialog_cvae.parameters",
        ),
        imports=("foundations", "parts", "networks", "inference"),
    ),
    "command lines": Layer(
        (
            "training.fit",
            "training.sweep",
            "training.sweep_process",
            "training.experiments*",
            "training.lesson",
            "training.check",
            "training.export",
            "eval.dialog",
            "eval.table3*",
            "eval.report",
        ),
        imports=(
            "command line basics",
            "foundations",
            "metrics",
            "parts",
            "networks",
            "inference",
            "training library",
            "eval library",
            "command lines",
        ),
    ),
    "training library": Layer(
        ("training", "training.*"),
        imports=("command line basics", "foundations", "metrics", "parts", "networks", "inference", "training library"),
    ),
    "eval library": Layer(
        ("eval", "eval.*"),
        imports=("command line basics", "foundations", "metrics", "parts", "networks", "inference", "eval library"),
    ),
    "service command lines": Layer(
        ("api.chat", "api.cluster"),
        imports=("command line basics", "foundations", "parts", "networks", "inference", "service"),
    ),
    "service": Layer(
        ("api", "api.*"),
        imports=("command line basics", "foundations", "parts", "networks", "inference", "service"),
    ),
}

# Whole packages that a package may import from, whatever the layer.
PACKAGES = {
    "dialog_cvae": {"dialog_cvae"},
    "api": {"api", "dialog_cvae"},
    "training": {"training", "eval", "dialog_cvae"},
    "eval": {"training", "eval", "dialog_cvae"},
}

# Importing any of these must not load anything that a service can do without.
SERVED = (
    "dialog_cvae",
    "dialog_cvae.config",
    "dialog_cvae.types",
    "dialog_cvae.errors",
    "dialog_cvae.tokenizer",
    "dialog_cvae.data",
    "dialog_cvae.data.*",
    "dialog_cvae.decoding",
    "dialog_cvae.diversity",
    "dialog_cvae.sampling",
    "dialog_cvae.pool",
    "dialog_cvae.latent_map",
    "dialog_cvae.replies",
    "dialog_cvae.respond",
    "dialog_cvae.checkpoint",
    "dialog_cvae.parameters",
    "dialog_cvae.runtime.base",
    "dialog_cvae.runtime.onnx_engine",
    "dialog_cvae.runtime.onnx_graphs",
    "api",
    "api.*",
)
NOT_FOR_SERVING = {"torch", "nltk", "gensim", "matplotlib", "pooch", "tensorboard", "tqdm"}


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


def layer_of(module: str) -> str | None:
    return next(
        (name for name, layer in LAYERS.items() if any(fnmatchcase(module, pattern) for pattern in layer.modules)), None
    )


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    layer = layer_of(module)
    if layer is None:
        return [f"{module} has no place in LAYERS"]
    found = []
    for name in dict.fromkeys(imported(module, source, is_package)):
        target = layer_of(name)
        if name.split(".")[0] not in PACKAGES[module.split(".")[0]]:
            found.append(f"{module} imports {name}: another package")
        elif name != module and target not in LAYERS[layer].imports:
            found.append(f"{module} ({layer}) imports {name} ({target})")
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
    modules = [module for module in FILES if any(fnmatchcase(module, pattern) for pattern in SERVED)]
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
        ("dialog_cvae.types", "from dialog_cvae.config import Size"),
        ("training.schedules", "from dialog_cvae.errors import ConfigError"),
        ("dialog_cvae.decoder", "def f():\n    from dialog_cvae.cvae import CVAE"),
        ("dialog_cvae.decoder", "if TYPE_CHECKING:\n    from .cvae import CVAE"),
        ("dialog_cvae.data.batches", "from .. import respond"),
        ("dialog_cvae.data.batches", "from ..respond import Responder"),
        ("dialog_cvae.data.batches", "import dialog_cvae.respond as r"),
        ("dialog_cvae.checkpoint", "from training.config import FitConfig"),
        ("dialog_cvae.respond", "from eval.bleu import sentence_bleu"),
        ("api.app", "from training.schedules import beta"),
        ("api.app", "from eval import bleu"),
        ("eval.bleu", "from dialog_cvae.types import Conversation"),
        ("eval.references", "from training.config import FitConfig"),
        ("training.loop", "from eval.references import read"),
        ("training.loop", "from training.fit import main"),
        ("dialog_cvae.unheard_of", ""),
    ],
)
def test_a_violation_is_seen(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dialog_cvae.cvae", "from dialog_cvae import distributions\nfrom .decoder import Decoder\nimport torch"),
        ("eval.diversity", "from eval.bleu import sentence_bleu"),
        ("training.fit", "from eval.references import read\nfrom training.loop import train"),
        ("training.loop", "from training.schedules import beta\nfrom eval.diversity import distinct"),
        ("api.app", "from dialog_cvae import load\nfrom api.settings import Settings"),
    ],
)
def test_an_allowed_import_passes(module, source):
    assert violations(module, source) == []


@pytest.mark.parametrize(
    ("source", "hides"),
    [
        ("import eval", True),
        ("import eval.bleu", True),
        ("def f():\n    import eval", True),
        ("import eval.bleu as bleu", False),
        ("from eval.bleu import sentence_bleu", False),
        ("import evaluate", False),
    ],
)
def test_import_eval_is_seen(source, hides):
    assert binds_eval(source) is hides
