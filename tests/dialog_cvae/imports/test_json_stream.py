"""JSON that is read piece by piece: escapes that are not JSON but common, also where a piece ends."""

from __future__ import annotations

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports import source
from dialog_cvae.imports.json_stream import JsonStream
from dialog_cvae.imports.source import open_source


def stream(path):
    return JsonStream(open_source(path).file, None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"a\x1bb", "a\x1bb"),
        (r"\x0B", "\x0b"),
        (r"a\\x1bb", r"a\x1bb"),
        (r"\x01\\x1b\\\x02\n", "\x01\\x1b\\\x02\n"),
        (r"\"\x1f\"", '"\x1f"'),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 2**20])
def test_control_characters_written_as_x_and_two_digits(put, monkeypatch, written, read, chunk):
    monkeypatch.setattr(source, "CHUNK", chunk)
    assert stream(put("x.json", f'{{"a": ["{written}", "{written}"]}}')).value() == {"a": [read, read]}


def test_many_of_them_are_replaced_at_once(put, monkeypatch):
    mended = []
    whole = JsonStream._mend
    monkeypatch.setattr(JsonStream, "_mend", lambda self, place: bool(mended.append(place)) or whole(self, place))
    said = stream(put("x.json", '["' + r"\x1b \\x " * 2000 + '"]')).value()
    assert said == ["\x1b \\x " * 2000]
    assert len(mended) == 1


@pytest.mark.parametrize("rest", [r"\xg1", r"\x1", r"\q"])
def test_other_escapes_are_refused_with_the_line(put, rest):
    with pytest.raises(DataError, match=r"x\.json, line 3: not JSON: Invalid \\escape"):
        stream(put("x.json", f'["\\x1b",\n"\\x02",\n"{rest}"]')).value()
