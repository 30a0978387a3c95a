"""Reader of the Switchboard Dialog Act Corpus: 1,155 telephone conversations of two callers on a given topic.

Open it to change how rows become utterances. The corpus is that of Jurafsky, Shriberg and Biasca (1997), in the layout
of github.com/cgpotts/swda. The validation and test splits are the conversations in the validation and test sets of Zhao
et al. (2017).

From rows to utterances:

1.  Rows without words (act `x`) are dropped.
2.  A continuation (act `+`) joins its speaker's latest utterance if that is unfinished (has no `/` yet); what the
    other speaker said in between comes after the joined utterance.
3.  Markup becomes text in one of three styles, utterance by utterance; utterances that are then empty are dropped.
4.  `zhao`: the utterances of a turn (a speaker's consecutive rows) are merged. `fluent`: likewise, while the
    result has at most `FLUENT_WORDS` words, so that a model with a limit of 40 tokens sees all of it. `verbatim`:
    nothing is merged.
5.  A merged utterance gets the dialog act of its part with the most words (the first, if several). No other simple
    rule agrees better with the acts of Zhao et al.'s turns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import inf
from pathlib import Path
from types import MappingProxyType

from dialog_cvae.data.readers import dialog_acts, swda_files
from dialog_cvae.data.readers.swda_files import UNKNOWN_CALL, Row
from dialog_cvae.data.readers.swda_fluent import fluent
from dialog_cvae.data.readers.swda_text import is_finished, verbatim, zhao
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Corpus, Utterance

FLUENT_WORDS = 25
"""Maximum number of words of a merged `fluent` utterance."""

_WORD_LIMITS = MappingProxyType({"zhao": inf, "fluent": FLUENT_WORDS, "verbatim": 0})
STYLES = tuple(_WORD_LIMITS)
LICENCE = "CC BY-NC-SA 3.0"

_NOTES = MappingProxyType(
    {
        "nonverbal": "rows without words (act x) dropped",
        "joined": "continuations (act +) joined to the utterance that they continue",
        "orphan": "continuations without an unfinished utterance kept as utterances without a dialog act",
        "unknown act": "utterances with a tag that is not DAMSL's kept without a dialog act",
        "empty": "utterances empty after cleaning dropped",
        "short": "conversations of fewer than two utterances skipped",
        "no metadata": "conversations without metadata kept without topic and profiles",
        "talk_day": "conversations without a valid talk_day, ages unknown",
        "birth_year": "callers without a plausible birth_year, age unknown",
    }
)


def read(path: Path, style: str) -> Corpus:
    """Read the corpus.

    Args:
        path: `swda.zip`, the extracted folder, or a folder that holds either.
        style: how text reads: "zhao", "fluent" or "verbatim".

    Raises:
        ConfigError: no such style.
        DataError: the corpus is missing, damaged or malformed, or a split would be empty.
    """
    if style not in STYLES:
        raise ConfigError(f"style is {style!r}, not one of {', '.join(STYLES)}")
    counts: Counter[str] = Counter()
    held_out = _held_out()
    splits: dict[str, list[Conversation]] = {"train": [], **{name: [] for name in held_out}}
    for conversation, number in _conversations(path, style, counts):
        split = next((name for name, numbers in held_out.items() if number in numbers), "train")
        splits[split].append(conversation)
    found = sum(map(len, splits.values()))
    for name, conversations in splits.items():
        if not conversations:
            which = (
                f"one of the {len(held_out[name])} held out for it" if name in held_out else "a training conversation"
            )
            raise DataError(path, f"the split {name!r} is empty: of {found:,} usable conversations none is {which}")
    notes = tuple(f"{counts[kind]:,} {text}" for kind, text in _NOTES.items() if counts[kind])
    return Corpus(f"swda ({style})", splits["train"], splits["valid"], splits["test"], notes, LICENCE)


def _held_out() -> Mapping[str, frozenset[int]]:
    """Conversation numbers of the splits "valid" and "test"."""
    text = (files("dialog_cvae.data.readers") / "swda_splits.json").read_text(encoding="utf-8")
    return {name: frozenset(numbers) for name, numbers in json.loads(text).items()}


def _conversations(path: Path, style: str, counts: Counter[str]) -> Iterator[tuple[Conversation, int]]:
    """Every usable conversation and its number."""
    with swda_files.open_files(path) as named:
        calls = swda_files.read_metadata(named[swda_files.METADATA_NAME])
        seen: dict[int, str] = {}
        for name, file in named.items():
            if name == swda_files.METADATA_NAME:
                continue
            number, rows = swda_files.read_transcript(file)
            utterances = _utterances(rows, style, counts)
            if number is None or len(utterances) < 2:
                counts["short"] += 1
                continue
            if number in seen:
                raise DataError(str(file), f"conversation {number} is also in {seen[number]}")
            seen[number] = str(file)
            call = calls.get(number, UNKNOWN_CALL)
            counts.update(call.repairs if number in calls else ("no metadata",))
            yield Conversation(f"sw{number}", utterances, call.topic, call.prompt, call.speakers), number


@dataclass
class _Unit:
    """An utterance as segmented by the annotators: markup and class of its rows, and the turn in which it begins."""

    caller: str
    dialog_act: str | None
    markup: str
    turn: int


def _units(rows: Sequence[Row], counts: Counter[str]) -> list[_Unit]:
    """Steps 1 and 2: rows without words dropped, continuations joined."""
    units: list[_Unit] = []
    latest: dict[str, _Unit] = {}
    turn, speaker = 0, None
    for row in rows:
        if dialog_acts.is_nonverbal(row.act_tag):
            counts["nonverbal"] += 1
            continue
        turn, speaker = turn + (row.caller != speaker), row.caller
        unit = _Unit(row.caller, dialog_acts.class_name(row.act_tag), row.text, turn)
        if dialog_acts.is_continuation(row.act_tag):
            unfinished = latest.get(row.caller)
            if unfinished is not None and not is_finished(unfinished.markup):
                unfinished.markup += f" {row.text}"
                counts["joined"] += 1
                continue
            counts["orphan"] += 1
        elif unit.dialog_act is None:
            counts["unknown act"] += 1
        units.append(unit)
        latest[row.caller] = unit
    return units


def _utterances(rows: Sequence[Row], style: str, counts: Counter[str]) -> tuple[Utterance, ...]:
    """Steps 1 to 5."""
    turns: dict[int, list[Utterance]] = {}
    for unit in _units(rows, counts):
        text = _text(unit, style)
        if text:
            turns.setdefault(unit.turn, []).append(Utterance(unit.caller, text, unit.dialog_act))
        else:
            counts["empty"] += 1
    return tuple(_merged(group) for parts in turns.values() for group in _groups(parts, _WORD_LIMITS[style]))


def _text(unit: _Unit, style: str) -> str:
    if style == "fluent":
        return fluent(unit.markup, question=unit.dialog_act in dialog_acts.QUESTIONS)
    return zhao(unit.markup) if style == "zhao" else verbatim(unit.markup)


def _groups(parts: Sequence[Utterance], limit: float) -> Iterator[Sequence[Utterance]]:
    """Groups of neighbours with at most `limit` words in all; a single longer part stays whole."""
    group: list[Utterance] = []
    words = 0
    for part in parts:
        length = _length(part)
        if group and words + length > limit:
            yield group
            group, words = [], 0
        group.append(part)
        words += length
    yield group


def _merged(parts: Sequence[Utterance]) -> Utterance:
    """One utterance from neighbours of one speaker, with the act of the longest."""
    longest = max(parts, key=_length)
    return Utterance(parts[0].speaker, " ".join(part.text for part in parts), longest.dialog_act)


def _length(utterance: Utterance) -> int:
    return len(utterance.text.split())
