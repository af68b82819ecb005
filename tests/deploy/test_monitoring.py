"""The files for Prometheus and Grafana: what they ask for is what a service tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from craft_ray.commands.keys import DEFAULT_FILE
from craft_ray.config.service import ServiceConfig
from craft_ray.service.http.metrics import Metrics
from craft_ray.service.meter.keys import SCOPES

from .cluster_checks import unknown_keys
from .kube_service_checks import settings_of
from .project import DASHBOARD, KUBERAY_FILE, MONITORING_FILE, PROMETHEUS_FILE

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS: list[dict[str, Any]] = BOARD["panels"]
OF_PROMETHEUS = {"le"}


def expressions() -> Iterator[str]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Name of a metric, as it is asked for -> its labels."""
    metrics = Metrics(lambda: 3)
    metrics.answered("Ada", "/v1/predict", 200, 0.1)
    metrics.charged("Ada", "predict", 500)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_what_the_dashboard_asks_for_is_told(expression: str, told: dict[str, set[str]]) -> None:
    names = re.findall(r"craft_ray_\w+", expression)
    assert names
    for name in names:
        assert name in told
    labels = {label for name in names for label in told[name]}
    by = [
        word.strip()
        for group in re.findall(r"by \(([^)]+)\)", expression)
        for word in group.split(",")
    ]
    picked = re.findall(r"(\w+)=~?\"", expression)
    assert {*by, *picked} <= labels


def test_all_that_is_told_is_shown(told: dict[str, set[str]]) -> None:
    shown = {name for each in expressions() for name in re.findall(r"craft_ray_\w+", each)}
    beside = ("_created", "_sum", "_count")
    assert {name for name in told if not name.endswith(beside)} <= shown


def test_a_legend_names_labels_that_are_there() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            by = re.findall(r"by \(([^)]+)\)", target["expr"])
            kept = {word.strip() for group in by for word in group.split(",")} - OF_PROMETHEUS
            assert legend == kept


def test_the_dashboard_takes_whichever_prometheus_there_is() -> None:
    variables = {each["name"]: each for each in BOARD["templating"]["list"]}
    assert variables["source"]["type"] == "datasource"
    used = [panel["datasource"] for panel in PANELS]
    used += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    assert all(each == {"type": "prometheus", "uid": "${source}"} for each in used)
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)


def test_prometheus_asks_the_service_with_a_key_of_its_own() -> None:
    text = PROMETHEUS_FILE.read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["scheme"] == "https"
    assert job["authorization"]["type"] == "Bearer"
    port = ServiceConfig().port
    assert job["static_configs"] == [{"targets": [f"localhost:{port}"]}]
    (scopes,) = re.findall(r"--scopes (\w+)", text)
    assert scopes in SCOPES
    assert f"--file {DEFAULT_FILE} > {job['authorization']['credentials_file']}" in text


KUBERAY_PORTS = {"metrics": 8080}
"""Of the operator's own, by name: it adds this one to each container of Ray."""
POD_MONITOR = {
    "selector": {"matchLabels": None},
    "podMetricsEndpoints": {
        "port": None,
        "path": None,
        "scheme": None,
        "interval": None,
        "authorization": {"type": None, "credentials": {"name": None, "key": None}},
        "tlsConfig": {"ca": {"secret": {"name": None, "key": None}}, "serverName": None},
        "relabelings": {"sourceLabels": None, "targetLabel": None},
    },
}


def monitoring() -> dict[str, dict[str, Any]]:
    """`KIND/NAME` -> its spec."""
    items = yaml.safe_load(MONITORING_FILE.read_text())["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["spec"] for item in items}


def pods() -> list[tuple[dict[str, str], dict[str, int]]]:
    """Labels, and the ports of the first container by name, of each kind of pod in kuberay.yaml."""
    found = []
    for item in yaml.safe_load(KUBERAY_FILE.read_text())["items"]:
        spec = item["spec"].get("rayClusterSpec", item["spec"])
        for group in (spec.get("headGroupSpec"), *spec.get("workerGroupSpecs", [])):
            if group is not None:
                listed = group["template"]["spec"]["containers"][0].get("ports", [])
                ports = {port["name"]: port["containerPort"] for port in listed}
                found.append((group["template"]["metadata"]["labels"], KUBERAY_PORTS | ports))
    return found


@pytest.mark.parametrize("name", [name for name in monitoring() if name.startswith("PodMonitor/")])
def test_on_kubernetes_prometheus_finds_ports_and_may_reach_them(name: str) -> None:
    spec, policy = monitoring()[name], monitoring()["NetworkPolicy/craft-ray-monitoring"]
    assert list(unknown_keys(spec, POD_MONITOR, name)) == []
    ((rule,),) = [policy["ingress"]]
    (peer,) = rule["from"]
    assert peer["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    admitted = {entry["port"] for entry in rule["ports"]}
    selected = [
        (labels, ports)
        for labels, ports in pods()
        if spec["selector"]["matchLabels"].items() <= labels.items()
    ]
    assert selected
    for labels, ports in selected:
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        for endpoint in spec["podMetricsEndpoints"]:
            assert ports[endpoint["port"]] in admitted


def test_on_kubernetes_prometheus_asks_the_service_with_a_key_and_by_tls() -> None:
    (endpoint,) = monitoring()["PodMonitor/craft-ray-service"]["podMetricsEndpoints"]
    text = MONITORING_FILE.read_text()
    assert (endpoint["scheme"], endpoint["path"]) == ("https", "/metrics")
    credentials = endpoint["authorization"]["credentials"]
    assert f"secret generic {credentials['name']} --from-literal={credentials['key']}=" in text
    (scopes,) = re.findall(r"--scopes (\w+)", text)
    assert scopes in SCOPES
    (service,) = [
        item["spec"]
        for item in yaml.safe_load(KUBERAY_FILE.read_text())["items"]
        if item["kind"] == "RayCluster" and item["metadata"]["name"] == "craft-ray-service"
    ]
    assert f"--file {settings_of(service).keys})" in text
    volumes = service["headGroupSpec"]["template"]["spec"]["volumes"]
    secrets = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] in secrets
