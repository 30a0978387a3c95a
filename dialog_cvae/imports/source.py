"""Sources of imports: a file, a folder or a zip archive, each as a list of files.

Open this to change how encodings are recognised or which archives are refused. No file is read whole.
"""

from __future__ import annotations

import codecs
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.json_paths import json_paths

HEAD_BYTES: Final = 2**18  # bytes at the beginning of a file, from which its format is recognised
MAX_LINE: Final = 16 * 2**20  # characters
CHUNK: Final = 2**20  # characters
MAX_FILES: Final = 100_000
# Text is seldom compressed to less than a thirtieth.
MAX_RATIO: Final = 200  # unpacked bytes of a packed one
SMALL: Final = 16 * 2**20  # bytes; below this the ratio does not matter
MAX_UNPACKED: Final = 64 * 2**30  # bytes of a whole archive
# Errors that reading a damaged or encrypted archive can raise.
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
# The mark of UTF-32 begins with that of UTF-16.
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class File:
    """A file, on disk or in an archive.

    Attributes:
        name: name in messages.
        path: path within its folder or archive, with slashes; for a single file, its name.
        opener: opens it for reading, from its beginning.
    """

    name: str
    path: str
    opener: Callable[[], IO[bytes]]

    @property
    def folder(self) -> str:
        """The path of the folder it is in; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def base(self) -> str:
        """Its name without the folder."""
        return self.path.rpartition("/")[2]

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The open file.

        Raises:
            DataError: here or while it is read: it cannot be read, or its archive is damaged.
        """
        try:
            with self.opener() as file:
                yield file
        except OSError as error:
            raise DataError(self.name, f"cannot be read ({error.strerror or error})") from None
        except _BROKEN_ARCHIVE as error:
            raise DataError(self.name, f"cannot be unpacked ({error})") from None

    @cached_property
    def head(self) -> bytes:
        """The first bytes."""
        with self.opened() as file:
            return file.read(HEAD_BYTES)

    @cached_property
    def encoding(self) -> str:
        """The encoding by the byte order mark; without one, UTF-16 if every second byte is zero, else UTF-8."""
        for mark, name in _BOMS.items():
            if self.head.startswith(mark):
                return name
        sample = self.head[:4096]
        for name, odd in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
            if odd and odd.count(0) > 0.4 * len(odd) and sample.count(0) < 0.7 * len(sample):
                return name
        return "utf-8"

    @cached_property
    def head_text(self) -> str:
        """The first characters; invalid bytes are replaced, because they may be a character that is cut off."""
        return self.head.decode(self.encoding, "replace")

    @cached_property
    def paths(self) -> frozenset[str]:
        """Paths of the keys at the beginning of a JSON file; empty for any other."""
        return json_paths(self.head_text)

    def used_encoding(self, named: str | None) -> str:
        """The encoding for reading the file: the recognised one, or the named one if the text is not UTF-8.

        Raises:
            DataError: the file cannot be read.
        """
        return self.encoding if named is None or self.encoding != "utf-8" or self._is_utf8 else named

    @cached_property
    def _is_utf8(self) -> bool:
        """Whether the whole file is UTF-8, and more than ASCII, whose bytes some encodings use in another way."""
        decoder, is_ascii = codecs.getincrementaldecoder("utf-8")(), True
        with self.opened() as file:
            try:
                while piece := file.read(2**16):
                    is_ascii = is_ascii and piece.isascii()
                    decoder.decode(piece)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return False
        return not is_ascii

    def lines(self, encoding: str | None = None) -> Iterator[str]:
        """The lines, with their ends.

        Args:
            encoding: for text without a recognised encoding; None is UTF-8.

        Raises:
            DataError: a line is too long, or the text is not in this encoding; with the line.
        """
        used = self.used_encoding(encoding)
        with self.opened() as file, _decoded(file, used) as text:
            number = 0
            try:
                while line := text.readline(MAX_LINE):
                    number += 1
                    if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
                        raise DataError(self.name, f"the line is longer than {MAX_LINE:,} characters", number)
                    yield line
            except UnicodeError:
                raise self._undecodable(used) from None

    def chunks(self, encoding: str | None = None) -> Iterator[str]:
        """The text in pieces of `CHUNK` characters; see `lines`.

        Raises:
            DataError: the text is not in this encoding; with the line.
        """
        used = self.used_encoding(encoding)
        with self.opened() as file, _decoded(file, used) as text:
            try:
                while piece := text.read(CHUNK):
                    yield piece
            except UnicodeError:
                raise self._undecodable(used) from None

    def _undecodable(self, encoding: str) -> DataError:
        """The error for the first line that is not in an encoding."""
        line, decoder = 1, codecs.getincrementaldecoder(encoding)()
        with self.opened() as file:
            try:
                while piece := file.read(2**16):
                    line += decoder.decode(piece).count("\n")
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
            except UnicodeError:  # UTF-16 without its mark
                pass
        spelt = encoding.removesuffix("-sig").upper()
        return DataError(
            self.name, f"not {spelt}; if a program wrote it in another encoding, name it: --encoding cp1252", line
        )


@dataclass(frozen=True)
class Source:
    """What a user names: a file, a folder or an archive.

    Attributes:
        path: as the user wrote it.
        files: the file itself, or all files below the folder in alphabetical order of their paths.
        is_folder: whether it is a folder or an archive.
    """

    path: Path
    files: tuple[File, ...]
    is_folder: bool

    @property
    def file(self) -> File:
        """The only file of a source that is no folder."""
        return self.files[0]

    def named(self, name: str) -> File | None:
        """The file of this name in a folder; of several, the one nearest to the top."""
        found = [file for file in self.files if file.base == name]
        return min(found, key=lambda file: file.path.count("/"), default=None)

    def single(self, file: File) -> Source:
        """One of the files, as a separate source."""
        return Source(Path(file.name), (file,), is_folder=False)

    def without(self, files: Iterable[File]) -> Source:
        """The folder without some of its files."""
        gone = {file.path for file in files}
        return Source(self.path, tuple(file for file in self.files if file.path not in gone), self.is_folder)


def open_source(path: Path) -> Source:
    """List what is at a path.

    Raises:
        DataError: nothing is there, there are too many files, or the archive is damaged or unpacks to too much.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        found = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        if len(found) > MAX_FILES:
            raise DataError(path, f"has {len(found):,} files, at most {MAX_FILES:,} are possible")
        files = tuple(File(str(each), each.relative_to(path).as_posix(), partial(_open_binary, each)) for each in found)
        return Source(path, files, is_folder=True)
    if not stat.S_ISREG(mode):
        raise DataError(path, "is not a regular file")
    whole = File(str(path), path.name, partial(_open_binary, path))
    if not whole.head:
        raise DataError(path, "is empty")
    if whole.head.startswith(b"PK\x03\x04") or whole.head.startswith(b"PK\x05\x06"):
        return Source(path, tuple(_members(path)), is_folder=True)
    return Source(path, (whole,), is_folder=False)


def _members(path: Path) -> Iterator[File]:
    """The files of an archive, after a check of the sizes in its table; reading never exceeds these sizes."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, *_BROKEN_ARCHIVE) as error:
        raise DataError(path, f"is not a whole zip archive ({error})") from None
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    # Sizes.
    if len(members) > MAX_FILES:
        raise DataError(path, f"has {len(members):,} files, at most {MAX_FILES:,} are possible")
    for member in members:
        _check_ratio(f"{path}/{member.filename}", member.file_size, member.compress_size)
    total = sum(member.file_size for member in members)
    _check_ratio(str(path), total, path.stat().st_size)
    if total > MAX_UNPACKED:
        raise DataError(path, f"unpacks to {total:,} bytes, at most {MAX_UNPACKED:,} are possible")
    # Files.
    for member in sorted(members, key=lambda member: member.filename):
        if not member.filename.rpartition("/")[2].startswith(".") and not member.filename.startswith("__MACOSX/"):
            yield File(f"{path}/{member.filename}", member.filename, partial(_open_member, path, member))


def _open_binary(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_member(path: Path, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a file of an archive; the archive is closed once the file is."""
    with zipfile.ZipFile(path) as archive:
        return archive.open(member)


def _check_ratio(name: str, unpacked: int, packed: int) -> None:
    if unpacked > SMALL and unpacked > MAX_RATIO * max(packed, 1):
        raise DataError(
            name,
            f"unpacks from {packed:,} to {unpacked:,} bytes: more than {MAX_RATIO} times as many are refused",
        )


@contextmanager
def _decoded(file: IO[bytes], encoding: str) -> Iterator[io.TextIOWrapper]:
    """The text of an open file, with its line ends as they are."""
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        yield text
    finally:
        text.detach()
