"""The readers of Switchboard against the corpus itself: its parses, its parts of speech, and Zhao et al.'s text."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from statistics import mean

import pytest

from dialog_cvae.data.readers import swda, zhao2017
from dialog_cvae.data.readers.dialog_acts import CLASS_NAMES, class_name, is_continuation
from dialog_cvae.data.readers.swda_fluent import fluent
from dialog_cvae.data.readers.swda_text import verbatim
from dialog_cvae.types import Conversation, Corpus, Utterance

TRAINING = 40
"""Training conversations in the excerpt that the quick tests read, beside the 56 held out."""


@pytest.fixture(scope="module")
def full(data_folder: Path) -> Path:
    archive = data_folder / "swda" / "swda.zip"
    if not archive.is_file():
        pytest.skip("needs swda/swda.zip below DIALOG_CVAE_DATA")
    return archive


@pytest.fixture(scope="module")
def excerpt(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    held_out = json.loads((Path(swda.__file__).parent / "swda_splits.json").read_text())
    wanted = {str(number) for numbers in held_out.values() for number in numbers}
    path = tmp_path_factory.mktemp("swda") / "swda.zip"
    with zipfile.ZipFile(full) as source, zipfile.ZipFile(path, "w") as target:
        transcripts = [name for name in source.namelist() if name.endswith(".utt.csv")]
        chosen = {name for name in transcripts if name[-12:-8] in wanted} | set(transcripts[: 25 * TRAINING : 25])
        for name in sorted(chosen):
            target.writestr(name, source.read(name))
        target.writestr("swda-metadata.csv", source.read("swda/swda-metadata.csv"))
    return path


def rows(archive: Path) -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(".utt.csv"):
                yield from csv.DictReader(io.StringIO(opened.read(name).decode(), newline=""))


def utterances(corpus: Corpus) -> list[Utterance]:
    return [turn for split in (corpus.train, corpus.valid, corpus.test) for c in split for turn in c.utterances]


@pytest.mark.parametrize(
    ("style", "words", "allowed"),
    [
        ("zhao", (11, 14), r"[a-zé' -]+"),
        ("fluent", (9, 12), r"[A-Za-zé',.?! -]+"),
        ("verbatim", (6, 9), r"[A-Za-zé\"',.?! -]+"),
    ],
)
def test_no_markup_is_left(excerpt: Path, style: str, words: tuple[int, int], allowed: str):
    corpus = swda.read(excerpt, style)
    turns = utterances(corpus)
    assert [turn.text for turn in turns if not re.fullmatch(allowed, turn.text) or "--" in turn.text] == []
    assert words[0] < mean(len(turn.text.split()) for turn in turns) < words[1]
    assert {turn.dialog_act for turn in turns} <= {*CLASS_NAMES.values(), None} - {"non-verbal"}
    profiles = [profile for c in corpus.train for profile in c.speakers.values()]
    assert all(c.topic and c.prompt and set(c.speakers) == {"A", "B"} for c in corpus.train)
    assert {profile.sex for profile in profiles} == {"female", "male"}
    assert all(15 < (profile.age or 30) < 80 for profile in profiles)
    assert sum(profile.age is not None for profile in profiles) > 0.95 * len(profiles)


def test_splits_are_those_of_zhao(excerpt: Path):
    corpus = swda.read(excerpt, "verbatim")
    assert (len(corpus.valid), len(corpus.test)) == (28, 28)
    ids = [c.id for split in (corpus.train, corpus.valid, corpus.test) for c in split]
    assert len(ids) == len(set(ids))


def test_verbatim_has_the_words_that_the_corpus_tags(excerpt: Path):
    """The column of parts of speech is a second transcript of the same words, without markup."""

    def letters(text: str) -> str:
        return re.sub(r"[^a-z']", "", text.lower())

    same = Counter(
        letters(verbatim(row["text"])) == letters(re.sub(r"/\S+|[\[\]]", " ", row["pos"]))
        for row in rows(excerpt)
        if row["pos"].strip() and class_name(row["act_tag"]) != "non-verbal"
    )
    assert same[True] / same.total() > 0.99


EDITED = re.compile(r"\((?:EDITED|-DFL-|-NONE-)(?=[ (])")
LEAF = re.compile(r"\(([^\s()]+) ([^\s()]+)\)")


def parsed_words(tree: str) -> list[str]:
    """A Penn Treebank parse's words without those that the treebank's annotators marked as edited."""
    while match := EDITED.search(tree):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(tree[end], 0)
            end += 1
        tree = tree[: match.start()] + tree[end:]
    leaves = [word for tag, word in LEAF.findall(tree) if tag.isalpha() or tag.endswith("$")]
    return [word.lower() for word in leaves if word.lower() not in {"uh", "um"} and not word.endswith("-")]


def test_fluent_says_what_the_parses_call_unedited(excerpt: Path):
    """The Penn Treebank's annotators marked reparanda too, in the parses, independently of brackets in the text."""
    ratios = []
    parts = Counter(number for row in rows(excerpt) for number in {(row["conversation_no"], row["ptb_treenumbers"])})
    for row in rows(excerpt):
        tree, whole = row["trees"] or "", parts[row["conversation_no"], row["ptb_treenumbers"]] == 1
        if not tree or "|||" in tree or not whole or is_continuation(row["act_tag"]) or "EDITED" not in tree:
            continue
        text = fluent(row["text"])
        if text:
            said = re.findall(r"[a-z]+", text.lower())
            meant = re.findall(r"[a-z]+", " ".join(parsed_words(tree)).replace(" n't", "n't").replace(" '", "'"))
            ratios.append(SequenceMatcher(None, said, meant, autojunk=False).ratio())
    assert len(ratios) > 200
    assert mean(ratios) > 0.95


def streams(conversation: Conversation) -> Mapping[str, list[str]]:
    """Every speaker's words, in order."""
    words: dict[str, list[str]] = {"A": [], "B": []}
    for turn in conversation.utterances:
        words[turn.speaker] += turn.text.split()
    return words


def test_zhao_style_agrees_with_zhao(excerpt: Path, data_folder: Path):
    """Both transcripts of the 28 shared conversations, which are found by their words."""
    file = data_folder / "zhao2017" / "valid.jsonl"
    if not file.is_file():
        pytest.skip("needs zhao2017/valid.jsonl below DIALOG_CVAE_DATA")
    theirs = zhao2017.read(file.parent, ["valid"]).valid
    bags = [Counter(word for words in streams(c).values() for word in words) for c in theirs]
    ratios, pairs = [], []
    for ours in swda.read(excerpt, "zhao").valid:
        bag = Counter(word for words in streams(ours).values() for word in words)
        best = max(range(len(bags)), key=lambda i: (bag & bags[i]).total() / (bag | bags[i]).total())
        pairs.append((ours, theirs[best]))
        for speaker, words in streams(ours).items():
            matcher = SequenceMatcher(None, words, streams(theirs[best])[speaker], autojunk=False)
            ratios.append(matcher.ratio())
    assert len({other.id for _, other in pairs}) == 28
    for ours, other in pairs:  # the match is right: what Zhao et al. say of the speakers is the same
        assert ours.topic == other.topic
        assert [ours.profile(s).sex for s in "AB"] == [other.profile(s).sex for s in "AB"]
        assert [ours.profile(s).education for s in "AB"] == [other.profile(s).education for s in "AB"]
    assert mean(ratios) > 0.86


@pytest.mark.slow
@pytest.mark.parametrize("style", swda.STYLES)
def test_the_whole_corpus(full: Path, style: str):
    corpus = swda.read(full, style)
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [1099, 28, 28]
    assert not [turn.text for turn in utterances(corpus) if re.search(r"[{}\[\]+#<>()*/_]|--|  ", turn.text)]
    assert corpus.notes[0] == "3,678 rows without words (act x) dropped"
