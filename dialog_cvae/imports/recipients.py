"""Tables whose rows say who wrote to whom: the talk of two people is one conversation.

Open this to change when a column is read as the recipient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import LINKS, NAMES
from dialog_cvae.imports.message import Log
from dialog_cvae.imports.reply_threads import LEAST_REPLIES, count_replies
from dialog_cvae.imports.time_columns import Values

# Share of the first rows whose recipient writes back in these rows. Where fewer do, as in rooms or broadcasts, the
# column does not tell talks apart.
_LEAST_ANSWERED: Final = 1 / 4


def choose_recipient(
    name: str, header: Sequence[str], spelt: Mapping[str, str], chosen: dict[str, str], values: Values, log: Log
) -> list[str]:
    """Choose the column of recipients, and as `sender` that of the same people; returns what was guessed.

    The speaker may be in another column than the sender: a role, or a name where recipients are ids.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        spelt: the columns by their spelling.
        chosen: the columns chosen so far, by what they hold; receives the two.
        values: gives the first values of a column.
        log: receives a note if a column with the name of recipients is not read.

    Raises:
        DataError: the user named a recipient, and also what makes it useless.
    """
    named = chosen.get("recipient")
    for other in ("conversation", "response"):
        if other in chosen and named is not None:
            raise DataError(name, f"column {named!r} (recipient) has no use beside column {chosen[other]!r} ({other})")
        if other in chosen:
            return []
    if named is None and _is_threaded(chosen, values):
        return []
    # The sender and recipient of most answered rows.
    known = {what: _known(what, header, spelt, chosen) for what in ("speaker", "recipient")}
    people = {column: [person(value) for value in values(column)] for columns in known.values() for column in columns}
    pairs = [(sender, to) for to, sender in product(known["recipient"], known["speaker"]) if sender != to]
    if not pairs:
        return []
    sender, recipient = max(pairs, key=lambda pair: _answered(people[pair[0]], people[pair[1]]))
    count, rows = _answered(people[sender], people[recipient]), len(people[sender])
    if named is None and count < _LEAST_ANSWERED * rows:
        log.notes.append(
            f"column {recipient!r} is not read as the recipient, because only {count:,} of the first {rows:,} rows "
            f"are answered; --column recipient=NAME makes the talk of two people a conversation"
        )
        return []
    chosen["sender"], chosen["recipient"] = sender, recipient
    return [] if named is not None else ["recipient"]


def _known(what: str, header: Sequence[str], spelt: Mapping[str, str], chosen: Mapping[str, str]) -> list[str]:
    """The columns that may hold a kind of people: the chosen one first; of recipients no other beside it."""
    taken = {column for each, column in chosen.items() if each not in {"speaker", "recipient"}}
    known = [spelt[each] for each in NAMES[what] if each in spelt]
    if what in chosen:
        known = [chosen[what], *(known if what == "speaker" else ())]
    return [column for column in dict.fromkeys(known) if header.count(column) == 1 and column not in taken]


def _is_threaded(chosen: Mapping[str, str], values: Values) -> bool:
    """Whether so many of the first rows reply to another one that replies divide the table."""
    if "reply_to" not in chosen:
        return False
    ids, replies = (list(values(chosen[what])) for what in LINKS)
    return count_replies(ids, replies) >= LEAST_REPLIES * len(ids)


def person(value: object) -> str:
    """A name or id of a person, where a number may be written as a fraction; empty if there is none."""
    name = "" if value is None else str(value).strip()
    return name.removesuffix(".0") if name.removesuffix(".0").isdigit() else name


def talk_of(sender: object, recipient: object) -> str:
    """The name of the conversation of two people; empty if both are unknown."""
    first, second = sorted((person(sender), person(recipient)))
    shown = ", ".join(each for each in (first, second) if each)
    return f"{first}\0{second}\0{shown}" if shown else ""


def _answered(senders: Sequence[str], recipients: Sequence[str]) -> int:
    """The number of rows whose recipient also writes to their sender."""
    pairs = list(zip(senders, recipients, strict=True))
    known = set(pairs)
    return sum(sender != recipient and (recipient, sender) in known for sender, recipient in pairs)
