"""Where corpora are looked for, and what is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data import corpora, download
from dialog_cvae.data.corpora import DATA_VARIABLE, find, find_vectors, load_corpus, load_split, resolve, source_files
from dialog_cvae.data.readers import sample, swda, zhao2017
from dialog_cvae.errors import DataError
from dialog_cvae.types import Conversation, Corpus, Utterance

DIALOG = {
    "A": {"age": 30, "education": 2, "sex": '" \\"FEMALE\\""', "dialect": "x"},
    "B": {"age": 40, "education": 1, "sex": "MALE", "dialect": "x"},
    "topic": '" \\"PETS\\""',
    "prompt": "talk",
    "utts": [["A", "hello there .", ["statement", [0, 0, 0, 1]]], ["B", "hi .", ["statement", [0, 0, 0, 1]]]],
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places, empty: a named folder, that of the environment, the cache."""
    folders = {name: tmp_path / name for name in ("named", "environment", "cache")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(folders["environment"]))
    monkeypatch.setattr(download, "cache_dir", lambda: folders["cache"])
    return folders


def _put(root: Path, place: str = "swda.zip") -> Path:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_environment_comes_before_the_cache(places: dict[str, Path]) -> None:
    assert find("swda", None) is None
    cached = _put(places["cache"])
    assert find("swda", None) == cached
    ours = _put(places["environment"], "swda/swda.zip")
    assert find("swda", None) == ours


def test_a_named_folder_is_the_first_place(places: dict[str, Path]) -> None:
    assert find("swda", places["named"]) is None
    cached = _put(places["cache"])
    assert find("swda", places["named"]) == cached
    ours = _put(places["environment"])
    assert find("swda", places["named"]) == ours
    named = _put(places["named"], "swda/swda.zip")
    assert find("swda", places["named"]) == named


@pytest.mark.parametrize("place", ["swda/swda.zip", "swda.zip", "swda/swda-metadata.csv", "swda-metadata.csv"])
def test_every_layout_of_swda_is_found(places: dict[str, Path], place: str) -> None:
    _put(places["named"], place)
    assert find("swda", places["named"]) is not None


@pytest.mark.parametrize("stray", ["photos.zip", "swda/notes.txt", "train.jsonl"])
def test_other_files_are_not_swda(places: dict[str, Path], stray: str) -> None:
    _put(places["named"], stray)
    assert find("swda", places["named"]) is None


def test_missing_folders_are_named(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder \(--data-dir\)"):
        find("swda", Path("gone"))
    monkeypatch.setenv(DATA_VARIABLE, "gone")
    with pytest.raises(DataError, match=rf"gone: no such folder \(\${DATA_VARIABLE}\)"):
        find("swda", None)
    assert find("swda", _put(places["named"]).parent) is not None  # what is found there needs no other place
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert find("swda", None) is None


def test_auto_is_swda_where_its_file_is_and_else_sample(places: dict[str, Path]) -> None:
    assert resolve(DataConfig()).name == resolve(DataConfig(dir=places["named"])).name == "sample"
    _put(places["cache"])
    assert resolve(DataConfig()).name == "swda"
    assert resolve(DataConfig(name="zhao2017")).name == "zhao2017"
    assert resolve(DataConfig(dir=places["named"])).name == "swda"


def test_swda_is_found_and_read_in_the_requested_style(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    empty = Corpus("read", [], [], [])
    monkeypatch.setattr(swda, "read", lambda *arguments: calls.append(arguments) or empty)
    monkeypatch.setattr(download, "fetch", lambda spec: calls.append(spec) or Path("downloaded"))
    load_corpus(DataConfig(name="swda", style="fluent"))
    ours = _put(places["environment"])
    load_corpus(DataConfig(name="swda"))
    assert calls == [download.SWDA, (Path("downloaded"), "fluent"), (ours, "zhao")]


def test_sample_needs_no_file(places: dict[str, Path]) -> None:
    corpus = load_corpus(DataConfig(name="sample", dir=places["named"]))
    assert corpus.name == sample.NAME
    name, valid = load_split(DataConfig(name="sample"), "valid")
    assert (name, list(valid)) == (corpus.name, list(corpus.valid))
    assert load_corpus(DataConfig(name="auto")) == corpus


@pytest.mark.parametrize("name", ["swdaa", "", "SWDA", "mine.json", "train.txt", ".."])
def test_unknown_names_are_refused_with_the_known_ones(places: dict[str, Path], name: str) -> None:
    with pytest.raises(DataError, match=r"unknown corpus; known are swda, zhao2017, sample and the path of a \.jsonl"):
        load_corpus(DataConfig(name=name))


def test_a_path_is_read_with_its_shares(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    said = [[{"speaker": "A", "text": f"hello {index}"}, {"speaker": "B", "text": "hi"}] for index in range(10)]
    path.write_text("".join(json.dumps({"utterances": utterances}) + "\n" for utterances in said))
    corpus = load_corpus(DataConfig(name=str(path), valid_share=0.3, test_share=0.2))
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (5, 3, 2)
    name, test = load_split(DataConfig(name=str(path), valid_share=0.3, test_share=0.2), "test")
    assert (name, list(test)) == (corpus.name, list(corpus.test))


@pytest.mark.parametrize("place", ["zhao2017", ".", "json_data"])
def test_every_layout_of_zhao2017_is_found(places: dict[str, Path], place: str) -> None:
    """The last is that of `data` in a clone of the published repository, where the pickle may be missing."""
    (places["named"] / "test_multi_ref.json").touch()
    file = _put(places["named"], f"{place}/valid.jsonl")
    assert find("zhao2017", places["named"]) == file.parent


def test_one_split_of_zhao2017_needs_only_its_file(places: dict[str, Path]) -> None:
    folder = places["environment"] / "zhao2017"
    folder.mkdir()
    (folder / "valid.jsonl").write_text(json.dumps(DIALOG) + "\n")
    name, valid = load_split(DataConfig(name="zhao2017"), "valid")
    assert name == zhao2017.read(folder, splits=("valid",)).name
    assert [u.speaker for u in valid[0].utterances] == ["A", "B"]
    with pytest.raises(DataError, match=r"test\.jsonl"):
        load_split(DataConfig(name="zhao2017"), "test")
    with pytest.raises(DataError, match=r"train\.jsonl"):
        load_corpus(DataConfig(name="zhao2017"))


def test_source_files_are_those_that_are_read(places: dict[str, Path]) -> None:
    mine = _put(places["named"], "mine.jsonl")
    assert source_files(DataConfig(name=str(mine))) == [mine]
    assert all(path.is_file() for path in source_files(DataConfig(name="sample")))
    folder = places["environment"] / "swda"
    for name in ("swda-metadata.csv", "sw00utt/sw_0001_4325.utt.csv", "sw00utt/._sw_0001_4325.utt.csv", "notes.csv"):
        _put(folder, name)
    assert sorted(path.name for path in source_files(DataConfig(name="swda"))) == [
        "sw_0001_4325.utt.csv",
        "swda-metadata.csv",
    ]
    ours = _put(places["named"])
    assert source_files(DataConfig(name="swda", dir=places["named"])) == [ours]
    folder = places["environment"] / "zhao2017"
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "notes.txt"):
        _put(folder, name)
    assert [path.name for path in source_files(DataConfig(name="zhao2017"))] == [
        "train.jsonl",
        "valid.jsonl",
        "test.jsonl",
    ]
    with pytest.raises(DataError, match="unknown corpus"):
        source_files(DataConfig(name="swdaa"))


def test_zhao2017_says_where_to_put_its_files(places: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=rf"zhao2017: not found; put train\.jsonl.*--data-dir or \${DATA_VARIABLE}"):
        load_corpus(DataConfig(name="zhao2017"))


def test_vectors_beside_the_corpora(places: dict[str, Path]) -> None:
    assert find_vectors("glove.6B.100d", None) is None
    ours = _put(places["environment"], "glove/glove.6B.100d.subset.txt.gz")
    assert find_vectors("glove.6B.100d", None) == ours
    assert find_vectors("glove.6B.10", None) is None  # the name of a wider file only begins so
    assert find_vectors("glove.6B.100d", places["named"]) == ours
    named = _put(places["named"], "glove/glove.6B.100d.txt")
    assert find_vectors("glove.6B.100d", places["named"]) == named


@pytest.mark.parametrize("name", ["", "*", "/etc", "../..", "a/b", "[", "**"])
def test_no_name_of_vectors_reaches_out_of_the_folder(places: dict[str, Path], name: str) -> None:
    _put(places["environment"], "glove/glove.6B.100d.txt")
    assert find_vectors(name, None) is None


def test_the_real_folder(data_folder: Path) -> None:
    found = corpora.find("swda", data_folder)
    assert found == data_folder / "swda" / "swda.zip"
    if not (data_folder / "zhao2017" / "valid.jsonl").is_file():
        pytest.skip("the folder has no zhao2017/valid.jsonl")
    _, valid = load_split(DataConfig(name="zhao2017", dir=data_folder), "valid")
    assert (len(valid), sum(len(c.utterances) for c in valid)) == (60, 5225)
    assert isinstance(valid[0], Conversation)
    assert isinstance(valid[0].utterances[0], Utterance)


def test_a_suffix_in_capitals_is_a_file_of_conversations(tmp_path: Path) -> None:
    lines = [{"utterances": [{"speaker": "A", "text": text}, {"speaker": "B", "text": "yes"}]} for text in "abc"]
    path = tmp_path / "OWN.JSONL"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(load_corpus(DataConfig(name=str(path))).train) == 1
    assert list(source_files(DataConfig(name=str(path)))) == [path]
