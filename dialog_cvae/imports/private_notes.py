"""Rows of a table that only the agents of a help desk saw, such as private notes, which are left out.

Open this to add a column that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from dialog_cvae.imports.column_names import spelling
from dialog_cvae.imports.message import Log
from dialog_cvae.imports.time_columns import Values

_TRUE: Final = frozenset({"true", "1", "1.0", "yes", "t"})
_FALSE: Final = frozenset({"false", "0", "0.0", "no", "f"})
_OPPOSITE: Final = {_TRUE: _FALSE, _FALSE: _TRUE}
_NOTES: Final = frozenset({"note", "private_note", "internal_note"})
# Columns, and their values in rows that only agents saw.
_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("private", "is_private", "internal", "is_internal", "is_note", "private_note"), _TRUE),
    **dict.fromkeys(("public", "is_public", "jsd_public"), _FALSE),
    "visibility": frozenset({"internal", "agents"}),
    **dict.fromkeys(("type", "message_type", "part_type", "comment_type", "event_type"), _NOTES),
}
_HUBSPOT: Final = "conversations_thread_id"  # beside it, a comment is a note


def choose_private(
    header: Sequence[str], spelt: Mapping[str, str], chosen: dict[str, str], values: Values, log: Log
) -> None:
    """Choose the column that says which rows are private notes, if there is one; this is noted.

    A column in which most conversations with such a row have no others tells private from public places, as of a
    chat, and is not chosen. A column of true and false is chosen also if none of the first rows is private, because
    later ones may be.

    Args:
        header: names of the columns.
        spelt: the columns by their spelling.
        chosen: the columns chosen so far, by what they hold; receives `private`.
        values: gives the first values of a column.
        log: receives a note.
    """
    for name in _COLUMNS:
        column = spelt.get(name)
        if column is None or header.count(column) > 1 or column == chosen.get("speaker"):
            continue
        first, private = list(values(column)), private_values(header, column)
        are_private = [is_private(value, private) for value in first]
        is_mixed = any(are_private) and not all(are_private) and not _tells_places(chosen, are_private, values)
        if is_mixed or _are_all_public(first, private):
            chosen["private"] = column
            log.notes.append(f"column {column!r} says which rows are private notes, which are left out")
            return


def private_values(header: Iterable[str], column: str) -> frozenset[str]:
    """The values of a chosen column in rows that only agents saw."""
    found = _COLUMNS[spelling(column)]
    is_hubspot = found is _NOTES and any(spelling(each) == _HUBSPOT for each in header)
    return found | {"comment"} if is_hubspot else found


def is_private(value: object, private: frozenset[str]) -> bool:
    """Whether a value is one of those of rows that only agents saw."""
    text = str(value).strip().lower()
    return text in private or (text.replace("-", "_").replace(" ", "_")) in private


def _are_all_public(first: Sequence[object], private: frozenset[str]) -> bool:
    """Whether the first values that are not blank, of which there is one or more, are the opposite of private."""
    shown = [value for value in first if value is not None and str(value).strip()]
    public = _OPPOSITE.get(private, frozenset())
    return bool(shown) and all(is_private(value, public) for value in shown)


def _tells_places(chosen: Mapping[str, str], are_private: Sequence[bool], values: Values) -> bool:
    """Whether most conversations with a private row have no public one."""
    if "conversation" not in chosen:
        return False
    kinds: dict[str, set[bool]] = {}
    for name, each in zip(values(chosen["conversation"]), are_private, strict=True):
        kinds.setdefault(str(name), set()).add(each)
    found = [kind for kind in kinds.values() if True in kind]
    return 2 * sum(len(kind) == 1 for kind in found) > len(found)
