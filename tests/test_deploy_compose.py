"""The compose file and the images: checks that need no container engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
SERVICES = ("api", "train", "prometheus", "grafana")
STAGE = re.compile(r"^FROM (?P<base>\S+) AS (?P<name>\S+)$", flags=re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stages(dockerfile: str) -> dict[str, str]:
    """Text of each stage by name, in order."""
    parts = STAGE.split(dockerfile)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def default(value: str) -> str:
    """The value if none of its variables is set."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)


def complaint(path: Path) -> str:
    """The errors in a file by the JSON schema of the Compose specification, as check-jsonschema ships it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "-o", "json"]
    result = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert result.stdout, result.stderr
    answer = json.loads(result.stdout)
    return "" if answer["status"] == "ok" else json.dumps(answer["errors"])


def test_the_file_conforms_to_the_compose_specification():
    assert complaint(COMPOSE) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("cap_drop: [ALL]", "cap_drop: ALL"), ("    healthcheck:", "    healthchecks:"), ("pids: 256", "pids: {}")],
)
def test_the_specification_finds_a_mistake(tmp_path: Path, right: str, wrong: str) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / COMPOSE.name).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    assert wrong.strip().split(":")[0] in complaint(tmp_path / COMPOSE.name)


def test_up_without_options_starts_only_the_service(compose):
    profiles = {name: service.get("profiles", []) for name, service in compose["services"].items()}
    assert profiles == {"api": [], "train": ["train"], "prometheus": ["monitoring"], "grafana": ["monitoring"]}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits(compose, name):
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert float(default(limits["cpus"])) > 0
    assert re.fullmatch(r"\d+[MG]", default(limits["memory"]))
    assert not {"privileged", "network_mode", "pid", "ipc"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root_and_every_foreign_image_is_pinned(compose, stages, name):
    service = compose["services"][name]
    if "build" in service:
        assert re.findall(r"^USER (\S+)$", stages[service["build"]["target"]], flags=re.MULTILINE) == ["10001:10001"]
    else:
        assert int(service["user"].split(":")[0]) > 0
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])


def test_the_service_is_published_and_restarted(compose):
    service = compose["services"]["api"]
    assert [default(port) for port in service["ports"]] == ["0.0.0.0:8000:8000"]
    assert service["restart"] == "unless-stopped"
    longest = sum(Settings.model_fields[name].default for name in ("timeout_s", "body_timeout_s"))
    assert seconds(service["stop_grace_period"]) > longest
    assert seconds(service["healthcheck"]["start_period"]) >= 10


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_monitoring_is_published_on_this_machine_only(compose, name):
    (port,) = compose["services"][name]["ports"]
    assert port.startswith("127.0.0.1:")
    assert compose["services"][name]["healthcheck"]["test"][-1].startswith(
        f"http://127.0.0.1:{port.rpartition(':')[2]}/"
    )


def test_the_image_and_the_compose_file_have_the_same_health_check(compose, stages):
    (asked,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.+?\])$", stages["serve"], flags=re.MULTILINE | re.DOTALL)
    assert ["CMD", *json.loads(asked)] == compose["services"]["api"]["healthcheck"]["test"]
    assert "/health/ready" in asked
    compile(json.loads(asked)[-1], "healthcheck", "exec")


def mounted(compose: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Service, source and target of each volume."""
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source, _, rest = default(volume).partition(":")
            yield name, source, rest


def test_every_volume_and_mounted_file_exists(compose):
    for name, source, rest in mounted(compose):
        if source.startswith("./deploy/"):
            assert (ROOT / source).is_dir(), name
            assert rest.endswith(":ro"), name
        else:
            assert source == "./data" or source in compose["volumes"], name


def test_the_service_can_write_only_feedback_and_to_memory(compose, stages):
    written = [(source, rest) for name, source, rest in mounted(compose) if name == "api" and not rest.endswith(":ro")]
    assert written == [("feedback", "/feedback")]
    assert "install --directory --owner app /models /feedback\n" in stages["serve"]
    assert [entry.split(":")[0] for entry in compose["services"]["api"]["tmpfs"]] == ["/tmp"]


def test_every_named_setting_exists(compose, stages):
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {"DIALOG_CVAE_DATA", "DIALOG_CVAE_CACHE"}
    named = {name for service in ("api", "train") for name in compose["services"][service]["environment"]}
    named |= {name for text in stages.values() for name in re.findall(rf"{PREFIX}[A-Z_]+(?==)", text)}
    assert f"{PREFIX}CHECKPOINT" in named
    assert named <= known


def test_the_comment_at_the_top_lists_all_variables():
    text = COMPOSE.read_text(encoding="utf-8")
    head = text.partition("\nservices:")[0]
    variables = set(re.findall(r"\$\{(\w+):-", text))
    assert variables
    assert {name for name in variables if not re.search(rf"\b{name}\b", head)} == set()


def test_files_that_the_image_copies_exist_and_are_not_ignored(dockerfile):
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert set(copied) == set(let_through)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_default_image_serves_and_has_nothing_for_training(stages):
    assert list(stages)[-1] == "serve"
    assert "ARG EXTRAS=serve,lm\n" in stages["install-serve"]
    assert '".[$EXTRAS]"' in stages["install-serve"]
    assert "torch" not in stages["install-serve"] + stages["serve"]
    assert re.findall(r"--from=(\S+)", stages["serve"]) == ["install-serve"]
    assert "'.[serve,train,vectors]'" in stages["install-train"]
    assert re.findall(r"--from=(\S+)", stages["train"]) == ["install-train"]


def test_the_compose_file_serves_the_model_of_the_image(compose, stages):
    (served,) = re.findall(r"DIALOG_CVAE_CHECKPOINT=(\S+)", stages["serve"])
    assert compose["services"]["api"]["environment"]["DIALOG_CVAE_CHECKPOINT"] == f"${{CHECKPOINT:-{served}}}"
    assert re.findall(r"^COPY models (\S+)$", stages["install-serve"], flags=re.MULTILINE) == ["/app/models"]
    assert (ROOT / served.removeprefix("/app/") / "config.json").is_file()
