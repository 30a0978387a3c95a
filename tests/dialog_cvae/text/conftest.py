"""A corpus for tests of tokenizers."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def switchboard(data_folder: Path) -> list[str]:
    path = data_folder / "zhao2017" / "valid.jsonl"
    if not path.is_file():
        pytest.skip("needs zhao2017/valid.jsonl below $DIALOG_CVAE_DATA")
    with path.open(encoding="utf-8") as file:
        return [utterance[1] for line in file for utterance in json.loads(line)["utts"]]
