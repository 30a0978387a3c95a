import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dialog_cvae.data.readers import swda
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Profile, Utterance

TRAIN, VALID, TEST = 4325, 2227, 2104
ROW_COLUMNS = ("swda_filename", "conversation_no", "transcript_index", "act_tag", "caller", "text", "pos", "trees")
SIDES = [f"{side}_caller_{column}" for side in ("from", "to") for column in ("sex", "education", "birth_year")]
META_COLUMNS = ("conversation_no", "talk_day", "length", "topic_description", "prompt", *SIDES)
META = ("920323", "5", "CHILD CARE", "FIND OUT  WHAT CRITERIA", "FEMALE", "1", "1962", "MALE", "9", "1858")
PLAIN = (("qy", "A", "{D So, } do you have kids? /"), ("nn", "B", "No. /"))

Rows = Sequence[tuple[str, str, str]]


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue()


def transcript(number: int, rows: Rows) -> str:
    numbered = [("f", number, i, tag, caller, text, "p", "t") for i, (tag, caller, text) in enumerate(rows)]
    return as_csv(ROW_COLUMNS, numbered)


def transcript_path(number: int) -> str:
    return f"sw00utt/sw_0001_{number}.utt.csv"


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Writes an extracted corpus of three conversations, of which the training one has the rows given."""

    def write(rows: Rows = PLAIN, *, meta: Sequence[object] = META) -> Path:
        folder = tmp_path / "swda"
        (folder / "sw00utt").mkdir(parents=True)
        for number, content in ((TRAIN, rows), (VALID, PLAIN), (TEST, PLAIN)):
            (folder / transcript_path(number)).write_text(transcript(number, content), encoding="utf-8")
        metadata = as_csv(META_COLUMNS, [(number, *meta) for number in (TRAIN, VALID, TEST)])
        (folder / "swda-metadata.csv").write_text(metadata, encoding="utf-8")
        return folder

    return write


def train(path: Path, style: str = "zhao") -> Conversation:
    (conversation,) = swda.read(path, style).train
    return conversation


def said(path: Path, style: str = "zhao") -> list[tuple[str, str, str | None]]:
    return [(turn.speaker, turn.text, turn.dialog_act) for turn in train(path, style).utterances]


def test_a_conversation_with_its_metadata(corpus: Callable[..., Path]):
    read = swda.read(corpus(), "fluent")
    assert (read.name, read.licence) == ("swda (fluent)", "CC BY-NC-SA 3.0")
    assert [[c.id for c in split] for split in (read.train, read.valid, read.test)] == [
        ["sw4325"],
        ["sw2227"],
        ["sw2104"],
    ]
    (conversation,) = read.train
    assert (conversation.topic, conversation.prompt) == ("CHILD CARE", "FIND OUT WHAT CRITERIA")
    assert conversation.speakers == {"A": Profile("female", 30, 1), "B": Profile("male", None, None)}
    assert conversation.utterances == (
        Utterance("A", "So, do you have kids?", "yes-no-question"),
        Utterance("B", "No.", "no_answers"),
    )
    assert "3 callers without a plausible birth_year, age unknown" in read.notes


def test_continuations_join_across_the_other_speaker(corpus: Callable[..., Path]):
    path = corpus(
        [
            ("qw", "A", "{D So, }"),
            ("sd", "B", "[ [ I guess, +"),
            ("+", "A", "what do you do? /"),
            ("x", "B", "<Laughter>."),
            ("+@", "B", "I think, ] + {F uh, } I ] teach. /"),
            ("b", "A", "Uh-huh. /"),
            ("sd", "B", "It's fun. /"),
            ("+", "A", "{F Um, } yes. /"),
        ]
    )
    assert said(path, "fluent") == [
        ("A", "So, what do you do?", "wh-question"),
        ("B", "I teach.", "statement-non-opinion"),
        ("A", "Uh-huh.", "acknowledge_(backchannel)"),
        ("B", "It's fun.", "statement-non-opinion"),
        ("A", "Yes.", None),  # nothing was unfinished
    ]
    notes = swda.read(path, "fluent").notes
    assert notes[0] == "1 rows without words (act x) dropped"
    assert notes[1].startswith("2 continuations (act +) joined")
    assert notes[2].startswith("1 continuations without an unfinished utterance kept")


MONOLOGUE = (
    ("b", "A", "Yeah, /"),
    ("sd", "A", "{F uh, } I went home early last night because of the rain. /"),
    ("x", "B", "<Cough>."),
    ("sv", "A", "it was, {F uh, } a long, long day at the office downtown with everyone else there. /"),
    ("%", "A", "{C and, } -/"),
    ("qy", "A", "did you. /"),
    ("ny", "B", "Yes. /"),
)


def test_zhao_merges_a_turn_and_keeps_the_act_of_most_words(corpus: Callable[..., Path]):
    assert said(corpus(MONOLOGUE)) == [
        (
            "A",
            "yeah i went home early last night because of the rain it was a long long day at the office downtown "
            "with everyone else there and did you",
            "statement-opinion",
        ),
        ("B", "yes", "yes_answers"),
    ]


def test_fluent_merges_up_to_a_number_of_words(corpus: Callable[..., Path]):
    turns = said(corpus(MONOLOGUE), "fluent")
    assert turns == [
        (
            "A",
            "Yeah. I went home early last night because of the rain. It was a long, long day at the office downtown "
            "with everyone else there.",
            "statement-opinion",
        ),
        ("A", "Did you?", "yes-no-question"),
        ("B", "Yes.", "yes_answers"),
    ]
    assert len(turns[0][1].split()) == swda.FLUENT_WORDS


def test_verbatim_merges_nothing(corpus: Callable[..., Path]):
    path = corpus(MONOLOGUE)
    assert [text for _, text, _ in said(path, "verbatim")] == [
        "Yeah,",
        "uh, I went home early last night because of the rain.",
        "it was, uh, a long, long day at the office downtown with everyone else there.",
        "and,",
        "did you.",
        "Yes.",
    ]


def test_skips_are_counted(corpus: Callable[..., Path]):
    path = corpus([("sd", "A", "Hi. /"), ("zzz", "B", "Well. /"), ("%", "B", "{F Uh, } /"), ("sd", "A", "Bye. /")])
    (path / transcript_path(4103)).write_text(transcript(4103, [("sd", "A", "Alone. /")]), encoding="utf-8")
    (path / transcript_path(4104)).write_text(transcript(4104, []), encoding="utf-8")
    (path / transcript_path(4105)).write_text(transcript(4105, PLAIN), encoding="utf-8")
    read = swda.read(path, "zhao")
    assert [c.id for c in read.train] == ["sw4105", "sw4325"]
    assert (read.train[0].topic, dict(read.train[0].speakers)) == (None, {})
    assert [note.split()[:3] for note in read.notes] == [
        ["1", "utterances", "with"],
        ["1", "utterances", "empty"],
        ["2", "conversations", "of"],
        ["1", "conversations", "without"],
        ["3", "callers", "without"],
    ]
    assert read.train[1].utterances[1] == Utterance("B", "well", None)


@pytest.mark.parametrize("talk_day", ["", "19920323", "921323", "92-3-2", "unknown"])
def test_a_bad_talk_day_leaves_ages_unknown(corpus: Callable[..., Path], talk_day: str):
    path = corpus(meta=(talk_day, *META[1:]))
    assert [profile.age for profile in train(path).speakers.values()] == [None, None]
    assert "3 conversations without a valid talk_day, ages unknown" in swda.read(path, "zhao").notes


@pytest.mark.parametrize(
    ("birth_year", "age"), [("1962", 30), ("1980", 12), ("1981", None), ("1891", None), ("", None)]
)
def test_implausible_ages_are_unknown(corpus: Callable[..., Path], birth_year: str, age: int | None):
    meta = (*META[:6], birth_year, *META[7:])
    assert train(corpus(meta=meta)).profile("A").age == age


def zipped(folder: Path, target: Path, prefix: str = "swda/") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.csv")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/swda/sw00utt/._sw_0001_4325.utt.csv", b"\x00\x05\x16\x07")
        archive.writestr(f"{prefix}README.md", "about")
    return target


def test_folder_parent_and_zip_give_the_same(corpus: Callable[..., Path], tmp_path: Path):
    folder = corpus()
    expected = swda.read(folder, "zhao")
    assert swda.read(folder.parent, "zhao") == expected
    elsewhere = tmp_path / "elsewhere" / "swda"
    elsewhere.mkdir(parents=True)
    archive = zipped(folder, elsewhere / "swda.zip", prefix="swda-master/data/")
    for path in (archive, archive.parent, archive.parent.parent):
        assert swda.read(path, "zhao") == expected
    other_top = tmp_path / "other"
    shutil.copytree(folder, other_top / "swda-master" / "swda")
    assert swda.read(other_top, "zhao") == expected


def refused(path: Path, style: str = "zhao") -> DataError:
    with pytest.raises(DataError) as caught:
        swda.read(path, style)
    return caught.value


def test_unknown_style(corpus: Callable[..., Path]):
    with pytest.raises(ConfigError, match="style is 'clean', not one of zhao, fluent, verbatim"):
        swda.read(corpus(), "clean")


def test_nothing_there(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        assert "holds neither swda.zip nor the extracted folder" in str(refused(path))


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_truncated_zip(corpus: Callable[..., Path], tmp_path: Path, kept: float):
    archive = zipped(corpus(), tmp_path / "swda.zip")
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    error = refused(archive)
    assert error.path == str(archive)
    assert "not a readable zip file, perhaps truncated" in error.reason


def test_damaged_zip_member(corpus: Callable[..., Path], tmp_path: Path):
    archive = zipped(corpus(), tmp_path / "swda.zip")
    with zipfile.ZipFile(archive) as opened:
        start = opened.getinfo(f"swda/{transcript_path(TRAIN)}").header_offset
    data = bytearray(archive.read_bytes())
    data[start + 70 : start + 110] = bytes(40)
    archive.write_bytes(data)
    error = refused(archive)
    assert error.path.endswith(transcript_path(TRAIN))
    assert "perhaps truncated" in error.reason


@pytest.mark.parametrize("name", ["act_tag", "caller", "text", "conversation_no"])
def test_missing_transcript_column(corpus: Callable[..., Path], name: str):
    path = corpus()
    file = path / transcript_path(TRAIN)
    file.write_text(file.read_text().replace(name, "other", 1))
    error = refused(path)
    assert (error.path, error.line, error.reason) == (str(file), 1, f"column missing: {name}")


def test_missing_metadata_columns(corpus: Callable[..., Path]):
    path = corpus()
    file = path / "swda-metadata.csv"
    file.write_text(file.read_text().replace("talk_day", "day", 1).replace("prompt", "instruction", 1))
    error = refused(path)
    assert (error.path, error.line, error.reason) == (str(file), 1, "column missing: talk_day, prompt")


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        (",nn,B,", ",nn,C,", 3, "caller is 'C', not A or B"),
        (",nn,B,", ",nn,,", 3, "caller is '', not A or B"),
        (f"f,{TRAIN},1", "f,4326,1", 3, "conversation_no is 4326, but 4325 above"),
        (f"f,{TRAIN},1", "f,five,1", 3, "conversation_no is 'five', not a number"),
        (",No. /,p,t", "", 3, "5 fields, not 8"),
        ("No. /,", '"No. /,', 3, "not valid CSV"),
    ],
)
def test_malformed_rows(corpus: Callable[..., Path], old: str, new: str, line: int, reason: str):
    path = corpus()
    file = path / transcript_path(TRAIN)
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))
    error = refused(path)
    assert (error.path, error.line) == (str(file), line)
    assert error.reason.startswith(reason)


def test_rows_may_lack_the_last_columns(corpus: Callable[..., Path]):
    path = corpus()
    file = path / transcript_path(TRAIN)
    file.write_text(file.read_text().replace(",p,t", ""))
    assert len(train(path).utterances) == 2


def test_not_utf8(corpus: Callable[..., Path]):
    path = corpus()
    file = path / transcript_path(TRAIN)
    file.write_bytes(file.read_bytes().replace(b"No.", b"N\xf3."))
    error = refused(path)
    assert (error.path, error.line) == (str(file), 3)
    assert "is not UTF-8" in error.reason


def test_bytes_that_utf8_allows(corpus: Callable[..., Path]):
    path = corpus([("sd", "A", "Caf\u00e9, isn\u2019t it? /"), ("ny", "B", "Yes /")])
    file = path / transcript_path(TRAIN)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert said(path)[0][1] == "caf\u00e9 isn't it"


def test_a_conversation_or_its_metadata_twice(corpus: Callable[..., Path]):
    path = corpus()
    (path / "sw00utt" / "sw_0002_4325.utt.csv").write_text(transcript(TRAIN, PLAIN))
    assert "conversation 4325 is also in" in refused(path).reason
    (path / "sw00utt" / "sw_0002_4325.utt.csv").unlink()
    metadata = path / "swda-metadata.csv"
    metadata.write_text(metadata.read_text() + metadata.read_text().splitlines()[1] + "\n")
    assert (refused(path).line, refused(path).reason) == (5, "duplicate conversation_no 4325")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (VALID, "the split 'valid' is empty: of 2 usable conversations none is one of the 28 held out for it"),
        (TEST, "the split 'test' is empty: of 2 usable conversations none is one of the 28 held out for it"),
        (TRAIN, "the split 'train' is empty: of 2 usable conversations none is a training conversation"),
    ],
)
def test_empty_split(corpus: Callable[..., Path], number: int, reason: str):
    path = corpus()
    (path / transcript_path(number)).unlink()
    assert refused(path).reason == reason


def test_no_metadata_and_no_transcripts(corpus: Callable[..., Path], tmp_path: Path):
    folder = corpus()
    shutil.rmtree(folder / "sw00utt")
    assert "holds no transcripts" in refused(folder).reason
    archive = zipped(folder, tmp_path / "swda.zip")
    assert "holds no transcripts" in refused(archive).reason
    (folder / "swda-metadata.csv").unlink()
    assert "holds no swda-metadata.csv" in refused(zipped(folder, tmp_path / "swda.zip")).reason
