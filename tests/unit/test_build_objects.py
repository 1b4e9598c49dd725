"""What the built-in templates make: the disk, the VM, the published image, and the Jobs of the steps."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from goldenpipe.settings import ClusterSettings
from goldenpipe_kube import Object
from support.samples import sample_objects

INSTALL = "steps/install_os.yaml"
WINDOWS = "steps/install_windows.yaml"
IMMEDIATE = "cdi.kubevirt.io/storage.bind.immediate.requested"
SIDECAR = "sidecar.istio.io/inject"
Given = dict[str, Any]
ALL: list[Given] = [
    {},
    {"preference": "debian", "instancetype": "u1.medium", "network": "images", "immediate_binding": False},
]
ANY_SETTINGS = pytest.mark.parametrize("given", ALL, ids=["defaults", "everything set"])


@cache
def rendered(given: str) -> list[tuple[str, Object]]:
    return list(sample_objects(ClusterSettings(**json.loads(given))))


def objects(given: Given) -> list[tuple[str, Object]]:
    """Everything, with these settings, each with the path of its step."""
    return rendered(json.dumps(given, sort_keys=True))


def found(kind: str, given: Given) -> list[Object]:
    return [obj for _, obj in objects(given) if obj["kind"] == kind]


def made(kind: str, **given: Any) -> Object:
    """The one of this kind for the sample request that asks for everything; of an ISO, what its build goes on with."""
    return [obj for path, obj in objects(given) if obj["kind"] == kind and path not in (INSTALL, WINDOWS)][-1]


def installing(kind: str, **given: Any) -> Object:
    """The one of this kind that the installer has."""
    return [obj for path, obj in objects(given) if obj["kind"] == kind and path == INSTALL][-1]


def jobs(**given: Any) -> dict[str, Object]:
    return {path[6:-5]: obj for path, obj in objects(given) if obj["kind"] == "Job"}


@ANY_SETTINGS
def test_a_vm_that_powers_off_stays_off_and_its_disk_outlives_it(given: Given) -> None:
    for machine in found("VirtualMachine", given):
        assert machine["spec"]["runStrategy"] in ("Manual", "Once")
        assert "running" not in machine["spec"]
        assert "dataVolumeTemplates" not in machine["spec"]


@ANY_SETTINGS
def test_a_vm_never_boots_a_disk_that_is_not_filled(given: Given) -> None:
    disks = {disk["metadata"]["name"] for disk in found("DataVolume", given)}
    for machine in found("VirtualMachine", given):
        volumes = {volume["name"]: volume for volume in machine["spec"]["template"]["spec"]["volumes"]}
        assert volumes["rootdisk"]["dataVolume"]["name"] in disks
        claims = {name for name, volume in volumes.items() if "persistentVolumeClaim" in volume}
        devices = machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"]
        assert claims <= {device["name"] for device in devices if "cdrom" in device}, (
            "only the ISO, which is ready by then"
        )


@ANY_SETTINGS
def test_what_only_kubevirts_webhooks_check_is_right_in_the_vm(given: Given) -> None:
    for machine in found("VirtualMachine", given):
        spec = machine["spec"]["template"]["spec"]
        disks = spec["domain"]["devices"]["disks"]
        orders = [disk["bootOrder"] for disk in disks if "bootOrder" in disk]
        assert len(set(orders)) == len(orders)
        assert min(orders) > 0
        assert {disk["name"] for disk in disks} == {volume["name"] for volume in spec["volumes"]}
        interfaces = spec["domain"]["devices"]["interfaces"]
        assert {each["name"] for each in interfaces} == {each["name"] for each in spec["networks"]}
        # an instance type excludes cpu and memory of the VM's own; a preference does not
        assert "instancetype" not in machine["spec"]
        assert {"cpu", "memory"} <= spec["domain"].keys()


def test_cloud_inits_data_is_in_a_secret_where_it_may_be_long_and_is_not_shown() -> None:
    spec = made("VirtualMachine")["spec"]["template"]["spec"]
    (cloud_init,) = [volume["cloudInitNoCloud"] for volume in spec["volumes"] if "cloudInitNoCloud" in volume]
    assert cloud_init.keys() == {"secretRef"}
    secrets = {obj["metadata"]["name"]: obj for obj in found("Secret", {})}
    assert secrets[cloud_init["secretRef"]["name"]]["stringData"].keys() == {"userdata"}


def test_the_vm_has_a_hostname_and_labels_of_its_own() -> None:
    """KubeVirt's own label is the name cut at the first dot, which two images may share."""
    template = made("VirtualMachine")["spec"]["template"]
    assert template["spec"]["hostname"] == "sample-00000"
    assert template["metadata"]["labels"]["goldenpipe.io/build"] == "sample-00000"


def test_the_logs_of_an_image_are_those_of_its_steps_alone() -> None:
    assert "goldenpipe.io/image" not in made("VirtualMachine")["spec"]["template"]["metadata"]["labels"]


def test_the_vm_is_on_the_pod_network_with_all_ports_unless_the_settings_name_another() -> None:
    spec = made("VirtualMachine")["spec"]["template"]["spec"]
    assert spec["domain"]["devices"]["interfaces"] == [{"name": "default", "masquerade": {}}]
    assert spec["networks"] == [{"name": "default", "pod": {}}]
    spec = made("VirtualMachine", network="networks/images")["spec"]["template"]["spec"]
    assert spec["domain"]["devices"]["interfaces"] == [{"name": "default", "bridge": {}}]
    assert spec["networks"] == [{"name": "default", "multus": {"networkName": "networks/images"}}]


def test_the_guests_console_is_logged() -> None:
    assert made("VirtualMachine")["spec"]["template"]["spec"]["domain"]["devices"]["logSerialConsole"] is True


def test_cdi_chooses_how_a_disk_is_stored_unless_the_settings_do() -> None:
    spec = made("DataVolume")["spec"]
    assert spec["storage"] == {"resources": {"requests": {"storage": "20Gi"}}}
    assert "pvc" not in spec
    assert spec["source"].keys() == {"http"}
    storage = made("DataVolume", storage_class="fast", access_mode="ReadWriteMany")["spec"]["storage"]
    assert (storage["storageClassName"], storage["accessModes"]) == ("fast", ["ReadWriteMany"])


def test_a_disk_is_bound_at_once_unless_the_settings_leave_that_to_the_vm() -> None:
    assert made("DataVolume")["metadata"]["annotations"][IMMEDIATE] == "true"
    assert IMMEDIATE not in made("DataVolume", immediate_binding=False)["metadata"]["annotations"]


def test_an_old_cdi_is_told_to_leave_a_finished_disk_alone() -> None:
    annotations = made("DataVolume")["metadata"]["annotations"]
    assert annotations["cdi.kubevirt.io/storage.deleteAfterCompletion"] == "false"


@pytest.mark.parametrize("kind", ["DataVolume", "DataSource"])
def test_disk_and_data_source_have_the_users_labels_and_those_that_a_vm_is_inferred_from(kind: str) -> None:
    labels = made(kind, preference="debian", instancetype="u1.medium")["metadata"]["labels"]
    assert labels["team"] == "sample"
    assert {key.partition("/")[2]: value for key, value in labels.items() if key.startswith("instancetype")} == {
        "default-instancetype": "u1.medium",
        "default-instancetype-kind": "VirtualMachineClusterInstancetype",
        "default-preference": "debian",
        "default-preference-kind": "VirtualMachineClusterPreference",
    }
    assert not any(key.startswith("instancetype") for key in made(kind)["metadata"]["labels"])


def test_the_image_is_published_with_the_preference_that_it_was_built_with() -> None:
    """Another preference may mean another firmware, which would not boot it."""
    assert made("VirtualMachine", preference="debian")["spec"]["preference"]["name"] == "debian"
    labels = made("DataSource", preference="debian")["metadata"]["labels"]
    assert labels["instancetype.kubevirt.io/default-preference"] == "debian"


@ANY_SETTINGS
def test_every_job_ends_by_itself_and_a_failed_attempt_stays_to_be_read(given: Given) -> None:
    for name, job in jobs(**given).items():
        spec = job["spec"]
        assert spec["template"]["spec"]["restartPolicy"] == "Never", name
        assert spec["activeDeadlineSeconds"] > 0, name
        assert spec["ttlSecondsAfterFinished"] == 86_400, name
        rules = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
        assert rules["FailJob"]["onExitCodes"]["values"] == [20], name
        assert rules["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}], name


def test_no_sidecar_keeps_a_step_from_ending() -> None:
    for name, job in jobs().items():
        metadata = job["spec"]["template"]["metadata"]
        assert (metadata["labels"][SIDECAR], metadata["annotations"][SIDECAR]) == ("false", "false"), name
        assert metadata["annotations"]["linkerd.io/inject"] == "disabled", name
    assert made("VirtualMachine")["spec"]["template"]["metadata"]["labels"][SIDECAR] == "false"


def test_every_step_runs_as_restricted_as_a_namespace_may_demand() -> None:
    for name, job in jobs().items():
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {"requests", "limits"} == container["resources"].keys(), name


def test_no_step_holds_the_disk_that_the_vm_needs() -> None:
    """Two Pods on two nodes cannot have one ReadWriteOnce volume, and a finished Pod keeps its claim from going."""
    for name, job in jobs().items():
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert {kind for volume in volumes for kind in volume} <= {"name", "secret", "persistentVolumeClaim"}
        claims = [volume["persistentVolumeClaim"] for volume in volumes if "persistentVolumeClaim" in volume]
        assert (name in ("inspect_iso", "prepare_iso")) == bool(claims), name
        assert "sample" not in {claim["claimName"] for claim in claims}, name


def test_time_limits_of_the_settings_are_those_of_the_jobs() -> None:
    given = {"pending_timeout_seconds": 100, "import_timeout_seconds": 1000, "boot_timeout_seconds": 10}
    assert jobs(**given)["download_iso"]["spec"]["activeDeadlineSeconds"] == 1100
    at_once = jobs(**given)["create_vm"]["spec"]["activeDeadlineSeconds"]
    waiting = jobs(**given, immediate_binding=False)
    assert waiting["create_vm"]["spec"]["activeDeadlineSeconds"] == at_once + 1100


def test_steps_and_vms_run_where_the_settings_say() -> None:
    where: Given = {"node_selector": {"pool": "images"}, "tolerations": [{"key": "images", "operator": "Exists"}]}
    pods = [job["spec"]["template"]["spec"] for job in jobs(**where).values()]
    for spec in (*pods, made("VirtualMachine", **where)["spec"]["template"]["spec"]):
        assert (spec["nodeSelector"], spec["tolerations"]) == (where["node_selector"], where["tolerations"])


@ANY_SETTINGS
def test_keys_of_secrets_are_names_and_never_paths(given: Given) -> None:
    for secret in found("Secret", given):
        assert not any("/" in key for key in secret["stringData"])


def test_the_installers_machine_starts_once_and_boots_the_disk_before_the_iso() -> None:
    spec = installing("VirtualMachine")["spec"]
    assert spec["runStrategy"] == "Once"
    devices = {device["name"]: device for device in spec["template"]["spec"]["domain"]["devices"]["disks"]}
    assert devices["rootdisk"]["bootOrder"] < devices["installer"]["bootOrder"]
    volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
    assert volumes["installer"]["persistentVolumeClaim"] == {"claimName": "goldenpipe-iso-0", "readOnly": True}
    secret = installing("Secret")
    assert volumes["answers"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert "goldenpipe: installed" in secret["stringData"]["preseed.cfg"]


def test_the_installer_fills_the_disk_that_becomes_the_image() -> None:
    disk = installing("DataVolume", storage_class="fast", access_mode="ReadWriteMany")
    assert disk["metadata"]["name"] == made("DataSource")["spec"]["source"]["pvc"]["name"]
    assert disk["spec"]["source"] == {"blank": {}}
    storage = disk["spec"]["storage"]
    assert (storage["storageClassName"], storage["accessModes"]) == ("fast", ["ReadWriteMany"])
    assert disk["metadata"]["labels"] == made("DataVolume")["metadata"]["labels"]
    assert IMMEDIATE not in installing("DataVolume", immediate_binding=False)["metadata"]["annotations"]


def test_the_machine_is_the_same_for_the_installer_and_for_the_build() -> None:
    for given in ALL:
        ours, theirs = (each("VirtualMachine", **given)["spec"] for each in (made, installing))
        assert ours.get("preference") == theirs.get("preference")
        for part in ("cpu", "memory", "firmware"):
            domains = [spec["template"]["spec"]["domain"].get(part) for spec in (ours, theirs)]
            assert domains[0] == domains[1], part
