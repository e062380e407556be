"""The Helm chart, linted and rendered by Helm's own library and held against Kubernetes' schemas.

No cluster runs in tests. Pod security is checked against the published rules of the restricted
standard that apply here (Kubernetes: Pod Security Standards).
"""

from __future__ import annotations

import copy
import json
import tomllib
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from clouddesktop.config import Settings
from deploy.units import DEPLOY

CHART = DEPLOY / "helm" / "clouddesktop"
VERSION = "1.33.0"
VALUES: dict[str, Any] = {
    "names": ["images.example.org"],
    "database": {"existingSecret": "db"},
    "store": {"url": "s3://desktops/store", "existingSecret": "s3"},
    "tls": {"existingSecret": "authority"},
}
FULL: dict[str, Any] = {
    **VALUES,
    "encryption": {"existingSecret": "store-keys"},
    "settings": {"folder_copies": 2, "source": {"golden": "s3://images/golden"}},
    "api": {"autoscaling": {"enabled": True}, "storage": {"size": "5Gi", "className": "fast"}},
    "worker": {"sandbox": {"enabled": True}, "nodeSelector": {"disk": "ssd"}},
    "networkPolicy": {"from": [{"podSelector": {}}]},
    "image": {"repository": "registry.example/clouddesktop", "pullSecrets": [{"name": "pull"}]},
}


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the manifests of a release."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name="demo", namespace="prod")
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def find(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Give the one manifest of that kind and name."""
    [found] = [
        each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return found


def containers(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give all containers, those that run first, too."""
    pods = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "StatefulSet"]
    return [each for pod in pods for each in [*pod.get("initContainers", []), *pod["containers"]]]


@pytest.mark.parametrize("values", [VALUES, FULL], ids=["least", "full"])
def test_helm_finds_no_fault(values: dict[str, Any]) -> None:
    """By `helm lint --strict`; what it says beside is that there is no icon."""
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("values", [VALUES, FULL], ids=["least", "full"])
def test_kubernetes_would_take_every_manifest(values: dict[str, Any]) -> None:
    """By its schemas, where a field that is not there is a fault."""
    manifests = render(values)
    assert len(manifests) >= 9
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_check_would_find_a_misspelt_field() -> None:
    """The schemas are really asked."""
    manifest = copy.deepcopy(find(render(VALUES), "StatefulSet", "demo-api"))
    manifest["spec"]["template"]["spec"]["containers"][0]["imagePullpolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {**VALUES, "database": {"existingSecret": ""}},
        {**VALUES, "store": {"url": "file:///srv"}},
        {**VALUES, "worker": {"copies": 0}},
        {**VALUES, "worker": {"replica": 3}},
        {**VALUES, "settings": {"database": "postgresql://elsewhere/db"}},
        {"names": []},
    ],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    """Before anything is installed: missing secrets, misspelt names, the chart's own settings."""
    with pytest.raises(helm_python.HelmError):
        render(values)


@pytest.mark.parametrize("values", [VALUES, FULL], ids=["least", "full"])
def test_pods_are_restricted(values: dict[str, Any]) -> None:
    """No root, no rights, no writable root; only a worker's sandbox lifts a part of it."""
    manifests = render(values)
    for each in containers(manifests):
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert ("procMount" in context) == (each["name"] == "worker" and values is FULL)
        assert "memory" in each["resources"]["limits"]
    for name in ("demo-api", "demo-worker"):
        pod = find(manifests, "StatefulSet", name)["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
        assert pod["automountServiceAccountToken"] is False
        assert pod.get("hostUsers", True) is not (name == "demo-worker" and values is FULL)


def test_processes_get_settings_that_the_program_knows() -> None:
    """Every variable is a setting; the file is TOML that it takes; servers have all their names."""
    manifests = render(FULL)
    for each in containers(manifests):
        for variable in each.get("env", []):
            name = variable["name"].removeprefix("CLOUDDESKTOP_").lower()
            assert name in Settings.model_fields
    settings = find(manifests, "ConfigMap", "demo")["data"]["clouddesktop.toml"]
    assert Settings(**tomllib.loads(settings)).source == {"golden": "s3://images/golden"}
    server = find(manifests, "StatefulSet", "demo-api")["spec"]["template"]["spec"]["containers"][0]
    given = {each["name"]: each.get("value") for each in server["env"]}
    names = json.loads(given["CLOUDDESKTOP_NAMES"])
    assert (names[0], names[-1]) == ("images.example.org", "demo-api")


def test_only_servers_get_the_authority_and_no_secret_is_written_out() -> None:
    """Who has the authority's key can be any server."""
    manifests = render(FULL)
    for name, is_given in (("demo-api", True), ("demo-worker", False)):
        pod = find(manifests, "StatefulSet", name)["spec"]["template"]["spec"]
        secrets = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
        assert ("authority" in secrets) is is_given
        assert "store-keys" in secrets
    assert not [each for each in manifests if each["kind"] == "Secret"]


def test_a_worker_has_the_time_that_a_stop_may_take() -> None:
    """Longer than its ranges and a PUT that stalls, as in systemd's unit."""
    pod = find(render(VALUES), "StatefulSet", "demo-worker")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 200
