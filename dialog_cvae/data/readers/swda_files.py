"""The files of the Switchboard Dialog Act Corpus in the layout of github.com/cgpotts/swda, zipped or not.

Open it if a file of the corpus is refused. Each `swNNutt/sw_*_CCCC.utt.csv` is a conversation, and each of its rows an
utterance or a part of one; `swda-metadata.csv` has a row for each call. Unused columns (parses, parts of speech) may be
missing.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from dialog_cvae.errors import DataError
from dialog_cvae.types import Profile, Sex

File: TypeAlias = Path | zipfile.Path

ZIP_NAME = "swda.zip"
METADATA_NAME = "swda-metadata.csv"
_TRANSCRIPT_END = ".utt.csv"
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)

CALLERS = ("A", "B")
# In years, at the time of the call; Switchboard's callers were adults, so other values are typing errors.
PLAUSIBLE_AGE = range(12, 101)
_EDUCATION_CODES = {"0": 0, "1": 1, "2": 2, "3": 3}  # 9 is unknown
_SEXES: Mapping[str, Sex] = {"FEMALE": "female", "MALE": "male"}


class Row(NamedTuple):
    """A row of a transcript: its line in the file, DAMSL tag, caller ("A" or "B") and text with markup."""

    line: int
    act_tag: str
    caller: str
    text: str


class Transcript(NamedTuple):
    """A conversation's number and rows; a file may have none."""

    number: int | None
    rows: Sequence[Row]


class Call(NamedTuple):
    """Metadata of a call; `repairs` names the fields that were implausible and became None."""

    topic: str | None
    prompt: str | None
    speakers: Mapping[str, Profile]
    repairs: tuple[str, ...] = ()


UNKNOWN_CALL = Call(None, None, MappingProxyType({}))


def _find(path: Path) -> Path | None:
    """The folder or zip file that holds the corpus: `path`, or at most two folders below it; None if nowhere."""
    if path.is_file():
        return path
    for depth in ("", "*/", "*/*/"):
        for metadata in sorted(path.glob(depth + METADATA_NAME)):
            return metadata.parent
    return next(iter(sorted([*path.glob(ZIP_NAME), *path.glob(f"*/{ZIP_NAME}")])), None)


@contextmanager
def open_files(path: Path) -> Iterator[Mapping[str, File]]:
    """The corpus's files by name, in any subfolder of a folder or zip file.

    Raises:
        DataError: there is no such corpus, the zip file is damaged, or two files have the same name.
    """
    root = _find(path)
    if root is None:
        raise DataError(path, f"holds neither {ZIP_NAME} nor the extracted folder with {METADATA_NAME}")
    if root.is_dir():
        yield _by_name(root, list(root.rglob("*.csv")))
        return
    try:
        archive = zipfile.ZipFile(root)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(root, f"is not a readable zip file, perhaps truncated ({error})") from error
    with archive:
        yield _by_name(root, [zipfile.Path(archive, name) for name in archive.namelist()])


def source_files(path: Path) -> list[Path]:
    """The zip file, or the files of the extracted folder, that `open_files` reads; empty if there is no corpus."""
    root = _find(path)
    if root is None or root.is_file():
        return [] if root is None else [root]
    return [file for file in _by_name(root, list(root.rglob("*.csv"))).values() if isinstance(file, Path)]


def _by_name(root: Path, files: Sequence[File]) -> Mapping[str, File]:
    named: dict[str, File] = {}
    for file in sorted(files, key=lambda file: file.name):
        if file.name != METADATA_NAME and not file.name.endswith(_TRANSCRIPT_END):
            continue
        if file.name.startswith("."):  # the resource forks that macOS adds
            continue
        if file.name in named:
            raise DataError(str(file), f"the same file is also {named[file.name]}")
        named[file.name] = file
    if METADATA_NAME not in named:
        raise DataError(root, f"holds no {METADATA_NAME}")
    if len(named) == 1:
        raise DataError(root, "holds no transcripts (swNNutt/sw_NNNN_CCCC.utt.csv)")
    return named


def _records(file: File, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and the values of the named columns.

    Raises:
        DataError: a column is missing, a row has too few fields, or the file is damaged or not UTF-8.
    """
    try:
        data = file.read_bytes()
    except _UNREADABLE as error:
        raise DataError(str(file), f"cannot be read, perhaps truncated ({error})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(str(file), f"byte {error.start} is not UTF-8 ({error.reason})", line) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        if missing:
            raise DataError(str(file), f"column missing: {', '.join(missing)}", 1)
        indices = [header.index(column) for column in columns]
        needed = max(indices) + 1
        for record in reader:
            if not record:
                continue
            if len(record) < needed:  # rows without words lack the last columns, the parses
                raise DataError(str(file), f"{len(record)} fields, not {len(header)}", reader.line_num)
            yield reader.line_num, [record[index] for index in indices]
    except csv.Error as error:
        raise DataError(str(file), f"not valid CSV ({error})", reader.line_num) from error


def read_transcript(file: File) -> Transcript:
    """One conversation.

    Raises:
        DataError: as `_records`, or a caller is neither A nor B, or the conversation's number is invalid or changes.
    """
    number: int | None = None
    rows: list[Row] = []
    for line, (value, act_tag, caller, text) in _records(file, ("conversation_no", "act_tag", "caller", "text")):
        found = _conversation_number(file, line, value)
        if number not in (None, found):
            raise DataError(str(file), f"conversation_no is {found}, but {number} above", line)
        number = found
        if caller not in CALLERS:
            raise DataError(str(file), f"caller is {caller!r}, not A or B", line)
        rows.append(Row(line, act_tag, caller, text))
    return Transcript(number, rows)


def read_metadata(file: File) -> Mapping[int, Call]:
    """The calls by conversation number.

    Raises:
        DataError: as `_records`, or a conversation's number is invalid or a duplicate.
    """
    of_caller = [f"{side}_caller_{column}" for side in ("from", "to") for column in ("sex", "education", "birth_year")]
    columns = ("conversation_no", "talk_day", "topic_description", "prompt", *of_caller)
    calls: dict[int, Call] = {}
    for line, (value, talk_day, topic, prompt, *profiles) in _records(file, columns):
        number = _conversation_number(file, line, value)
        if number in calls:
            raise DataError(str(file), f"duplicate conversation_no {number}", line)
        repairs: list[str] = []
        talk_year = _talk_year(talk_day, repairs)
        speakers = {
            caller: _profile(profiles[start : start + 3], talk_year, repairs)
            for caller, start in zip(CALLERS, (0, 3), strict=True)
        }
        calls[number] = Call(_folded(topic), _folded(prompt), speakers, tuple(repairs))
    return calls


def _conversation_number(file: File, line: int, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise DataError(str(file), f"conversation_no is {value!r}, not a number", line)
    return int(value)


def _talk_year(talk_day: str, repairs: list[str]) -> int | None:
    """The year of a day written YYMMDD; Switchboard was recorded in 1990 to 1992."""
    if not re.fullmatch(r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", talk_day.strip()):
        repairs.append("talk_day")
        return None
    return 1900 + int(talk_day.strip()[:2])


def _profile(fields: Sequence[str], talk_year: int | None, repairs: list[str]) -> Profile:
    sex, education, birth_year = (value.strip() for value in fields)
    age: int | None = None
    if talk_year is not None:
        age = talk_year - int(birth_year) if birth_year.isascii() and birth_year.isdigit() else None
        if age not in PLAUSIBLE_AGE:
            repairs.append("birth_year")
            age = None
    return Profile(sex=_SEXES.get(sex.upper()), age=age, education=_EDUCATION_CODES.get(education))


def _folded(text: str) -> str | None:
    return " ".join(text.split()) or None
