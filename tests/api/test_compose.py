"""The compose file and the image: checked as far as that goes without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from api.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_plain_up_starts_the_service_alone(compose):
    assert [name for name, service in compose["services"].items() if "profiles" not in service] == ["api"]
    assert compose["services"]["train"]["profiles"] == ["train"]
    assert compose["services"]["api"]["image"] == compose["services"]["train"]["image"]


def test_the_service_is_published_kept_up_and_given_time_for_its_first_fit(compose):
    service = compose["services"]["api"]
    assert service["ports"] == ["${PORT:-8000}:8000"]
    assert service["restart"] == "unless-stopped"
    assert "/health/ready" in service["healthcheck"]["test"][-1]
    assert seconds(service["healthcheck"]["start_period"]) >= 180
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_every_named_volume_and_setting_exists(compose):
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert source.startswith(".") or source in compose["volumes"]
        for name in service["environment"]:
            assert name == "DIALOG_CVAE_DATA" or name.removeprefix(PREFIX).lower() in Settings.model_fields


def test_what_the_image_copies_is_in_the_repository_and_let_through():
    dockerfile = (ROOT / "Dockerfile").read_text()
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_through)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_does_not_run_as_root():
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", last_stage, flags=re.MULTILINE) == ["app"]


@pytest.mark.parametrize(
    ("fitted", "chosen", "fits"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_the_entrypoint_fits_the_sample_only_if_it_is_wanted_and_missing(tmp_path, fitted, chosen, fits):
    models = tmp_path / "models"
    models.mkdir()
    script = tmp_path / "entrypoint"
    script.write_text((ROOT / "docker/entrypoint.sh").read_text().replace("/models", str(models)))
    python = tmp_path / "python"  # stands in for the training command
    python.write_text('#!/bin/sh\nfor out; do :; done\nmkdir -p "$out/best"; echo fitted > "$out/best/config.json"\n')
    python.chmod(0o755)
    if fitted:
        (models / "sample/best").mkdir(parents=True)
        (models / "sample/best/config.json").write_text("mine\n")
    checkpoint = f"{models}/sample/best" if chosen else f"{models}/other"
    answer = subprocess.run(
        ["sh", script, "echo", "serving"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "DIALOG_CVAE_CHECKPOINT": checkpoint},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.endswith("serving\n")
    assert ("fitting" in answer.stdout) == fits
    config = models / "sample/best/config.json"
    assert (config.read_text() if config.exists() else None) == ("fitted\n" if fits else "mine\n" if fitted else None)
    assert sorted(path.name for path in models.iterdir()) == (["sample"] if fits or fitted else [])
