"""The digest follows real imports: held against edited copies of code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dialog_cvae.data.code_digest import OURS, ROOT, code_digest, imported_modules

FILES = {
    "dialog_cvae/__init__.py": "def f():\n    from dialog_cvae import unused\n",  # which importing it does not call
    "dialog_cvae/a.py": '"""A."""\nfrom dialog_cvae.b import c\nfrom typing import TYPE_CHECKING\n'
    "if TYPE_CHECKING:\n    from dialog_cvae import unused\n",
    "dialog_cvae/b/__init__.py": "from .d import e\n",
    "dialog_cvae/b/c.py": "def f():\n    import eval.g as g\n    return g.X\n",
    "dialog_cvae/b/d.py": "e = 1\n",
    "dialog_cvae/unused.py": "1\n",
    "eval/__init__.py": "",
    "eval/g.py": "# one\nX = 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(root: Path) -> str:
    code_digest.cache_clear()
    return code_digest("dialog_cvae.a", root=root)


def test_imports_are_followed(root: Path) -> None:
    found = imported_modules("dialog_cvae.a", root=root)
    expected = {"dialog_cvae", "dialog_cvae.a", "dialog_cvae.b", "dialog_cvae.b.c", "dialog_cvae.b.d", "eval", "eval.g"}
    assert set(found) == expected


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("dialog_cvae/a.py", FILES["dialog_cvae/a.py"] + "Y = 2\n", True),
        ("dialog_cvae/b/d.py", "e = 2\n", True),  # two imports down
        ("eval/g.py", "# one\nX = 2\n", True),  # imported in a function
        ("dialog_cvae/b/table.json", "{}", True),
        ("eval/g.py", "# two\nX   = 1\n", False),
        ("dialog_cvae/a.py", FILES["dialog_cvae/a.py"].replace("A.", "B."), False),
        ("dialog_cvae/unused.py", "2\n", False),
    ],
)
def test_it_changes_with_what_decides(root: Path, name: str, text: str, changes: bool) -> None:
    before = digest(root)
    (root / name).write_text(text)
    assert (digest(root) != before) is changes


def test_a_package_imported_for_itself_counts_with_its_functions(root: Path) -> None:
    (root / "dialog_cvae/a.py").write_text("import dialog_cvae\n")
    assert set(imported_modules("dialog_cvae.a", root=root)) == {"dialog_cvae", "dialog_cvae.a", "dialog_cvae.unused"}


def test_functions_of_what_only_a_parent_package_imports_do_not_count(root: Path) -> None:
    (root / "dialog_cvae/b/__init__.py").write_text("from .d import e\nimport dialog_cvae.lazy\n")
    (root / "dialog_cvae/lazy.py").write_text("import dialog_cvae.b.d\ndef f():\n    import dialog_cvae.unused\n")
    found = set(imported_modules("dialog_cvae.b.c", root=root))
    assert "dialog_cvae.lazy" in found
    assert "dialog_cvae.unused" not in found
    # a module that imports it itself may call its functions
    (root / "dialog_cvae/b/c.py").write_text("import dialog_cvae.lazy\n")
    assert "dialog_cvae.unused" in imported_modules("dialog_cvae.b.c", root=root)


def test_a_missing_module_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"dialog_cvae\.z: no such module"):
        imported_modules("dialog_cvae.z", root=root)


def test_a_copy_of_the_code_has_the_same_digest(tmp_path: Path) -> None:
    for package in OURS:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert code_digest("eval.evaluation", root=tmp_path) == code_digest("eval.evaluation")
