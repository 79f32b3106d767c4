"""deploy/kubernetes: valid for Kubernetes, and its arguments and numbers for Bridge."""

import json
import re
from typing import Any

import pytest
import yaml

from bridge.server.hooks.metrics import FAMILIES
from tests.deploy.examples import APPS, text
from tests.deploy.test_docker import instruction
from tests.server.command import run


def resources() -> dict[str, Any]:
    files = "kubernetes/bridge.yaml", "kubernetes/autoscaler.yaml"
    return {each["kind"]: each for file in files for each in yaml.safe_load_all(text(file))}


def scaled_by() -> dict[str, int]:
    """The metrics of the autoscaler, each with its target for a pod."""
    metrics = [each["pods"] for each in resources()["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    return {each["metric"]["name"]: int(each["target"]["averageValue"]) for each in metrics}


def pod() -> dict[str, Any]:
    template: dict[str, Any] = resources()["Deployment"]["spec"]["template"]
    return template


def container() -> dict[str, Any]:
    (only,) = pod()["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def settings() -> dict[str, Any]:
    """What its arguments and its variables have `bridge serve` go by."""
    command, *arguments = container()["args"][1:]
    assert command == "serve"
    variables = {each["name"]: each["value"] for each in container()["env"]}
    code, output, errors = run("config", "--json", *arguments, cwd=APPS, env=variables)
    assert code == 0, errors
    return {name: setting["value"] for name, setting in json.loads(output).items()}


def test_the_schemas_allow_it() -> None:
    """Of the newest Kubernetes that is known; what is not in them is not allowed."""
    validating = pytest.importorskip("kubernetes_validate", reason="there is no kubernetes-validate here")
    for resource in resources().values():
        validating.validate(resource, desired_version=validating.latest_version(), strict=True)


def test_its_parts_find_each_other() -> None:
    found = resources()
    assert found.keys() == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    labels = pod()["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} == {"http"}
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < found["Deployment"]["spec"]["replicas"]
    mounts = {mount["name"] for mount in container()["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod()["spec"]["volumes"]}


def test_it_probes_what_the_server_answers() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    in_force = settings()
    assert (ports["http"], in_force["host"]) == (in_force["port"], "0.0.0.0")
    paths = {
        probe: container()[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if container()[probe]["httpGet"]["port"] == "http"
    }
    assert paths == {
        "startupProbe": in_force["health-live"],
        "livenessProbe": in_force["health-live"],
        "readinessProbe": in_force["health-ready"],
    }


def test_it_has_time_to_stop() -> None:
    in_force = settings()
    patience = in_force["drain-delay"] + in_force["timeout-graceful-shutdown"]
    assert in_force["drain-delay"] > 0
    assert patience < pod()["spec"]["terminationGracePeriodSeconds"] <= patience + 15


def test_it_is_not_root() -> None:
    allowed = pod()["spec"]["securityContext"]
    assert allowed["runAsNonRoot"]
    assert f"{allowed['runAsUser']}:{allowed['runAsGroup']}" == instruction("USER")
    assert not container()["securityContext"]["allowPrivilegeEscalation"]


def test_its_metrics_are_where_prometheus_looks() -> None:
    in_force = settings()
    if "metrics-port" not in in_force:
        pytest.skip("this `bridge serve` has no --metrics-port")
    annotations = pod()["metadata"]["annotations"]
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports["metrics"] == in_force["metrics-port"] == int(annotations["prometheus.io/port"])
    assert in_force["metrics-host"] == "0.0.0.0"


def test_its_autoscaler_goes_by_metrics_that_the_server_has() -> None:
    scaler = resources()["HorizontalPodAutoscaler"]["spec"]
    deployment = resources()["Deployment"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaler["scaleTargetRef"]["kind"] == deployment["kind"]
    assert scaler["minReplicas"] == deployment["spec"]["replicas"] < scaler["maxReplicas"]
    targets = scaled_by()
    assert targets.keys() == {"bridge_calls_waiting", "bridge_threads_busy"}
    assert all(FAMILIES[name].kind == "gauge" and not FAMILIES[name].labels for name in targets)
    assert targets["bridge_threads_busy"] < settings()["threads"]


def test_the_adapter_of_prometheus_passes_them_on() -> None:
    (rule,) = yaml.safe_load(text("kubernetes/prometheus-adapter.yaml"))["rules"]["custom"]
    (pattern,) = re.findall(r'__name__=~"([^"]+)"', rule["seriesQuery"])
    assert {name for name in FAMILIES if re.fullmatch(pattern, name)} == scaled_by().keys()
    overrides = rule["resources"]["overrides"]
    assert overrides.keys() == {"namespace", "pod"}
    assert all(f'{label}!=""' in rule["seriesQuery"] for label in overrides)
    assert "<<.Series>>{<<.LabelMatchers>>}" in rule["metricsQuery"]
    assert rule["metricsQuery"].endswith("by (<<.GroupBy>>)")
