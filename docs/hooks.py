"""Pages that the documentation site makes: of the code (commands, HTTP interface, Python modules) and of notebooks.

MkDocs calls `on_files` and `on_post_build` (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dialog_cvae", "training", "eval", "experiments", "api")
FROM_ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
# Commands that consist of others, each with a help text of its own.
PARTS = {
    "blind": ("sheet", "tally", "contexts"),
    "references": ("build", "report"),
    "experiments": ("table3", "lesson"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code and from notebooks."""
    pages = {"reference/commands.md": commands(), "reference/http.md": http_interface()}
    for package in PACKAGES:
        pages |= python_pages(package)
    pages["reference/python.md"] = python_index(pages)
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = notebook_page(path)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Stop if a page loads anything from another host.

    Raises:
        PluginError: names the page and what it loads.
    """
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        if found := FROM_ELSEWHERE.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path}: loads from another host: {found[0]}")


def commands() -> str:
    """The help of every command, as its parser writes it."""
    from dialog_cvae.console import COMMANDS

    lines = ["# Commands", "", "What `dialog-cvae COMMAND --help` prints.", "", *_block(_help([])), ""]
    for name, command in COMMANDS.items():
        lines += [f"## {name}", "", f"`dialog-cvae {name}` is `python -m {command.module}`.", ""]
        lines += _block(_help([name]))
        for part in PARTS.get(name, ()):
            lines += ["", f"### {name} {part}", "", *_block(_help([name, part]))]
        lines.append("")
    return "\n".join(lines)


def _help(words: list[str]) -> str:
    """What a command prints for `--help`, 100 columns wide."""
    from dialog_cvae.console import main

    out, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with redirect_stdout(out):
            status: Any = main([*words, "--help"])
    except SystemExit as ended:
        status = ended.code
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    if status:
        raise SystemExit(f"dialog-cvae {' '.join(words)} --help ended with {status}")
    return out.getvalue()


def _block(text: str) -> list[str]:
    return ["```text", *text.rstrip().splitlines(), "```"]


def http_interface() -> str:
    """The OpenAPI document as tables, with the limits of the default settings."""
    from api.app import create_app

    document = create_app().openapi()
    schemas = document["components"]["schemas"]
    lines = ["# HTTP interface", "", document["info"]["description"].strip(), ""]
    lines += [
        "A running service shows the same at `/docs`, and for programs at `/openapi.json`, with its own limits.",
        "",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += _operation(f"{method.upper()} {path}", operation)
    lines += ["## Objects", ""]
    for name, schema in schemas.items():
        lines += [f"### {name}", "", schema.get("description", ""), "", *_fields(schema), ""]
    return "\n".join(lines)


def _operation(title: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {title}", "", operation["summary"] + ".", "", operation.get("description", ""), "")
    if body := operation.get("requestBody"):
        yield from (f"Body: {_type(body['content']['application/json']['schema'])}.", "")
    yield from ("| status | what | body |", "|---|---|---|")
    for status, answer in operation["responses"].items():
        (content,) = list(answer.get("content", {"": {}}).values())[:1]
        yield f"| {status} | {_cell(answer['description'])} | {_type(content.get('schema', {}))} |"
    yield ""


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema.get("properties"):
        return
    yield from ("| field | type | required | what |", "|---|---|---|---|")
    for name, field in schema["properties"].items():
        required = "yes" if name in schema.get("required", ()) else ""
        yield f"| `{name}` | {_type(field)} | {required} | {_cell(field.get('description', ''))} |"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[key]))
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}{_limits(schema, 'minItems', 'maxItems')}"
    if kind == "string":
        return f"string{_limits(schema, 'minLength', 'maxLength')}"
    return kind + _limits(schema, "minimum", "maximum")


def _limits(schema: Mapping[str, Any], low: str, high: str) -> str:
    values = [schema.get(low), schema.get(high)]
    if values == [None, None]:
        return ""
    low_text, high_text = ("" if value is None else f"{value:,}" for value in values)
    return (
        f", {low_text} to {high_text}"
        if low_text and high_text
        else f", from {low_text}"
        if low_text
        else f", to {high_text}"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def notebook_page(path: Path) -> str:
    """A notebook's text and code, with a link to the file; outputs are left out."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    where = f"[Download it]({path.name}), or open it in your checkout: `docs/notebooks/{path.name}`."
    parts = [f'!!! note "A notebook"\n    {where}']
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts[:2] = parts[1::-1]  # the title comes first
    return "\n\n".join([*parts, ""])


def python_pages(package: str) -> dict[str, str]:
    """A page for each folder of a package, with all of its public modules."""
    pages = {}
    for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
        name = ".".join(folder.relative_to(ROOT).parts)
        lines = [f"# {name}", ""]
        for module in _modules(folder):
            lines += [f"::: {module}", ""]
        pages[f"reference/python/{name}.md"] = "\n".join(lines)
    return pages


def _modules(folder: Path) -> Iterator[str]:
    """Names of a folder's public modules; of the package itself only if it defines something."""
    for path in sorted(folder.glob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name == "__init__.py":
            if "\ndef " in path.read_text(encoding="utf-8"):
                yield name.removesuffix(".__init__")
        elif not path.name.startswith("_"):
            yield name


def python_index(paths: Iterable[str]) -> str:
    """Links to the pages of the packages, with the first line of each."""
    lines = [
        "# Python",
        "",
        "The modules of each folder, from their docstrings. An application needs `dialog_cvae.load` or `api.client`.",
        "",
        "| folder | what |",
        "|---|---|",
    ]
    for path in sorted(path for path in paths if path.startswith("reference/python/")):
        name = path.removeprefix("reference/python/").removesuffix(".md")
        source = ROOT.joinpath(*name.split("."), "__init__.py").read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(source)) or ""
        lines.append(f"| [{name}](python/{name}.md) | {_cell(docstring.partition(chr(10))[0])} |")
    return "\n".join([*lines, ""])
