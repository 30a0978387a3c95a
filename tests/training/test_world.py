"""Ranks: parts of a batch, environment variables and devices."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.errors import ConfigError
from dialog_cvae.model_config import ModelConfig
from training.config import TrainConfig
from training.dialog_batches import DialogBatches
from training.distributed import SINGLE_PROCESS, World, world_from_environment


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 5))
def test_parts_cover_the_whole_in_order_and_are_nearly_equal(items: int, size: int, pieces: int) -> None:
    shares = [part for rank in range(size) for part in World(rank, size).shards(items, pieces)]
    assert [item for part in shares for item in range(items)[part]] == list(range(items))
    lengths = [part.stop - part.start for part in shares]
    assert min(lengths, default=1) > 0
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_more_parts_than_items_cost_nothing() -> None:
    assert World(1, 3).shards(7, 10**12) == [slice(2, 3), slice(3, 4)]
    assert World(1, 3).shards(0, 10**12) == []


@pytest.mark.parametrize(("size", "accumulation"), [(2, 1), (3, 2), (8, 1)])
def test_processes_share_each_batch_without_overlap(encoded: EncodedCorpus, size: int, accumulation: int) -> None:
    config = TrainConfig(batch_size=5, accumulation=accumulation, condition_dropout=0.3, word_dropout=0.4, segment=3)
    model = ModelConfig(max_context=4, latent_size=2)
    steps = config.steps_per_epoch(encoded.windows) + 2  # beyond the last batch, which is smaller
    whole = islice(DialogBatches(encoded, config.model_copy(update={"accumulation": 1}), model).from_step(0), steps)
    ranks = [DialogBatches(encoded, config, model, World(rank, size)).from_step(0) for rank in range(size)]
    for expected, *found in zip(whole, *(islice(batches, steps) for batches in ranks), strict=True):
        assert {batch.size for batch in found} == {expected.size}
        parts = [part for batch in found for part in batch.parts]
        ((all_windows, all_noise),) = expected.parts
        assert torch.equal(torch.cat([part.noise for part in parts]), all_noise)
        for name in ("topic", "context_lengths", "target_lengths", "profiles", "profiles_known"):
            ours = torch.cat([getattr(part.windows, name) for part in parts])
            assert torch.equal(ours, getattr(all_windows, name)), name
        hidden = [row for part in parts for row in part.windows.dropped.tolist()]
        assert hidden == [row[: len(part)] for part, row in zip(hidden, all_windows.dropped.tolist(), strict=True)]
        responses = [row for part in parts for row in part.windows.tokens[part.windows.response].tolist()]
        for row, other in zip(responses, all_windows.tokens[all_windows.response].tolist(), strict=True):
            longest = max(len(row), len(other))
            assert row + [0] * (longest - len(row)) == other + [0] * (longest - len(other))


@pytest.mark.parametrize(
    ("environment", "world"),
    [
        ({}, SINGLE_PROCESS),
        ({"RANK": "3"}, SINGLE_PROCESS),
        ({"RANK": "0", "WORLD_SIZE": "1"}, World(0, 1, 0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, World(3, 4, 1, 2)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, World(3, 4, 0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, World(3, 4, 1, 2)),
    ],
)
def test_world_from_environment_variables(environment: dict[str, str], world: World) -> None:
    assert world_from_environment(environment) == world


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("RANK", "2", "from 0 to 1"),
        ("RANK", "-1", "from 0 to 1"),
        ("RANK", "", "from 0 to 1"),
        ("WORLD_SIZE", "0", "at least 1"),
        ("WORLD_SIZE", "two", "at least 1"),
        ("LOCAL_RANK", "2", "from 0 to 1"),
        ("LOCAL_WORLD_SIZE", "3", "from 1 to 2"),
    ],
)
def test_an_invalid_rank_or_world_size_is_refused(name: str, value: str, limit: str) -> None:
    environment = {"RANK": "0", "WORLD_SIZE": "2", name: value}
    with pytest.raises(ConfigError, match=f"^{name}: must be a whole number, {limit}, but is '{value}'$"):
        world_from_environment(environment)


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    first, second, third = (World(rank, 3, rank, 3) for rank in range(3))
    assert [world.device_name("auto") for world in (SINGLE_PROCESS, first, second)] == ["auto", "cuda:0", "cuda:1"]
    assert second.device_name("cuda") == "cuda:1"
    assert third.device_name("cpu") == "cpu"
    assert SINGLE_PROCESS.device_name("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match=r"^device: 3 processes on a machine of 2 CUDA devices; start at most 2"):
        third.device_name("auto")
    with pytest.raises(ConfigError, match=r"^device: cuda:1 is one device for 3 processes; give cuda$"):
        first.device_name("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert second.device_name("auto") == "auto"
