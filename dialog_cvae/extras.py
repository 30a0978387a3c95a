"""Which packages an extra of `pip install 'dialog-cvae[EXTRA]'` brings, and which of them are missing here.

Open this to change what a command says where its packages are not installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

DISTRIBUTION: Final = "dialog-cvae"
# What each extra is for, as a message begins.
PURPOSES: Final = {
    "train": "training and evaluation need",
    "serve": "serving needs",
    "lm": "a language model as decoder needs",
    "client": "talking to a service needs",
    "trace": "sending traces needs",
    "import": "reading Parquet and Arrow files and replacing telephone numbers need",
}
COMMON_NAMES: Final = {
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "fastapi": "FastAPI",
    "opentelemetry-sdk": "OpenTelemetry",
}


def missing(extra: str) -> list[str]:
    """Names of the packages of an extra that are not installed, in the order of pyproject.toml.

    Empty where dialog-cvae itself is not installed, as in a plain checkout: its requirements are not known there.
    """
    return [name for name in dict.fromkeys(_requirements(extra)) if not _is_installed(name)]


def explanation(extra: str, names: list[str]) -> str:
    """One line that says which packages are missing and how to install them."""
    first = COMMON_NAMES.get(names[0], names[0])
    what = first if len(names) == 1 else f"{first} and more"
    return f"{PURPOSES[extra]} {what}: pip install '{DISTRIBUTION}[{extra}]'"


def _requirements(extra: str) -> Iterator[str]:
    """Package names that an extra adds, those of extras that it includes as well."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    for line in lines:
        requirement, _, marker = line.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker) is None:
            continue
        name, included = re.match(r"([\w.-]+)(?:\[([\w,. -]*)\])?", requirement).groups()  # type: ignore[union-attr]
        if name.lower().replace("_", "-") == DISTRIBUTION:
            for each in (included or "").split(","):
                yield from _requirements(each.strip())
        else:
            yield name


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
