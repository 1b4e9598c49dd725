"""Checks of a Kubernetes cluster: KubeVirt, CDI, rights and storage."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from goldenpipe.cli.checks.finding import Finding, fail, ok, warn
from goldenpipe_kube import Kube, KubeError, NotFound, Object

RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("batch", "jobs", ("create", "delete", "get", "list", "watch")),
    ("", "pods", ("list", "watch")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("", "secrets", ("create", "delete", "get")),
    ("", "configmaps", ("create", "delete", "list", "patch")),
    ("", "persistentvolumeclaims", ("create", "delete", "get", "list", "watch")),
    ("cdi.kubevirt.io", "datavolumes", ("create", "delete", "get", "list", "watch")),
    ("cdi.kubevirt.io", "datasources", ("create", "delete", "get")),
    ("kubevirt.io", "virtualmachines", ("create", "delete", "get", "list", "watch")),
    ("kubevirt.io", "virtualmachineinstances", ("delete", "get", "list", "watch")),
    ("subresources.kubevirt.io", "virtualmachineinstances/vnc", ("get",)),
    ("export.kubevirt.io", "virtualmachineexports", ("create", "delete", "list", "watch")),
    ("coordination.k8s.io", "leases", ("create", "get", "list", "update", "watch")),
)
"""API group, resource, verbs: what the service does. Steps have accounts of their own."""
LOCAL_CLUSTER = "+goldenpipe"
"""What the version of the local cluster's API ends with; it needs no KubeVirt, CDI or storage class."""
_DEFAULT_CLASS = ("storageclass.kubevirt.io/is-default-virt-class", "storageclass.kubernetes.io/is-default-class")


async def check_cluster(kubeconfig: str | None) -> list[Finding]:
    try:
        kube = await Kube.connect(kubeconfig=kubeconfig)
    except Exception as error:  # a kubeconfig can be wrong in as many ways as there are libraries reading it
        remedy = "Check it with: kubectl --kubeconfig FILE get namespaces"
        return [fail("kubeconfig", f"{kubeconfig or 'the default one'} cannot be used: {error}", remedy)]
    async with kube:
        try:
            version = (await kube.raw("/version"))["gitVersion"]
        except KubeError as error:
            return [fail("Kubernetes", error.message, "Check the address and the credentials in the kubeconfig.")]
        if version.endswith(LOCAL_CLUSTER):
            return [ok("Kubernetes", f"{version}, GoldenPipe's own local cluster"), *(await _rights(kube))]
        checks = (_kubevirt(kube), _cdi(kube), _namespace(kube), _rights(kube), _storage(kube), _nodes(kube))
        found = await asyncio.gather(*checks)
    return [ok("Kubernetes", version), *(finding for findings in found for finding in findings)]


async def _kubevirt(kube: Kube) -> list[Finding]:
    remedy = "Install KubeVirt: https://kubevirt.io/user-guide/cluster_admin/installation/"
    return await _operator(kube, "KubeVirt", "/apis/kubevirt.io/v1/kubevirts", "observedKubeVirtVersion", remedy)


async def _cdi(kube: Kube) -> list[Finding]:
    remedy = "Install CDI: https://kubevirt.io/user-guide/storage/containerized_data_importer/"
    return await _operator(kube, "CDI", "/apis/cdi.kubevirt.io/v1beta1/cdis", "observedVersion", remedy)


async def _operator(kube: Kube, subject: str, path: str, version: str, remedy: str) -> list[Finding]:
    try:
        items = (await kube.raw(path))["items"]
    except NotFound:
        return [fail(subject, "is not installed", remedy)]
    except KubeError as error:
        return [warn(subject, f"its version cannot be read: {error.message}", "Ask an administrator to look.")]
    if not items:
        return [fail(subject, "its operator is there, but it is not deployed", remedy)]
    status = items[0].get("status", {})
    number, phase = status.get(version) or "unknown version", status.get("phase")
    if phase == "Deployed":
        return [ok(subject, number)]
    return [fail(subject, f"{number} is not ready: its phase is {phase}", f"kubectl get {subject.lower()} -A")]


async def _namespace(kube: Kube) -> list[Finding]:
    subject = f"namespace {kube.namespace}"
    try:
        await kube.raw(f"/api/v1/namespaces/{kube.namespace}")
    except NotFound:
        return [fail(subject, "does not exist", f"kubectl create namespace {kube.namespace}")]
    except KubeError as error:
        return [warn(subject, error.message, "It may well exist: these credentials may not look.")]
    return [ok(subject, "exists")]


async def _rights(kube: Kube) -> list[Finding]:
    wanted = [(group, resource, verb) for group, resource, verbs in RIGHTS for verb in verbs]
    try:
        allowed = await asyncio.gather(*(_may(kube, *each) for each in wanted))
    except KubeError as error:
        return [warn("rights", f"cannot be asked for: {error.message}", "kubectl auth can-i --list")]
    refused = [each for each, may in zip(wanted, allowed, strict=True) if not may]
    if not refused:
        return [ok("rights", f"all {len(wanted)} that GoldenPipe needs in {kube.namespace}")]
    remedy = "Apply manifests/ as an administrator; it holds the Role and its binding."
    return [fail("rights", f"missing in {kube.namespace}: {', '.join(_spelled(refused))}", remedy)]


async def _may(kube: Kube, group: str, resource: str, verb: str) -> bool:
    name, _, subresource = resource.partition("/")
    attributes = {"namespace": kube.namespace, "verb": verb, "group": group, "resource": name}
    if subresource:
        attributes["subresource"] = subresource
    review = await kube.create(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
    )
    return bool(review["status"]["allowed"])


def _spelled(rights: Iterable[tuple[str, str, str]]) -> list[str]:
    by_resource: dict[str, list[str]] = {}
    for group, resource, verb in rights:
        by_resource.setdefault(f"{resource}.{group}" if group else resource, []).append(verb)
    return [f"{'/'.join(verbs)} {resource}" for resource, verbs in by_resource.items()]


async def _storage(kube: Kube) -> list[Finding]:
    remedy = "Name one in the service's settings, or make one the default."
    try:
        classes: list[Object] = (await kube.raw("/apis/storage.k8s.io/v1/storageclasses"))["items"]
    except KubeError as error:
        return [warn("storage class", error.message, remedy)]
    for annotation in _DEFAULT_CLASS:
        for each in classes:
            if each["metadata"].get("annotations", {}).get(annotation) == "true":
                return [ok("storage class", f"{each['metadata']['name']} is the default")]
    names = ", ".join(each["metadata"]["name"] for each in classes) or "none"
    return [warn("storage class", f"none is the default (there are: {names})", remedy)]


async def _nodes(kube: Kube) -> list[Finding]:
    try:
        nodes = (await kube.raw("/api/v1/nodes"))["items"]
    except KubeError:
        # a namespaced service account may not look at nodes, and need not
        return []
    able = [node for node in nodes if node["status"].get("allocatable", {}).get("devices.kubevirt.io/kvm", "0") != "0"]
    if able:
        return [ok("nodes", f"{len(able)} of {len(nodes)} can run VMs on KVM")]
    remedy = "Switch on virtualization on the nodes; for trials only, KubeVirt's useEmulation."
    return [warn("nodes", "none offers KVM, so VMs wait for ever unless KubeVirt may emulate", remedy)]
