"""Reader of Switchboard as Zhao et al. (2017) prepared it (github.com/snakeztc/NeuralDialog-CVAE).

Open it if a file of the corpus is refused. It comes in two forms with the same content: `train.jsonl`, `valid.jsonl`,
`test.jsonl` with a dialog in each line (in `data/json_data` of the repository), or one Python 2 pickle of a dict of
three lists (in `data`). A dialog has `A`, `B` (age, education, sex), `topic`, `prompt` and `utts`, a list of [speaker,
text, [dialog act, sentiment]]. Strings other than texts have stray quotes and spaces (`' "FEMALE"'`). They are removed
here; in the official code, they make the sex feature constant.

Ages are those in 2016, not at the call some 25 years earlier, as a comparison with Switchboard's own tables shows.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import UNKNOWN_PROFILE, Conversation, Corpus, Profile, Sex, Utterance

PICKLE_NAME = "full_swda_clean_42da_sentiment_dialog_corpus.p"
SPLITS = ("train", "valid", "test")
SPEAKERS = ("A", "B")
LICENCE = "text of Switchboard-1 (LDC97S62), prepared by Zhao et al. (2017)"

_PLAUSIBLE_AGE = range(12, 121)
_SEXES: Mapping[str, Sex] = MappingProxyType({"female": "female", "male": "male"})
_NOTES = MappingProxyType(
    {
        "empty": "utterances without text dropped",
        "short": "dialogs of fewer than two utterances skipped",
        "age": "speakers without a plausible age, age unknown",
    }
)
# Names that a pickle may use. None of them can run other code.
_PLAIN = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (set, frozenset)},
    }
)


class _MalformedError(ValueError):
    """A dialog does not have the form in the module's docstring."""


def read(path: Path, splits: Sequence[str] = SPLITS) -> Corpus:
    """Read the corpus.

    Args:
        path: a folder with the jsonl files or the pickle (the former are preferred), or the pickle itself.
        splits: the splits to read; the others are empty, and their files may be missing.

    Raises:
        ConfigError: a split is unknown.
        DataError: a split is missing, empty or malformed.
    """
    for split in splits:
        if split not in SPLITS:
            raise ConfigError(f"split is {split!r}, not one of {', '.join(SPLITS)}")
    counts: Counter[str] = Counter()
    found = _read_splits(path, splits, counts)
    for split, conversations in found.items():
        if not conversations:
            raise DataError(path, f"the split {split!r} is empty: it has no dialog of at least two utterances")
    train, valid, test = (found.get(split, []) for split in SPLITS)
    counted = (f"{counts[kind]:,} {text}" for kind, text in _NOTES.items() if counts[kind])
    notes = ("ages are as of 2016, not of the time of the call", *counted)
    return Corpus("zhao2017", train, valid, test, notes, LICENCE)


def source_files(path: Path) -> list[Path]:
    """The existing files that `read` may read."""
    files = (
        [path] if path.is_file() else [path / name for name in (*(f"{split}.jsonl" for split in SPLITS), PICKLE_NAME)]
    )
    return [file for file in files if file.is_file()]


def _read_splits(path: Path, splits: Sequence[str], counts: Counter[str]) -> dict[str, list[Conversation]]:
    if path.suffix == ".jsonl":
        raise DataError(path, "is a single split; give the folder with all splits")
    if path.is_file():
        return _read_pickle(path, splits, counts)
    missing = [f"{split}.jsonl" for split in splits if not (path / f"{split}.jsonl").is_file()]
    if not missing:
        return {split: _read_jsonl(path / f"{split}.jsonl", split, counts) for split in splits}
    if (path / PICKLE_NAME).is_file():
        return _read_pickle(path / PICKLE_NAME, splits, counts)
    raise DataError(path, f"{', '.join(missing)} not found, nor {PICKLE_NAME}, which holds all splits")


def _read_jsonl(path: Path, split: str, counts: Counter[str]) -> list[Conversation]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})") from error
    conversations = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            dialog = json.loads(line.decode("utf-8-sig"))
            conversations.append(_conversation(dialog, f"{split}-{number}", counts))
        except _MalformedError as error:
            raise DataError(path, str(error), number) from error
        except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError too
            raise DataError(path, f"not valid JSON ({error})", number) from error
    return _usable(conversations, counts)


class _PlainUnpickler(pickle.Unpickler):
    """Loads containers, text and numbers; a pickle that names anything else is refused before it is loaded."""

    def find_class(self, module: str, name: str) -> type:
        try:
            return _PLAIN[module, name]
        except KeyError:
            raise _MalformedError(f"refused to load {module}.{name}: only plain containers, text and numbers") from None


def _read_pickle(path: Path, splits: Sequence[str], counts: Counter[str]) -> dict[str, list[Conversation]]:
    try:
        with path.open("rb") as file:
            # Python 2 wrote byte strings with ASCII text; latin-1 decodes any byte.
            data = _PlainUnpickler(file, encoding="latin-1").load()
    except _MalformedError as error:
        raise DataError(path, str(error)) from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged pickle can raise any error
        raise DataError(path, f"not a valid pickle, perhaps truncated ({type(error).__name__}: {error})") from error
    if not isinstance(data, dict):
        raise DataError(path, f"holds a {type(data).__name__}, not a dict of {', '.join(SPLITS)}")
    found = {}
    for split in splits:
        dialogs = data.get(split)
        if not isinstance(dialogs, list | tuple):
            raise DataError(path, f"{split} is {_shown(dialogs)}, not a list of dialogs")
        conversations = []
        for number, dialog in enumerate(dialogs, 1):
            try:
                conversations.append(_conversation(dialog, f"{split}-{number}", counts))
            except _MalformedError as error:
                raise DataError(path, f"{split}, dialog {number}: {error}") from error
        found[split] = _usable(conversations, counts)
    return found


def _usable(conversations: Sequence[Conversation], counts: Counter[str]) -> list[Conversation]:
    usable = [conversation for conversation in conversations if len(conversation.utterances) >= 2]
    counts["short"] += len(conversations) - len(usable)
    return usable


def _conversation(dialog: object, name: str, counts: Counter[str]) -> Conversation:
    if not isinstance(dialog, dict):
        raise _MalformedError(f"the dialog is {_shown(dialog)}, not an object")
    turns = dialog.get("utts")
    if not isinstance(turns, list | tuple):
        raise _MalformedError(f"utts is {_shown(turns)}, not a list")
    utterances = [_utterance(turn, f"utts[{index}]") for index, turn in enumerate(turns)]
    spoken = tuple(utterance for utterance in utterances if utterance.text)
    counts["empty"] += len(utterances) - len(spoken)
    speakers = {speaker: _profile(dialog.get(speaker), speaker, counts) for speaker in SPEAKERS}
    topic, prompt = (_unquoted(dialog.get(key), key) or None for key in ("topic", "prompt"))
    return Conversation(name, spoken, topic, prompt, MappingProxyType(speakers))


def _utterance(turn: object, where: str) -> Utterance:
    if not isinstance(turn, list | tuple) or len(turn) < 2:
        raise _MalformedError(f"{where} is {_shown(turn)}, not [speaker, text, [dialog act, ...]]")
    speaker, text, *rest = turn
    if speaker not in SPEAKERS:
        raise _MalformedError(f"the speaker of {where} is {_shown(speaker)}, not A or B")
    if not isinstance(text, str):
        raise _MalformedError(f"the text of {where} is {_shown(text)}, not a string")
    features = rest[0] if rest and isinstance(rest[0], list | tuple) else ()
    dialog_act = _unquoted(features[0], f"the dialog act of {where}") if features else ""
    return Utterance(speaker, " ".join(_encodable(text, where).split()), dialog_act or None)


def _profile(fields: object, speaker: str, counts: Counter[str]) -> Profile:
    if fields is None:
        return UNKNOWN_PROFILE
    if not isinstance(fields, dict):
        raise _MalformedError(f"{speaker} is {_shown(fields)}, not an object")
    age, education = (_number(fields.get(key), f"{speaker}'s {key}") for key in ("age", "education"))
    if age not in _PLAUSIBLE_AGE:
        counts["age"] += 1
        age = None
    sex = _SEXES.get(_unquoted(fields.get("sex"), f"{speaker}'s sex").lower())
    return Profile(sex, age, education if education in range(4) else None)


def _number(value: object, what: str) -> int | None:
    text = _unquoted(value, what)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _unquoted(value: object, what: str) -> str:
    """A field's text without the quotes and spaces around it; "" if it is missing."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise _MalformedError(f"{what} is {_shown(value)}, not text")
    return " ".join(_encodable(str(value), what).strip("\"' \t\r\n").split())


def _encodable(text: str, what: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _MalformedError(f"{what} is not valid Unicode (half of a surrogate pair)") from None
    return text


def _shown(value: object) -> str:
    return (
        "missing"
        if value is None
        else f"{value!r:.60}"
        if isinstance(value, str | int | float)
        else type(value).__name__
    )
