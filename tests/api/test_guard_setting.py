"""The guard's setting: what is on by default, and what the log says of it."""

from __future__ import annotations

import pytest

from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.generate.guard import Guard

COMMON = CommonWords({"yes": 3}, 9)


@pytest.mark.parametrize(
    ("common", "setting", "guards", "logged"),
    [
        (COMMON, {}, True, "1 words and numbers are common, in 3 conversations or more"),
        (COMMON, {"guard": "off"}, False, "state=off"),
        (None, {}, False, "state=off"),
        (None, {"guard": "on"}, True, "no list of common words"),
    ],
)
def test_it_is_on_where_the_checkpoint_has_a_list(serve, stub, capfd, common, setting, guards, logged):
    stub.common = common
    serve(stub, **setting)
    assert isinstance(stub.guard, Guard) is guards
    if guards:
        assert stub.guard.common is common
    (line,) = [line for line in capfd.readouterr().err.splitlines() if " guard " in line]
    assert logged in line
