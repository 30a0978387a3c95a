"""A digest of code, for caches: it changes with a module and with every module of this project that it imports.

Open it to see what makes a cached file invalid. Imports are read from the source, including those in functions, so
there is no list of modules to maintain. Comments, docstrings and layout do not count. JSON files in the same folder do,
because modules read them.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

ROOT = Path(__file__).parents[2]  # folder of the packages below
OURS = ("dialog_cvae", "training", "eval", "experiments")
_ONE_AT_A_TIME = Lock()  # in some versions of Python, parsing in two threads at once raises a SystemError


class Module(NamedTuple):
    """The file of a module and its syntax tree."""

    path: Path
    tree: ast.Module


@cache
def code_digest(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 of these modules and of all modules of this project that they import, directly or not.

    Args:
        modules: dotted names.
        root: folder that contains the packages, for example of a copy of the code.

    Raises:
        ValueError: there is no such module.
    """
    with _ONE_AT_A_TIME:
        return _digest(*modules, root=root)


def _digest(*modules: str, root: Path) -> str:
    digest = hashlib.sha256()
    found = imported_modules(*modules, root=root)
    for name, module in sorted(found.items()):
        digest.update(f"{name}\n{_meaning(module.tree)}\n".encode())
    folders = {module.path.parent for module in found.values()}
    for data in sorted(data for folder in folders for data in folder.glob("*.json")):
        digest.update(f"{data.relative_to(root)}\n".encode() + data.read_bytes())
    return digest.hexdigest()


def imported_modules(*modules: str, root: Path = ROOT) -> dict[str, Module]:
    """These modules and all modules of this project that they import, directly or not, by dotted name.

    Importing a module first runs the packages that contain it. Of these packages, and of what they import, only imports
    at the top of a file count; those within a function count if the module itself imports that file too.

    Raises:
        ValueError: there is no such module.
    """
    found: dict[str, Module] = {}
    called: set[str] = set()  # modules whose functions may be called
    todo = [(name, True) for name in modules]
    while todo:
        name, calls = todo.pop()
        if name in called or (name in found and not calls):
            continue
        if name not in found:
            path = _file(name, root)
            if path is None:
                raise ValueError(f"{name}: no such module below {root}")
            found[name] = Module(path, ast.parse(path.read_text(encoding="utf-8")))
        called |= {name} if calls else set()
        todo += [(each, calls) for each in _imports(name, found[name], root, functions=calls)]
        todo += [(name.rpartition(".")[0], False)] if "." in name else []
    return found


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(name: str, module: Module, root: Path, *, functions: bool) -> Iterator[str]:
    """Modules of this project that a module imports: when it is loaded and, with `functions`, in its functions."""
    package = name.split(".") if module.path.name == "__init__.py" else name.split(".")[:-1]
    for node in _executed(module.tree, functions):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [full if _file(full := f"{base}.{alias.name}", root) else base for alias in node.names]
        else:
            continue
        yield from (found for found in names if found.split(".")[0] in OURS)


def _executed(tree: ast.AST, functions: bool) -> Iterator[ast.stmt]:
    """The statements of a module, without those for type checkers only and, unless `functions`, without functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not functions:
            continue
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.expr):
            yield from _executed(node, functions)


def _meaning(tree: ast.Module) -> str:
    """The code without comments, docstrings and layout; changes the tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)
