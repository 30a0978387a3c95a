"""The guard's setting, and what the log says of it."""

from __future__ import annotations

import pytest

from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.generate.guard import Guard

COMMON = CommonWords({"yes": 3}, 9)


@pytest.mark.parametrize(
    ("common", "logged"),
    [(COMMON, "1 words and numbers are common, in 3 conversations or more"), (None, "no list of common words")],
)
def test_it_knows_what_the_checkpoint_lists(serve, stub, capfd, common, logged):
    stub.common = common
    serve(stub, guard="on")
    assert isinstance(stub.guard, Guard)
    assert stub.guard.common is common
    (line,) = [line for line in capfd.readouterr().err.splitlines() if " guard " in line]
    assert logged in line


def test_it_is_off_by_default(serve, stub):
    stub.common = COMMON
    serve(stub)
    assert stub.guard is None
