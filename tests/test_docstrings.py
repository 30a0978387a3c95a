"""Every module says what it is, and when to open its file."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("dialog_cvae", "training", "eval", "experiments", "api", "benchmarks")
SENTENCE = re.compile(r"(?:\A|\n\n|[.!?]\s)Open ")


def says_when_to_open(source: str) -> bool:
    """Whether a sentence after the docstring's first line begins with "Open "."""
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return SENTENCE.search(docstring.partition("\n")[2].strip()) is not None


def test_every_module_says_when_to_open_it() -> None:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    modules = {
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
        for file in files
        if file.name not in ("__init__.py", "__main__.py")
    }
    assert len(modules) > 100
    # A module that shows its docstring as the text of --help writes it for users instead.
    silent = [name for name, source in modules.items() if "__doc__" not in source and not says_when_to_open(source)]
    assert not silent, f"no sentence that begins with Open in the docstring of: {', '.join(silent)}"
