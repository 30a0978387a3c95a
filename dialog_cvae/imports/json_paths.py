"""The keys in the beginning of a JSON file, from which formats are recognised.

Open this if a JSON file is not recognised. The beginning may be cut off anywhere.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"|[{}\[\]:]')
_MAX_DEPTH: Final = 20
_MAX_VALUES: Final = 10  # objects in one text, such as the lines of a file, whose keys are found
_GAP: Final = re.compile(r"\s*(?=\{)")  # space between two objects


def json_paths(text: str) -> frozenset[str]:
    """Paths of all keys of the first JSON value in a text, which may be cut off, and of the next few objects.

    >>> sorted(json_paths('{"messages": [{"role": "user"}, {"ro'))
    ['messages', 'messages[].role']
    """
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return frozenset()
    found: set[str] = set()
    frames: list[tuple[str, str]] = []  # kind and path of each open object or list
    values = 0
    last, here = "", ""  # the last string, and the path of the value that comes next
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in "{[":
            if len(frames) == _MAX_DEPTH:
                break
            here = f"{frames[-1][1]}[]" if frames and frames[-1][0] == "[" else here
            frames.append((sign, here))
            here = frames[-1][1]
        elif sign in "}]":
            frames.pop() if frames else None
            if not frames:
                values += 1
                if values == _MAX_VALUES or not _GAP.match(text, token.end()):
                    break
                here = ""
                continue
            here = frames[-1][1]
        elif sign == ":":
            if frames and frames[-1][0] == "{":
                here = f"{frames[-1][1]}.{last}".removeprefix(".")
                found.add(here)
        else:
            last = token[1]
    return frozenset(found)
