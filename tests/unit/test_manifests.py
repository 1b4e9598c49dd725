"""What `kubectl apply -k manifests/` installs: complete, no more rights than are used, and as strict as it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from goldenpipe.cli.checks.cluster import RIGHTS
from goldenpipe.cli.serve import serve
from goldenpipe.cli.settings_file import read_settings
from goldenpipe.metrics import Metrics
from goldenpipe.model.status import BuildState
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.steps import read_step
from goldenpipe_kube import schema_faults
from support.controlplane.audit import Right, rights_in
from support.markdown import ROOT, read

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the manifests; it is not here")

Object = dict[str, Any]
BASE, INGRESS, MONITORING = "manifests", "manifests/overlays/ingress", "manifests/overlays/monitoring"
STANDBY = "manifests/overlays/standby"
ALL = pytest.mark.parametrize("folder", [BASE, INGRESS, MONITORING, STANDBY])
PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
STEPS = sorted(
    account
    for name in Bundle.read().files
    if name.startswith("steps/") and (account := read_step(Bundle.read(), name[6:-5]).service_account)
)
"""The service accounts that the built-in steps name; what each may do, the tests of the steps run with."""


@cache
def rendered(folder: str) -> tuple[Object, ...]:
    command = ["kubectl", "kustomize", str(ROOT / folder)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(yaml.safe_load_all(text))


def one(kind: str, name: str = "goldenpipe", folder: str = BASE) -> Object:
    (found,) = [obj for obj in rendered(folder) if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def settings_map() -> Object:
    (found,) = [obj for obj in rendered(BASE) if obj["kind"] == "ConfigMap"]
    return found


def rights(role: str) -> set[Right]:
    return rights_in(one("Role", role))


@ALL
def test_kubernetes_knows_every_field(folder: str) -> None:
    assert {f"{obj['kind']} {fault}" for obj in rendered(folder) for fault in schema_faults(obj)} == set()


@ALL
def test_all_is_in_one_namespace_and_an_overlay_holds_the_base(folder: str) -> None:
    homeless = [obj for obj in rendered(folder) if obj["metadata"].get("namespace") != "goldenpipe-system"]
    assert [obj["kind"] for obj in homeless] == ["Namespace"]
    replaced = {"Deployment", "PersistentVolumeClaim"} if folder == STANDBY else set()
    assert {obj["kind"] for obj in rendered(BASE) if obj not in rendered(folder)} == replaced


def test_the_service_has_the_rights_that_doctor_asks_for_and_no_more() -> None:
    assert rights("goldenpipe") == {(group, resource, verb) for group, resource, verbs in RIGHTS for verb in verbs}


def test_every_step_that_calls_the_api_has_an_account_of_its_own_and_only_those_have_one() -> None:
    bundle = Bundle.read()
    for template in (read_step(bundle, name[6:-5]) for name in bundle.files if name.startswith("steps/")):
        own = f"goldenpipe-step-{template.name.replace('_', '-')}"
        assert template.service_account == (own if template.api else None), template.name


def test_only_the_steps_that_boot_the_vm_can_change_anything_and_only_start_it() -> None:
    for role in (*STEPS, "goldenpipe-step"):
        changing = {right for right in rights(role) if right[2] not in ("get", "list", "watch")}
        start = {("subresources.kubevirt.io", "virtualmachines/start", "update")}
        starting = ("goldenpipe-step-create-vm", "goldenpipe-step-install-windows")
        assert changing == (start if role in starting else set()), role


def test_nobody_can_list_secrets_or_change_what_runs() -> None:
    for role in ("goldenpipe", "goldenpipe-step", *STEPS):
        assert {verb for _, resource, verb in rights(role) if resource == "secrets"} <= {"get", "create", "delete"}
        assert {verb for *_, verb in rights(role)} & {"*", "escalate", "bind", "impersonate"} == set()
        changed = {resource for _, resource, verb in rights(role) if verb in ("patch", "update")}
        assert changed <= {"configmaps", "leases", "virtualmachines/start"}
    assert {obj["kind"] for obj in rendered(BASE)} & {"ClusterRole", "ClusterRoleBinding"} == set()


@pytest.mark.parametrize("name", ["goldenpipe", "goldenpipe-step", *STEPS])
def test_each_role_is_bound_to_the_account_of_its_name_alone(name: str) -> None:
    binding = one("RoleBinding", name)
    account = {"kind": "ServiceAccount", "name": name, "namespace": "goldenpipe-system"}
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"], binding["subjects"]) == ("Role", name, [account])
    assert one("ServiceAccount", name)["automountServiceAccountToken"] is False


def test_the_pod_is_as_restricted_as_its_namespace_demands() -> None:
    labels = one("Namespace", "goldenpipe-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = one("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected", "downwardAPI"}


def test_the_old_pod_is_gone_before_the_new_one_opens_the_database() -> None:
    spec = one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_two_replicas_share_no_data_and_one_is_always_there() -> None:
    deployment, budget = one("Deployment", folder=STANDBY)["spec"], one("PodDisruptionBudget", folder=STANDBY)["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "RollingUpdate")
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (data,) = [volume for volume in deployment["template"]["spec"]["volumes"] if volume["name"] == "data"]
    assert data.keys() == {"name", "ephemeral"}
    assert "PersistentVolumeClaim" not in {obj["kind"] for obj in rendered(STANDBY)}
    assert budget["minAvailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_each_replica_says_where_the_others_reach_it_and_they_may() -> None:
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert f"--advertise=$(POD_IP):{port['containerPort']}" in container["args"]
    assert [env["valueFrom"] for env in container["env"] if env["name"] == "POD_IP"] == [
        {"fieldRef": {"fieldPath": "status.podIP"}}
    ]
    policy = one("NetworkPolicy")["spec"]
    ways = [rule for rule in policy["egress"] if rule.get("to") == [{"podSelector": policy["podSelector"]}]]
    assert [rule["ports"] for rule in ways] == [[{"port": port["name"], "protocol": "TCP"}]]


def test_a_cluster_api_that_is_away_does_not_get_the_service_killed() -> None:
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    health = "/api/v1/health"
    assert container["readinessProbe"]["httpGet"]["path"] == health
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/metrics"


def test_the_command_line_of_the_pod_is_understood_and_leads_to_its_volumes() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command, *arguments = container["args"]
    assert (container["command"], command) == (["goldenpipe"], "serve")
    flags = dict(argument.split("=", 1) for argument in arguments)
    assert flags.keys() <= {option for parameter in serve.params for option in parameter.opts}
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert flags["--data-dir"] == paths["data"]
    (settings,) = settings_map()["data"]
    assert flags["--settings"] == f"{paths['settings']}/{settings}"
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "settings"]
    assert volume["configMap"]["name"] == settings_map()["metadata"]["name"]


def test_the_settings_are_accepted_and_name_what_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(settings_map()["data"]["settings.yaml"])
    settings = read_settings(path)
    assert settings.step_image == f"goldenpipe-steps:{PROJECT['version']}"
    assert one("ServiceAccount", settings.step_service_account)
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"goldenpipe-server:{PROJECT['version']}"


def test_the_service_and_its_policy_lead_to_the_pod() -> None:
    deployment, service, policy = one("Deployment"), one("Service"), one("NetworkPolicy")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (port,) = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    (served,) = service["spec"]["ports"]
    assert (served["port"], served["targetPort"], port["containerPort"]) == (80, port["name"], 8080)


def test_steps_may_call_anything_and_nobody_but_steps_may_call_a_build_vm() -> None:
    steps, vms = one("NetworkPolicy", "goldenpipe-steps")["spec"], one("NetworkPolicy", "goldenpipe-build-vms")["spec"]
    assert (steps["egress"], steps.get("ingress")) == ([{}], None)
    assert vms["ingress"] == [{"from": [{"podSelector": steps["podSelector"]}]}]
    assert vms["egress"] == [{}]


def test_the_ingress_leads_to_the_service() -> None:
    (rule,) = one("Ingress", folder=INGRESS)["spec"]["rules"]
    assert rule["host"] == "goldenpipe.local"
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "goldenpipe", "port": {"name": "http"}}


def expressions() -> list[str]:
    (rules,) = [obj for obj in rendered(MONITORING) if obj["kind"] == "PrometheusRule"]
    alerts = [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    dashboard = json.loads(one("ConfigMap", "goldenpipe-dashboard", MONITORING)["data"]["goldenpipe.json"])
    return alerts + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def existing_metrics() -> set[str]:
    """The series of a service that has built and served once."""
    metrics = Metrics()
    metrics.build_ended("linux", BuildState.FAILED)
    metrics.request_ended("GET", "/metrics", 200, 0.1)
    text = metrics.text(active_vms=0, queued=0, running=0, storage_bytes=0, leads=True).decode()
    return set(re.findall(r"^(goldenpipe_\w+)", text, re.MULTILINE)) | {
        f"{name}_{part}"
        for name in re.findall(r"^# TYPE (\w+) histogram$", text, re.MULTILINE)
        for part in ("bucket", "count", "sum")
    }


def test_alerts_and_dashboard_name_only_metrics_that_exist() -> None:
    named = {name for expression in expressions() for name in re.findall(r"\b(goldenpipe_\w+)", expression)}
    assert named
    assert named - existing_metrics() == set()


def test_alerts_know_the_outcomes_that_the_service_counts() -> None:
    outcomes = {word for expression in expressions() for word in re.findall(r'outcome="(\w+)"', expression)}
    assert outcomes
    assert outcomes <= {state.value for state in BuildState}


def test_the_monitor_finds_the_service() -> None:
    (monitor,) = [obj for obj in rendered(MONITORING) if obj["kind"] == "ServiceMonitor"]
    service = one("Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


@pytest.mark.parametrize("image", ["server", "steps"])
def test_the_pinned_versions_are_ones_that_the_project_allows(image: str) -> None:
    lines = [line for line in read(f"{image}/requirements.txt").splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    for wanted in map(Requirement, PROJECT["dependencies"]):
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if image == "server" or name in pinned:
            assert wanted.specifier.contains(pinned[name]), wanted


@pytest.mark.parametrize("image", ["server", "steps"])
def test_the_images_run_as_the_user_that_the_pods_have(image: str) -> None:
    text = read(f"{image}/Containerfile")
    pod = one("Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == [f"{pod['runAsUser']}:{pod['runAsGroup']}"]
