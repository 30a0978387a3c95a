import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from dialog_cvae.data import download
from dialog_cvae.errors import DataError

CONTENT = b"published\n" * 20_000
SPEC = download.PublishedFile(
    "some.zip", "http://127.0.0.1:9/some.zip", hashlib.sha1(b"blob 200000\0" + CONTENT).hexdigest()
)


class Handler(BaseHTTPRequestHandler):
    """Serves the file whole, cut short, silently cut short (a wrong length), altered, or not at all."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        body = {"/whole": CONTENT, "/cut": CONTENT, "/silently-cut": CONTENT[:-1], "/altered": CONTENT[:-1] + b"!"}
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
        elif self.path not in body:
            self.send_error(404)
        else:
            content = body[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: 1000 if self.path == "/cut" else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "dialog_cvae"


def test_cache_folder(cache: Path, monkeypatch: pytest.MonkeyPatch):
    assert download.cache_dir() == cache
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert download.cache_dir() == Path.home() / ".cache" / "dialog_cvae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache_dir() == Path.home() / ".cache" / "dialog_cvae"


def test_hash_is_that_of_git(tmp_path: Path):
    file = tmp_path / "file"
    for content, digest in (
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),  # git's well-known hash of the empty file
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),  # the example of the book Pro Git
    ):
        file.write_bytes(content)
        assert download.git_blob_hash(file) == digest


@pytest.mark.parametrize("path", ["/whole", "/moved"])
def test_downloads_once(server: str, cache: Path, path: str, capsys: pytest.CaptureFixture[str]):
    assert download.fetch(SPEC, server + path) == cache / "some.zip"
    assert (cache / "some.zip").read_bytes() == CONTENT
    assert "100%" in capsys.readouterr().err
    asked = len(Handler.requests)
    assert download.fetch(SPEC, server + "/missing") == cache / "some.zip"
    assert len(Handler.requests) == asked
    assert [file.name for file in cache.iterdir()] == ["some.zip"]


def test_the_published_address_is_the_default(server: str):
    assert download.fetch(SPEC._replace(url=f"{server}/whole")).is_file()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", r"cannot download http://127.0.0.1:\d+/missing \(HTTP 404 Not Found\); download it by hand"),
        ("/cut", r"cannot download http://127.0.0.1:\d+/cut \(.*IncompleteRead"),
        ("/silently-cut", rf"git blob hash [0-9a-f]{{40}}, not {SPEC.git_blob}"),
        ("/altered", rf"/altered has changed or was cut short: git blob hash [0-9a-f]{{40}}, not {SPEC.git_blob}"),
    ],
)
def test_nothing_is_left_of_a_failed_download(server: str, cache: Path, path: str, reason: str):
    with pytest.raises(DataError, match=reason) as caught:
        download.fetch(SPEC, server + path)
    assert caught.value.path == str(cache / "some.zip")
    assert list(cache.iterdir()) == []


def test_offline_says_where_to_put_the_file(cache: Path):
    with pytest.raises(DataError) as caught:
        download.fetch(SPEC)  # nothing listens on the discard port
    assert str(caught.value).startswith(f"{cache / 'some.zip'}: cannot download {SPEC.url} (")
    assert "put it there under this name or below the folder of --data-dir" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_file_of_the_users_own_is_taken_as_it_is(cache: Path):
    cache.mkdir()
    (cache / "some.zip").write_bytes(b"repacked")
    assert download.fetch(SPEC).read_bytes() == b"repacked"


def test_unusable_cache_folder(cache: Path):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="the cache folder cannot be used"):
        download.fetch(SPEC)


def test_switchboard_is_pinned():
    assert download.SWDA == (
        "swda.zip",
        "https://github.com/cgpotts/swda/raw/master/swda.zip",
        "f47e8488091c89ff8e7055fc38b38518ab7cc160",
    )
