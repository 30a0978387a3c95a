"""The compose file and the image: checked as far as that goes without a container engine."""

from __future__ import annotations

import re
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


def test_the_service_is_published_and_kept_up(compose):
    service = compose["services"]["api"]
    assert service["ports"] == ["${PORT:-8000}:8000"]
    assert service["restart"] == "unless-stopped"
    assert "/health/ready" in service["healthcheck"]["test"][-1]
    assert 10 <= seconds(service["healthcheck"]["start_period"]) <= 60
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


def test_the_model_that_is_served_is_the_one_in_the_image(compose):
    dockerfile = (ROOT / "Dockerfile").read_text()
    (served,) = re.findall(r"DIALOG_CVAE_CHECKPOINT=(\S+)", dockerfile)
    assert compose["services"]["api"]["environment"]["DIALOG_CVAE_CHECKPOINT"] == f"${{CHECKPOINT:-{served}}}"
    assert re.findall(r"^COPY models (\S+)$", dockerfile, flags=re.MULTILINE) == ["/app/models"]
    assert (ROOT / served.removeprefix("/app/") / "config.json").is_file()
