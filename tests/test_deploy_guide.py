"""The operations page is true: its settings, metrics, commands and files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from api import cluster
from api.prometheus import Metrics
from api.settings import PREFIX, Settings
from training import arguments

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "operations.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0] for block in re.findall(r"^```\n(.*?)^```$", TEXT, re.M | re.S) for line in block.splitlines()
]


def settings_table() -> str:
    """The table of settings as the page must show it."""
    lines = ["| variable | default | what |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = "" if field.is_required() or field.default is None or field.default == () else field.default
        shown = (
            {True: "on", False: "off"}[value]
            if isinstance(value, bool)
            else f"{value:g}"
            if isinstance(value, float)
            else value
        )
        what = str(field.description).replace("|", "\\|")
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {what}{' (required)' if field.is_required() else ''} |")
    return "\n".join(lines)


def test_the_table_of_settings_matches_the_service():
    (shown,) = re.findall(r"<!-- settings -->\n(.*?)\n?<!-- end of settings -->", TEXT, flags=re.DOTALL)
    assert shown.strip() == settings_table(), f"the table in {PAGE.name} should be\n{settings_table()}"


def test_every_named_variable_and_file_exists():
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {"DIALOG_CVAE_CACHE"}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", TEXT)) == known
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (PAGE.parent / target).resolve().is_file() or "://" in target, target


def test_the_table_of_metrics_matches_the_service():
    metrics = Metrics()
    exported = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
        if not family.name.startswith("process_")
    }
    assert set(re.findall(r"^\| `(dialog_cvae_\w+)`", TEXT, flags=re.MULTILINE)) == exported


def test_the_variables_of_the_compose_file_exist():
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Docker Compose\n(.*?)^## ", TEXT, re.M | re.S)
    named = {name for name in re.findall(r"(?:^|`)([A-Z_]+)(?=[`=])", section, re.M) if not name.startswith(PREFIX)}
    assert len(named) > 4
    assert named <= set(re.findall(r"\$\{(\w+):-", compose))
    (file,) = set(re.findall(r"`(\w+\.env)`", section))
    assert f"path: {file}," in compose


def test_a_reload_in_compose_is_sent_from_inside_the_container():
    """`docker compose kill` would mark the container as stopped by hand, whatever the signal."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    (given,) = re.findall(r"`docker compose exec (.+?)`", TEXT)
    service, *command = shlex.split(given)
    assert command == ["sh", "-c", "kill -HUP 1"]
    assert compose["services"][service]["init"] is True  # process 1 passes signals on to the service


def test_in_kubernetes_the_keys_exist_before_the_pods():
    deployment = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (secret,) = [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each]
    lines = [line for line in COMMANDS if line.startswith("kubectl ")]
    assert [line.split()[1] for line in lines] == ["create", "apply"]
    assert shlex.split(lines[0])[2:5] == ["secret", "generic", secret]
    assert f"`kubectl rollout restart deployment/{deployment['metadata']['name']}`" in TEXT


def test_training_accepts_the_commands_on_the_page():
    (line,) = [line for line in COMMANDS if " run --rm train " in line]
    given = arguments.parse(shlex.split(line.partition(" train ")[2]))
    assert arguments.run_options(given).out == Path("/models/run")


def test_the_cluster_accepts_the_commands_on_the_page():
    lines = [line for line in COMMANDS if "-m api.cluster" in line]
    assert len(lines) == 2
    for line in lines:
        given = cluster._parser().parse_args(shlex.split(line.partition("api.cluster")[2]))
        assert cluster._scale(given).min_replicas == 1
    (line,) = [line for line in COMMANDS if line.startswith("serve run")]
    pairs = dict(word.split("=") for word in shlex.split(line)[3:])
    assert cluster.Scale.model_validate(pairs).max_replicas == 4
    assert shlex.split(line)[2] == "api.cluster:app"
