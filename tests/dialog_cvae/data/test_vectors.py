import gzip
import io
import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import DataError

GLOVE = "the 0.1 -0.2 3e-1\nyeah 1 2 3\n. 0 0 0.5\n"
VALUES = [[0.1, -0.2, 0.3], [1, 2, 3], [0, 0, 0.5]]


@pytest.fixture
def write(tmp_path):
    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def binary(words, matrix):
    """word2vec's binary format, as the original C tool writes it."""
    matrix = np.asarray(matrix, dtype="<f4")
    rows = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, matrix, strict=True))
    return f"{matrix.shape[0]} {matrix.shape[1]}\n".encode() + rows


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        GLOVE.rstrip("\n"),
        "3 3\n" + GLOVE,
        "\ufeff" + GLOVE,
        GLOVE.replace("\n", "\r\n"),
        GLOVE.replace("\n", " \n"),
        "3 3\n" + GLOVE.replace("\n", " \n"),
        GLOVE + "\n\n",
        gzip.compress(GLOVE.encode()),
        gzip.compress(("3 3\n" + GLOVE).encode()),
        binary(["the", "yeah", "."], VALUES),
        gzip.compress(binary(["the", "yeah", "."], VALUES)),
    ],
    ids=["glove", "no end of line", "word2vec", "bom", "crlf", "trailing space", "word2vec with trailing space",
         "blank lines", "glove.gz", "word2vec.gz", "binary", "binary.gz"],
)  # fmt: skip
def test_every_format_gives_the_same_vectors(write, content):
    vectors = load_vectors(write(content))
    assert dict(vectors.rows) == {"the": 0, "yeah": 1, ".": 2}
    assert vectors.matrix.dtype == np.float32
    assert vectors.matrix == pytest.approx(np.array(VALUES, dtype=np.float32))
    assert vectors.dimension == 3


@pytest.mark.parametrize("content", [GLOVE, binary(["the", "yeah", "."], VALUES)], ids=["text", "binary"])
def test_only_wanted_words_are_kept(write, content):
    path = write(content)
    vectors = load_vectors(str(path), ["yeah", "never", "."])
    assert dict(vectors.rows) == {"yeah": 0, ".": 1}
    assert vectors.matrix.tolist() == [[1, 2, 3], [0, 0, 0.5]]
    nothing = load_vectors(path, {"never"})
    assert (len(nothing.rows), nothing.matrix.shape, nothing.dimension) == (0, (0, 3), 3)


def test_coverage_counts_tokens_and_lists_the_most_frequent_missing_words(write):
    vectors = load_vectors(write(GLOVE))
    coverage = vectors.coverage({"the": 5, "never": 1, "i": 3, "ever": 1})
    assert (coverage.tokens, coverage.known, coverage.share) == (10, 5, 0.5)
    assert coverage.missing == (("i", 3), ("ever", 1), ("never", 1))
    assert vectors.coverage({}).share == 0.0


@pytest.mark.parametrize("words", [None, [". . .", "at name@domain.com", "at"]])
def test_words_with_spaces(write, words):
    # GloVe 840B has such lines; here they come first and decide nothing about the dimension
    path = write(". . . 1 2\nat name@domain.com 3 4\nat 5 6\n. 7 8\n")
    vectors = load_vectors(path, words)
    rows = {". . .": 0, "at name@domain.com": 1, "at": 2, **({".": 3} if words is None else {})}
    assert dict(vectors.rows) == rows
    assert vectors.matrix.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]][: len(rows)]


def test_unusual_words(write):
    # numbers, words that float() reads, unicode spaces, a broken character, an empty word, a repeated word
    path = write("1999 1 2\nnan 3 4\ninf 5 6\na\u00a0b 7 8\n".encode() + b"caf\xc3 9 10\n 11 12\n1999 13 14\n")
    vectors = load_vectors(path)
    assert list(vectors.rows) == ["1999", "nan", "inf", "a\u00a0b", "caf\ufffd"]
    assert vectors.matrix[:, 0].tolist() == [1, 3, 5, 7, 9]


@given(
    table=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=6),
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4),
        min_size=1,
        max_size=8,
    ),
    header=st.booleans(),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_what_is_written_is_read(tmp_path_factory, table, header):
    path = tmp_path_factory.mktemp("vectors") / "vectors.txt"
    lines = [f"{len(table)} 4"] if header else []
    lines += [f"{word} {' '.join(map(repr, vector))}" for word, vector in table.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    vectors = load_vectors(path)
    assert list(vectors.rows) == list(table)
    assert vectors.matrix.tolist() == [list(map(float, np.float32(vector))) for vector in table.values()]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("a 1 2 3\nb 1 2\n", 2, "expected 3 numbers after the word, got 2"),
        ("a 1 2 3\nb 1 2 3 4\n", 2, "expected 3 numbers after the word, got 4"),
        ("a 1 2\nb 1 2 3\nc 4 5 6\n", 1, "expected 3 numbers after the word, got 2"),
        ("a 1 2 3\nb\n", 2, "expected 3 numbers after the word, got 0"),
        ("a 1 x 3\nb 1 2 3\n", 1, "the vector of 'a' has a value that is not a number: .*'x'"),
        ("a 1 2 3\nb 1 2 x\n", 2, "the vector of 'b' has a value that is not a number: .*'x'"),
        ("a 1 2\n\nb 1 nan\n", 3, "the vector of 'b' has a value that is not finite"),
        ("a 1 2\nb inf 2\n", 2, "the vector of 'b' has a value that is not finite"),
        ("a 1 2\nb 1e39 2\n", 2, "not finite in 32 bits"),
        ("2 3\na 1 2 3\nb 1 2\n", 3, "expected 3 numbers after the word, got 2"),
        ("2 5\na 1 2 3\nb 1 2 3\n", 2, "expected 5 numbers after the word, got 3"),
        ("3 2\na 1 2\nb 1 2\n", None, "the header announces 3 vectors, the file has 2"),
        ("1 2\na 1 2\nb 1 2\n", None, "the header announces 1 vectors, the file has 2"),
        ("2 0\na\nb\n", 1, "vectors of 0 dimensions; 1 to 16384 are possible"),
        (b"1 999999999999\na \x00\x00", 1, "vectors of 999999999999 dimensions"),
        ("yeah\nso\n", 1, "expected a word and then its numbers"),
        ("a\t1\t2\n", 1, "separated by single spaces"),
        ('{"a": [1, 2]}\n', 1, "expected a word and then its numbers"),
        ("", None, "is empty"),
        ("\n \n", None, "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", None, "neither text nor word2vec's binary format"),
        ("a 1 2\n".encode("utf-16"), None, "neither text nor word2vec's binary format"),
        (b"PK\x03\x04\x14\x00", None, "zip archive; unpack it"),
        (pickle.dumps({"a": [1.0]}), None, "is a pickle .* KeyedVectors.save_word2vec_format"),
        (gzip.compress(pickle.dumps({"a": [1.0]}), mtime=0), None, "is a pickle"),
        (gzip.compress(GLOVE.encode() * 50, mtime=0)[:-12], None, "the compressed data ends too early"),
        (b"\x1f\x8b\x00\x00 no gzip", None, "cannot be read"),
        (binary(["a", "b"], [[0.1, 0.2], [0.3, 0.4]])[:-6], None, "at vector 2 of 2"),
        (b"9" + binary(["a", "b"], [[0.1, 0.2], [0.3, 0.4]]), None, "at vector 3 of 92"),
        (binary(["a", "b"], [[0.1, 0.2], [0.3, 0.4]]) + b"more", None, "has more data than the 2 vectors"),
        (binary(["a", "b"], [[0.1, np.nan], [0.3, 0.4]]), None, "the vector of 'a' has a value that is not finite"),
    ],
)
@pytest.mark.parametrize("words", [None, ["a", "b", "c"]])
def test_malformed_files_are_named_with_the_line(write, content, line, reason, words):
    path = write(content)
    with pytest.raises(DataError, match=reason) as caught:
        load_vectors(path, words)
    assert caught.value.path == str(path)
    assert caught.value.line == line


@pytest.mark.parametrize("ragged", ["b 1 2", "b 1 2 3 4"])
def test_ragged_lines_of_other_words_are_named_too(write, ragged):
    with pytest.raises(DataError, match=r"line 2: expected 3 numbers"):
        load_vectors(write(f"a 1 2 3\n{ragged}\n"), ["a"])


def test_a_damaged_middle_of_a_gzip_is_refused(write):
    data = bytearray(gzip.compress("".join(f"w{i} {i} {i * 7919 % 1000}\n" for i in range(40_000)).encode()))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"cannot be read|ends too early|expected 2 numbers|no number"):
        load_vectors(write(bytes(data)))


@pytest.mark.parametrize("source", ["missing/vectors.txt", Path("glove-twitter-200"), ""])
def test_missing_files_are_named(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"(no such file|is a folder); word vectors come from") as caught:
        load_vectors(source)
    assert caught.value.path == str(Path(source))


@pytest.fixture
def downloader(tmp_path, monkeypatch):
    """gensim's downloader, whose index and files come from a folder instead of the network."""
    from gensim import downloader

    remote = tmp_path / "remote"
    (remote / "tiny-words").mkdir(parents=True)
    (remote / "tiny-words" / "__init__.py").write_text("raise RuntimeError('downloaded code must never run')")
    archive = remote / "tiny-words" / "tiny-words.gz"
    archive.write_bytes(gzip.compress(("3 3\n" + GLOVE).encode()))
    entry = {"parts": 1, "file_name": "tiny-words.gz", "checksum": downloader._calculate_md5_checksum(archive)}
    index = {"corpora": {"text8": entry}, "models": {"tiny-words": entry, "other-vectors": entry}}
    monkeypatch.setattr(downloader, "BASE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(downloader, "DOWNLOAD_BASE_URL", remote.as_uri())
    monkeypatch.setattr(downloader, "urlopen", lambda url: io.BytesIO(json.dumps(index).encode()))
    monkeypatch.chdir(tmp_path)
    return downloader


def refuse(*args, **kwargs):
    raise OSError("Network is unreachable")


def test_a_name_is_downloaded_once(downloader, monkeypatch, capsys):
    assert load_vectors("tiny-words", ["yeah"]).matrix.tolist() == [[1, 2, 3]]
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(downloader, "urlopen", refuse)
    assert load_vectors("tiny-words").matrix.shape == (3, 3)


def test_an_unknown_name_gets_the_closest(downloader):
    for name in ("tiny-word", "text8"):
        with pytest.raises(DataError, match=f"{name}: no such file, and gensim's downloader .*closest: .*tiny-words"):
            load_vectors(name)


def test_offline_says_what_to_do_without_a_traceback(downloader, monkeypatch, capsys):
    monkeypatch.setattr(downloader, "urlopen", refuse)
    with pytest.raises(DataError, match=r"tiny-words: cannot be downloaded .*give the path .*tiny-words\.gz"):
        load_vectors("tiny-words")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "same"), [("glove.6B.100d", "glove-wiki-gigaword-100"), ("glove.twitter.27B.25d", "glove-twitter-25")]
)
def test_a_published_name_is_downloaded_as_what_gensim_calls_it(downloader, monkeypatch, name, same):
    asked = []
    monkeypatch.setattr(downloader, "load", lambda known, return_path: asked.append(known) or refuse())
    monkeypatch.setattr(downloader, "info", lambda name_only: {"models": [same]})
    put = rf"put {re.escape(name)}\.txt \(or \.txt\.gz\) in a folder glove below --data-dir or \$DIALOG_CVAE_DATA"
    with pytest.raises(DataError, match=rf"^{re.escape(name)}: not found; {put}; downloading: {same}: cannot be downl"):
        load_vectors(name)
    assert asked == [same]
    cached = Path(downloader.BASE_DIR) / same / f"{same}.gz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(gzip.compress(("3 3\n" + GLOVE).encode()))
    assert load_vectors(name).dimension == 3


@pytest.mark.parametrize("name", ["glove.840B.300d", "glove.6B.10d.txt"])
def test_a_name_that_no_downloader_has_says_where_to_put_the_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=rf"^{name}: no such file; put {name.removesuffix('.txt')}\.txt \(or .*gigaword-100"
    ):
        load_vectors(name)


def test_a_wrong_checksum_is_refused(downloader, monkeypatch):
    monkeypatch.setattr(downloader, "_calculate_md5_checksum", lambda path: "another")
    with pytest.raises(DataError, match=r"cannot be downloaded \(Checksum comparison failed"):
        load_vectors("tiny-words")


def test_needs_gensim_only_to_download(write, monkeypatch, tmp_path):
    path, binary_path = write(GLOVE), write(binary(["a"], [[0.1, 0.2]]), "vectors.bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gensim", None)
    assert load_vectors(path).dimension == 3
    assert load_vectors(binary_path).dimension == 2
    with pytest.raises(DataError, match=re.escape("pip install 'dialog-cvae[train]'")):
        load_vectors("glove-twitter-200")


@pytest.mark.parametrize("as_binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
def test_reads_what_gensim_writes(tmp_path, as_binary, name):
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(vector_size=20)
    words = [f"word{i}" for i in range(50)] + ["été", "новый"]
    keyed.add_vectors(words, np.random.default_rng(3).normal(size=(len(words), 20)).astype(np.float32))
    path = tmp_path / name
    keyed.save_word2vec_format(str(path), binary=as_binary)
    vectors = load_vectors(path)
    again = KeyedVectors.load_word2vec_format(str(path), binary=as_binary)
    assert list(vectors.rows) == again.index_to_key
    assert vectors.matrix.tolist() == again.vectors.tolist()


def test_importing_loads_neither_gensim_nor_torch():
    code = "import sys, dialog_cvae.data.vectors; print([m for m in ('gensim', 'torch', 'nltk') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_published_glove():
    root = os.environ.get("DIALOG_CVAE_DATA")
    path = Path(root or "", "glove", "glove.6B.100d.subset.txt.gz")
    if not root or not path.is_file():
        pytest.skip("needs glove/glove.6B.100d.subset.txt.gz in the folder that DIALOG_CVAE_DATA names")
    words = ["yeah", "football", "soccer", "tax", "qwxz"]
    vectors = load_vectors(path, words)
    assert vectors.dimension == 100
    assert vectors.coverage(Counter(words)).share == 0.8
    unit = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    row = vectors.rows
    assert unit[row["football"]] @ unit[row["soccer"]] > unit[row["football"]] @ unit[row["tax"]] + 0.3
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        expected = next(line for line in stream if line.startswith("yeah "))
    assert vectors.matrix[row["yeah"]].tolist() == np.array(expected.split()[1:], dtype=np.float32).tolist()
