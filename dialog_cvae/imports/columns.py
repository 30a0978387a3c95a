"""The meaning of a table's columns: given by the user, or guessed from their names.

Open this to change the choice between columns. `column_names` has the names, `table_rows` reads the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import LINKS, MORE, NAMES, OUTGOING, REQUIRED, TYPES, WAYS, find_pair, spelling
from dialog_cvae.imports.message import HOUR, Log, Options
from dialog_cvae.imports.private_notes import choose_private
from dialog_cvae.imports.recipients import choose_recipient
from dialog_cvae.imports.reply_threads import LEAST_REPLIES, count_replies
from dialog_cvae.imports.time_columns import Values, choose_times, note_unread_times
from dialog_cvae.imports.turns import SPEAKERS, role_name

DEFAULT_GAP: Final = 6 * HOUR  # used if no column says which conversation a row belongs to


def chosen_columns(name: str, header: Sequence[str], options: Options, log: Log, values: Values) -> dict[str, str]:
    """The chosen column for each kind of content; the choice is noted.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        options: `columns` take precedence over names.
        log: receives the choice.
        values: gives the first values of a column.

    Raises:
        DataError: a column that the user named, or a required one, is missing, or a chosen name is not unique.
    """
    chosen = named_by_user(name, header, options)
    spelt = {spelling(column): column for column in reversed(header)}
    guessed = _guess_pair(spelt, chosen)
    guessed += _guess(header, spelt, chosen, values, log)
    if not _is_needless("time", chosen):
        guessed += choose_times(name, header, spelt, chosen, values, log)
        note_unread_times(header, chosen, values, log)
    _check_links(name, header, chosen, guessed)
    required = REQUIRED if "response" not in chosen else ("text",)
    if missing := [what for what in required if what not in chosen]:
        raise DataError(
            name,
            f"no column looks like the {missing[0]}: name it, as in --column {missing[0]}=NAME. "
            f"Its columns are: {_listed(header)}",
        )
    check_unique(name, header, chosen.values())
    is_divided = chosen.keys() & {"conversation", "recipient", "reply_to", "response"}
    if not is_divided and _id_is_conversation(header, spelt, chosen, values):
        chosen["conversation"] = spelt["id"]
        guessed.append("conversation")
    guessed += choose_recipient(name, header, spelt, chosen, values, log)
    choose_private(header, spelt, chosen, values, log)
    _guess_outgoing(header, spelt, chosen)
    _guess_roles(chosen, values)
    log.speaker_column = chosen.get("speaker")
    _note(chosen, guessed, log)
    return chosen


def check_unique(name: str, header: Sequence[str], chosen: Iterable[str]) -> None:
    """Refuse a chosen column whose name other columns have too.

    Raises:
        DataError: there is one; the message names the file.
    """
    for column in chosen:
        if (count := header.count(column)) > 1:
            raise DataError(name, f"has {count} columns {column!r}: give them different names")


def named_by_user(name: str, header: Sequence[str], options: Options) -> dict[str, str]:
    """The columns that the user named, by what they hold.

    Raises:
        DataError: there is no such column; the message names the file.
    """
    chosen: dict[str, str] = {}
    for what, column in options.columns.items():
        if column not in header:
            near = get_close_matches(column, header, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(name, f"has no column {column!r}{hint or '.'} Its columns are: {_listed(header)}")
        chosen[what] = column
    return chosen


def _guess(
    header: Sequence[str], spelt: Mapping[str, str], chosen: dict[str, str], values: Values, log: Log
) -> list[str]:
    """Choose columns by their names; returns for what kinds of content."""
    guessed = []
    for what, known in NAMES.items():
        if what in chosen or what in {"time", "recipient"} or _is_needless(what, chosen):
            continue
        columns = [spelt[each] for each in known if each in spelt and spelt[each] not in chosen.values()]
        if what == "speaker":
            columns = _without_useless_types(header, columns, values, log)
        elif what == "id":
            columns = _by_replies(header, chosen, columns, values)
        found = next(iter(columns), None)
        if what == "conversation" and found is not None and spelling(found) == "channel" and _are_ways(values(found)):
            log.notes.append(f"column {found!r} says how a message was sent, and is not read as the conversation")
        elif found is not None:
            chosen[what] = found
            guessed.append(what)
    return guessed


def _without_useless_types(header: Sequence[str], columns: list[str], values: Values, log: Log) -> list[str]:
    """The possible columns of speakers, without types of persons before the first useful one that all rows share.

    All of them are returned if none is useful.
    """
    for place, column in enumerate(columns):
        if spelling(column) not in TYPES or header.count(column) > 1 or _differ(values(column)):
            log.notes += [
                f"column {each!r} is the same in the first rows, and is not read as the speaker"
                for each in columns[:place]
            ]
            return columns[place:]
    return columns


def _by_replies(header: Sequence[str], chosen: Mapping[str, str], columns: list[str], values: Values) -> list[str]:
    """The possible columns of a message's id, those first to which more of the first rows reply."""
    reply_to = chosen.get("reply_to")
    if len(columns) < 2 or reply_to is None or any(header.count(column) > 1 for column in (reply_to, *columns)):
        return columns
    return sorted(columns, key=lambda column: -count_replies(values(column), values(reply_to)))


def _guess_pair(spelt: Mapping[str, str], chosen: dict[str, str]) -> list[str]:
    """Choose the columns of a message and its answer, if there are such; returns what was guessed."""
    pair = None if chosen.keys() & {"speaker", "recipient", "text", "response"} else find_pair(spelt)
    if pair is None:
        return []
    chosen["text"], chosen["response"] = (spelt[each] for each in pair)
    more = next((spelt[each] for each in MORE if each in spelt), None)
    if pair[0] == "instruction" and more not in {None, *chosen.values()}:
        chosen["more"] = str(more)
    return ["text", "response"]


def _id_is_conversation(
    header: Sequence[str], spelt: Mapping[str, str], chosen: Mapping[str, str], values: Values
) -> bool:
    """Whether the column "id" names conversations, not messages or persons.

    Then a value belongs to two rows on average, or more, and most values that occur again have several speakers.
    """
    column = spelt.get("id")
    if column is None or column in chosen.values() or header.count(column) > 1:
        return False
    speakers: dict[str, list[str]] = {}
    for value, speaker in zip(values(column), values(chosen["speaker"]), strict=True):
        if not _is_blank(value):
            speakers.setdefault(str(value), []).append(str(speaker))
    repeated = [found for found in speakers.values() if len(found) > 1]
    with_several = sum(len(set(found)) > 1 for found in repeated)
    return 2 * len(speakers) <= sum(map(len, speakers.values())) and 2 * with_several > len(repeated)


def _guess_outgoing(header: Sequence[str], spelt: Mapping[str, str], chosen: dict[str, str]) -> None:
    outgoing = next((spelt[each] for each in OUTGOING if each in spelt and spelt[each] not in chosen.values()), None)
    if outgoing is not None and header.count(outgoing) == 1:
        chosen["outgoing"] = outgoing


def _guess_roles(chosen: dict[str, str], values: Values) -> None:
    """Choose the column of speakers as `role` too if it has the roles of chats with an assistant."""
    speaker = chosen.get("speaker", "")
    roles = {role_name(str(value)) for value in values(speaker)} if spelling(speaker) == "role" else ()
    if any(SPEAKERS.get(role) == "assistant" for role in roles):
        chosen["role"] = speaker


def _is_needless(what: str, chosen: Mapping[str, str]) -> bool:
    """Whether a kind of content has no use: beside a message and its answer, or beside a recipient."""
    is_useful = what not in {"speaker", "time", *LINKS} or (what == "time" and "conversation" in chosen)
    return ("response" in chosen and not is_useful) or (what == "conversation" and "recipient" in chosen)


def _check_links(name: str, header: Sequence[str], chosen: dict[str, str], guessed: list[str]) -> None:
    """Drop guesses of ids that have no use.

    Raises:
        DataError: the user named one of the two columns, and there is no other.
    """
    if all(what in chosen and (what not in guessed or header.count(chosen[what]) == 1) for what in LINKS):
        return
    for what, other in (LINKS, LINKS[::-1]):
        if what in guessed:
            guessed.remove(what)
            del chosen[what]
        elif what in chosen:
            raise DataError(name, f"column {chosen[what]!r} ({what}) has no use without --column {other}=NAME")


def _listed(header: Sequence[str]) -> str:
    return ", ".join(header[:30]) + (", ..." if len(header) > 30 else "")


def _are_ways(values: Iterable[object]) -> bool:
    """Whether all of these values, of which there is one or more, are ways of sending a message."""
    found = {spelling(str(value).lower()) for value in values if not _is_blank(value)}
    return bool(found) and found <= WAYS


def _differ(values: Iterable[object]) -> bool:
    return len({str(value).strip() for value in values if not _is_blank(value)}) > 1


def _is_blank(value: object) -> bool:
    return value is None or not str(value).strip()


def _note(chosen: Mapping[str, str], guessed: Sequence[str], log: Log) -> None:
    """Note which columns are read, and what follows from those that are missing."""
    pairs = ", ".join(f"{what}={chosen[what]}" for what in NAMES if what in chosen)
    said = f" ({', '.join(guessed)} by name; --column changes a choice)" if guessed else ""
    log.notes.append(f"columns: {pairs}{said}")
    if "response" in chosen:
        more = f"{chosen['text']} and {chosen['more']}" if "more" in chosen else chosen["text"]
        log.notes.append(f"each row is a message by user ({more}) and its answer by assistant ({chosen['response']})")
        if "conversation" not in chosen:
            log.gap = 0.0
            log.notes.append("no column says which conversation a row belongs to: each row is one")
            return
    elif "conversation" not in chosen:
        log.gap = DEFAULT_GAP if "time" in chosen else 0.0  # with replies: used if no reply names its message
        log.division = _division(chosen)
        split = log.division
        if "reply_to" in chosen:
            log.least_replies = LEAST_REPLIES if set(LINKS) <= set(guessed) else 0.0
            split = "a message and all replies to it are one"
        log.notes.append(f"no column says which conversation a row belongs to: {split}")
    untimed = "of their replies" if "reply_to" in chosen else "of the table"
    order = "of their times, if all have one" if "time" in chosen else untimed
    log.notes.append(f"messages of a conversation need not be together, and are in the order {order}")


def _division(chosen: Mapping[str, str]) -> str:
    """How a table without a column of conversations, and without replies, is divided."""
    silence = "a silence begins a new one" if "time" in chosen else ""
    people = "the talk of two people is one" if "recipient" in chosen else ""
    return " and ".join(filter(None, (people, silence))) or "the whole table is one"
