"""Prometheus and Grafana use only metrics that the service exports."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.app import app
from api.openai_routes import completing
from api.prometheus import Metrics

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "dialog-cvae.json"
REASONS = {"queue_full", "timeout", "too_large", "unauthorised", "invalid"}
ADDED = {"job", "instance"}  # labels that Prometheus adds
INTERVAL = "$__rate_interval"  # Grafana's, not PromQL


def document(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    return loaded


PANELS: list[dict[str, Any]] = document(DASHBOARD)["panels"]
RULES = [rule for group in document(DEPLOY / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]
EXPRESSIONS = {
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
    **{rule["alert"]: rule["expr"] for rule in RULES},
}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Labels of each sample that the service exports, by its name."""
    metrics = Metrics()
    metrics.describe("n", {"model": "m", "licence": "l", "engine": "e", "version": "v"})
    model = metrics.of_model("n")
    model.queued(1)
    model.stepped(4, 0.001)
    model.finished(9)
    metrics.answered("/respond", "POST", 503, 0.1, "queue_full")
    labels = defaultdict[str, set[str]](set)
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels[sample.name] |= set(sample.labels)
    return dict(labels) | {"up": set()}  # from Prometheus itself


def parsed(expression: str) -> promql_parser.Expr:
    return promql_parser.parse(expression.replace(INTERVAL, "1m"))


def nodes(expression: promql_parser.Expr) -> list[Any]:
    found: list[Any] = []
    promql_parser.walk(expression, found.append)
    return found


def selectors(found: list[Any]) -> Iterator[Any]:
    return (node for node in found if isinstance(node, promql_parser.VectorSelector))


def unknown(expression: str, exported: dict[str, set[str]]) -> list[str]:
    """Metrics and labels of an expression that the service does not export."""
    problems, labels = [], set[str]()
    found = nodes(parsed(expression))
    for selector in selectors(found):
        if selector.name not in exported:
            problems.append(selector.name)
            continue
        labels |= exported[selector.name] | ADDED
        for matcher in selector.matchers.matchers:
            if matcher.name not in exported[selector.name] | ADDED:
                problems.append(f"{selector.name}{{{matcher.name}}}")
    for node in found:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            problems += [f"by {label}" for label in node.modifier.labels if label not in labels]
    return problems


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_used_metric_is_exported(exported, name):
    assert list(selectors(nodes(parsed(EXPRESSIONS[name]))))
    assert unknown(EXPRESSIONS[name], exported) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(dialog_cvae_request_total[1m])", "dialog_cvae_request_total"),
        ('dialog_cvae_queue_depth{route="/respond"}', "dialog_cvae_queue_depth{route}"),
        ("sum by (code) (rate(dialog_cvae_requests_total[1m]))", "by code"),
        ("1 - dialog_cvae_queue_length / dialog_cvae_queue_depth", "dialog_cvae_queue_length"),
    ],
)
def test_a_wrong_name_is_found(exported, expression, problem):
    assert unknown(expression, exported) == [problem]


def test_an_invalid_expression_is_found():
    with pytest.raises(ValueError, match="unclosed"):
        parsed("sum(rate(up[1m])")


def test_matched_label_values_exist():
    routes = {getattr(route, "path", "") for route in app.routes} | set(app.openapi()["paths"])
    routes |= {route.path for route in completing.routes}
    for name, expression in EXPRESSIONS.items():
        for selector in selectors(nodes(parsed(expression))):
            for matcher in selector.matchers.matchers:
                values = set(matcher.value.split("|"))
                if matcher.name == "route":
                    assert values <= routes, name
                elif matcher.name == "reason":
                    assert values <= REASONS, name
                elif matcher.name == "job":
                    assert values == {"dialog-cvae"}, name


def test_every_metric_has_a_panel(exported):
    shown = " ".join(EXPRESSIONS.values())
    ours = {name for name in exported if name.startswith("dialog_cvae_")}
    families = {name.removesuffix("_created").removesuffix("_total") for name in ours}
    families -= {name for name in families if name.endswith(("_bucket", "_sum", "_count"))}
    assert len(families) >= 5
    assert {family for family in families if family not in shown} == set()
    assert "process_resident_memory_bytes" in shown
    for quantile in ("0.5", "0.95", "0.99"):
        assert f"histogram_quantile({quantile}, sum by (le) (rate(dialog_cvae_request_seconds_bucket" in shown


def test_the_dashboard_is_well_formed():
    dashboard = document(DASHBOARD)
    assert dashboard["uid"] == "dialog-cvae"
    assert "id" not in dashboard  # Grafana assigns it
    assert dashboard["editable"] is False
    assert [panel["id"] for panel in PANELS] == list(range(1, len(PANELS) + 1))
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])


def test_panels_fill_the_grid_without_overlap():
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


def test_the_dashboard_uses_the_provisioned_data_source():
    sources = document(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert [source["uid"] for source in sources] == ["prometheus"]
    dashboard = document(DASHBOARD)
    variables = dashboard["templating"]["list"]
    asked = [*PANELS, *(target for panel in PANELS for target in panel["targets"]), *variables]
    assert {json.dumps(each["datasource"], sort_keys=True) for each in asked} == {
        '{"type": "prometheus", "uid": "prometheus"}'
    }
    assert {variable["name"] for variable in variables} == {"instance"}


def test_mounted_files_are_where_each_program_looks_for_them():
    services = document(ROOT / "docker-compose.yml")["services"]
    grafana, prometheus = services["grafana"], services["prometheus"]
    folders = dict(volume.removesuffix(":ro").split(":") for volume in grafana["volumes"])
    assert folders["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    provider = document(DEPLOY / "grafana" / "provisioning" / "dashboards" / "dialog-cvae.yml")["providers"][0]
    assert folders["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"
    assert "./deploy/prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in prometheus["command"]
    source = document(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_scrapes_every_container_of_the_service():
    config = document(DEPLOY / "prometheus" / "prometheus.yml")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (found,) = jobs["dialog-cvae"]["dns_sd_configs"]
    assert found["names"] == ["api"]
    assert found["port"] == 8000
    assert "metrics_path" not in jobs["dialog-cvae"]  # /metrics
    assert [(DEPLOY / "prometheus" / name).is_file() for name in config["rule_files"]] == [True]


def test_every_alert_has_a_summary():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["for"]
