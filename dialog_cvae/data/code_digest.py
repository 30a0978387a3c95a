"""A digest of code, for caches: it changes with a module and with everything of ours that the module imports.

Nobody keeps a list of modules: imports are read from the source, in functions too. Comments, docstrings and layout do
not count. JSON files beside a module do, since modules read them.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]  # folder of the packages below
OURS = ("dialog_cvae", "training", "eval", "experiments")


@cache
def code_digest(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 of these modules and of all that they import, directly or not.

    Args:
        modules: dotted names.
        root: folder that holds the packages; another one is for a copy of the code.

    Raises:
        ValueError: there is no such module.
    """
    digest = hashlib.sha256()
    found = imported_modules(*modules, root=root)
    for name, path in sorted(found.items()):
        digest.update(f"{name}\n{_meaning(path.read_text(encoding='utf-8'))}\n".encode())
    folders = {path.parent for path in found.values()}
    for data in sorted(data for folder in folders for data in folder.glob("*.json")):
        digest.update(f"{data.relative_to(root)}\n".encode() + data.read_bytes())
    return digest.hexdigest()


def imported_modules(*modules: str, root: Path = ROOT) -> dict[str, Path]:
    """The files of these modules and of all of ours that they import, directly or not, by dotted name.

    Raises:
        ValueError: there is no such module.
    """
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        path = _file(name, root)
        if path is None:
            raise ValueError(f"{name}: no such module below {root}")
        found[name] = path
        todo += _imports(name, path, root)
        todo += [name.rpartition(".")[0]] if "." in name else []  # importing a module runs its package first
    return found


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(name: str, path: Path, root: Path) -> Iterator[str]:
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [full if _file(full := f"{base}.{alias.name}", root) else base for alias in node.names]
        else:
            continue
        yield from (found for found in names if found.split(".")[0] in OURS)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module, less what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _executed(node)


def _meaning(source: str) -> str:
    """Source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)
