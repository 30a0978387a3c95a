"""Which checkpoints are served, and under which names: `DIR`, or several as `DIR,DIR` or `NAME=DIR,NAME=DIR`.

Open it to change how the setting and the command line are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class NamedCheckpoint(NamedTuple):
    """A checkpoint to serve.

    Attributes:
        name: the name it is served under: the given name, else the folder's.
        folder: the checkpoint's folder.
        given: whether the name was given.
    """

    name: str
    folder: Path
    given: bool

    @property
    def absolute(self) -> str:
        """Its item of the setting, with an absolute folder, for a process with another working folder."""
        folder = str(self.folder.absolute())
        return f"{self.name}={folder}" if self.given else folder


def parse_checkpoints(text: str) -> tuple[NamedCheckpoint, ...]:
    """The checkpoints that a setting names, the default first.

    If the whole text is an existing folder, it names that folder, even with `,` or `=` in its name.

    Raises:
        ValueError: the text names no folder, a name is invalid, or two have the same name.
    """
    items = [text] if Path(text).is_dir() else [item for part in text.split(",") if (item := part.strip())]
    if not items:
        raise ValueError("names no folder")
    return with_unique_names([parse_checkpoint(item) for item in items])


def parse_checkpoint(text: str) -> NamedCheckpoint:
    """The checkpoint that `DIR` or `NAME=DIR` names.

    Raises:
        ValueError: the name is invalid, or no folder follows it.
    """
    name, equals, folder = text.partition("=")
    if not equals or "/" in name or Path(text).is_dir():  # a folder may have = in its name
        path = Path(text)
        return NamedCheckpoint(path.absolute().name or "model", path, given=False)
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} must be a name of 1 to 64 letters, digits and ._- that begins with one of the first"
        )
    if not folder:
        raise ValueError(f"{name}= must be followed by a folder")
    return NamedCheckpoint(name, Path(folder), given=True)


def with_unique_names(found: Sequence[NamedCheckpoint]) -> tuple[NamedCheckpoint, ...]:
    """The given checkpoints, after a check of their names.

    Raises:
        ValueError: two have the same name.
    """
    first: dict[str, NamedCheckpoint] = {}
    for each in found:
        if each.name in first:
            raise ValueError(
                f"{first[each.name].folder} and {each.folder} are both called {each.name!r}; give them names of your "
                f"own, as in first={first[each.name].folder} second={each.folder}"
            )
        first[each.name] = each
    return tuple(found)


def join_checkpoints(found: Sequence[NamedCheckpoint]) -> str:
    """The setting that names these checkpoints.

    Raises:
        ValueError: a folder has a comma in its name, which separates folders.
    """
    items = [f"{each.name}={each.folder}" if each.given else str(each.folder) for each in found]
    for item in items:
        if "," in item and (len(items) > 1 or found[0].given):
            raise ValueError(f"{item}: a folder with a comma in its path can only be served alone and without a name")
    return ",".join(items)
