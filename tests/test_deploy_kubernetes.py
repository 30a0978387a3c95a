"""The Kubernetes manifests conform to the published schemas, and agree with each other and with the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.app import app
from api.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
VERSIONS = ("1.30", "1.37")  # the first with `sleep` in preStop, and the last whose schemas are installed


def loaded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return document


OBJECTS = {loaded(name)["kind"]: loaded(name) for name in KUSTOMIZATION["resources"]}
TEMPLATE = OBJECTS["Deployment"]["spec"]["template"]
POD = TEMPLATE["spec"]
(CONTAINER,) = POD["containers"]


def test_every_file_is_listed_and_every_object_exists():
    files = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    assert set(OBJECTS) == {
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
    }
    assert {each["metadata"]["name"] for each in OBJECTS.values()} == {"dialog-cvae"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_conforms_to_its_schema(kind, version):
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_the_schema_finds_a_mistake():
    wrong = loaded("deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_all_selectors_match_the_same_pods():
    labels = TEMPLATE["metadata"]["labels"].items()
    spread = POD["topologySpreadConstraints"]
    chosen = [
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ]
    assert all(selector and selector.items() <= labels for selector in chosen)
    assert {constraint["topologyKey"] for constraint in spread} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = OBJECTS["Deployment"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }


def test_the_pod_meets_the_restricted_standard():
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a read-only root."""
    security = POD["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    own = CONTAINER["securityContext"]
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False
    assert {kind for volume in POD["volumes"] for kind in volume if kind != "name"} <= {"emptyDir", "configMap"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()


def test_the_pod_and_the_image_have_the_same_user():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    serve = dockerfile.rpartition("\nFROM ")[2]
    security = POD["securityContext"]
    assert re.findall(r"^USER (\S+)$", serve, flags=re.MULTILINE) == [
        f"{security['runAsUser']}:{security['runAsGroup']}"
    ]
    assert f"EXPOSE {CONTAINER['ports'][0]['containerPort']}\n" in serve
    assert CONTAINER["image"] in {image["name"] for image in KUSTOMIZATION["images"]}


def test_probes_use_existing_routes():
    paths = set(app.openapi()["paths"])
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startup": "/health/ready",
        "readiness": "/health/ready",
        "liveness": "/health/live",
    }
    assert {probe["path"] for probe in asked.values()} <= paths
    ports = {port["name"] for port in CONTAINER["ports"]}
    (ingress,) = OBJECTS["NetworkPolicy"]["spec"]["ingress"]
    named = {probe["port"] for probe in asked.values()} | {port["port"] for port in ingress["ports"]}
    named |= {port["targetPort"] for port in OBJECTS["Service"]["spec"]["ports"]}
    assert named == ports
    annotations = TEMPLATE["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(CONTAINER["ports"][0]["containerPort"])


def literals() -> dict[str, str]:
    (generator,) = KUSTOMIZATION["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


def test_the_service_reads_the_settings(monkeypatch):
    (generator,) = KUSTOMIZATION["configMapGenerator"]
    assert {"configMapRef": {"name": generator["name"]}} in CONTAINER["envFrom"]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(literals()) <= known
    for name, value in literals().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"{PREFIX}CHECKPOINT", "models/swda")
    assert Settings().threads == int(CONTAINER["resources"]["limits"]["cpu"])
    assert POD["enableServiceLinks"] is False


def test_the_memory_suffices_for_a_language_models_graphs():
    limit = CONTAINER["resources"]["limits"]["memory"]
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"The memory limit is {limit.removesuffix('Gi')} GiB" in guide
    assert max(float(size) for size in re.findall(r"takes ([\d.]+) GiB", guide)) < float(limit.removesuffix("Gi"))


def test_the_grace_period_is_long_enough_for_accepted_requests():
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = float(literals()[f"{PREFIX}TIMEOUT_S"]) + Settings.model_fields["body_timeout_s"].default
    assert POD["terminationGracePeriodSeconds"] > pause + longest


def test_the_autoscaler_sets_the_replicas_and_one_can_always_be_evicted():
    assert "replicas" not in OBJECTS["Deployment"]["spec"]
    scaler, budget = OBJECTS["HorizontalPodAutoscaler"]["spec"], OBJECTS["PodDisruptionBudget"]["spec"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert budget["maxUnavailable"] == 1
    requests = CONTAINER["resources"]["requests"]
    assert scaler["metrics"][0]["resource"]["name"] in requests
    assert requests.keys() == CONTAINER["resources"]["limits"].keys() == {"cpu", "memory"}
