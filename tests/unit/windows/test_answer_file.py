"""The answer file: well-formed, of settings that Windows knows, each in a pass where it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from goldenpipe.lint import job_context, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import read_step, render_manifests

BUNDLE = Bundle.read()
REQUEST = next(request for request in sample_requests() if request["os_type"] == "windows")
KNOWN: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("unattend.yaml").read_text())
NAMESPACE = "{urn:schemas-microsoft-com:unattend}"
ACTION = "{http://schemas.microsoft.com/WMIConfig/2002/State}action"
SETTINGS = [
    ClusterSettings(),
    ClusterSettings(windows_drivers="https://h/virtio-win.iso", windows_tpm=True),
    ClusterSettings(windows_drivers="quay.io/kubevirt/virtio-container-disk:v1.9.0", windows_secure_boot=False),
]


def objects(settings: ClusterSettings = SETTINGS[0], **windows: Any) -> dict[str, Any]:
    request = {**REQUEST, "windows": {**REQUEST["windows"], **windows}}
    step = read_step(BUNDLE, "install_windows")
    context = job_context(BUNDLE, step, request, settings)
    made = render_manifests(BUNDLE, step, Renderer(context))
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in made}


def answer_file(settings: ClusterSettings = SETTINGS[0], **windows: Any) -> ElementTree.Element:
    secret = objects(settings, **windows)["Secret/sample-00000-answer-file"]
    return ElementTree.fromstring(secret["stringData"]["autounattend.xml"])


def components(root: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    for settings in root:
        assert settings.tag == f"{NAMESPACE}settings"
        for component in settings:
            yield settings.attrib["pass"], component


def paths(element: ElementTree.Element, above: str = "") -> Iterator[str]:
    for child in element:
        path = f"{above}{child.tag.removeprefix(NAMESPACE)}"
        yield path
        yield from paths(child, f"{path}/")


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_one_that_windows_knows_in_a_pass_where_it_is_read(settings: ClusterSettings) -> None:
    for wanted, component in components(answer_file(settings)):
        name = component.attrib["name"]
        assert wanted in KNOWN[name]["passes"], name
        assert set(paths(component)) <= set(KNOWN[name]["settings"]), name
        assert component.attrib["processorArchitecture"] == "amd64"
        assert component.attrib["publicKeyToken"] == "31bf3856ad364e35"


def test_no_component_stands_twice_in_a_pass() -> None:
    found = [(wanted, component.attrib["name"]) for wanted, component in components(answer_file(SETTINGS[1]))]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("settings", SETTINGS)
def test_lists_are_added_to_and_counted_without_a_gap(settings: ClusterSettings) -> None:
    root = answer_file(settings)
    parents = ["RunSynchronous", "CreatePartitions", "ModifyPartitions", "FirstLogonCommands"]
    for parent in (found for name in parents for found in root.iter(f"{NAMESPACE}{name}")):
        assert all(child.attrib[ACTION] == "add" for child in parent)
        orders = [int(child.findtext(f"{NAMESPACE}Order") or 0) for child in parent]
        assert orders == list(range(1, len(orders) + 1))


def test_commands_are_no_longer_than_windows_reads() -> None:
    root = answer_file(SETTINGS[1])
    assert all(len(path.text or "") <= 259 for path in root.iter(f"{NAMESPACE}Path"))
    assert all(len(line.text or "") <= 1024 for line in root.iter(f"{NAMESPACE}CommandLine"))


def test_values_of_a_request_cannot_become_xml() -> None:
    root = answer_file(timezone="<evil attribute='1'>&\"")
    assert [zone.text for zone in root.iter(f"{NAMESPACE}TimeZone")] == ["<evil attribute='1'>&\""]


def test_a_product_key_is_in_the_secret_alone_and_only_if_it_was_given() -> None:
    key = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
    made = objects()
    assert [name for name, obj in made.items() if key in json.dumps(obj)] == ["Secret/sample-00000-answer-file"]
    assert key not in json.dumps(objects(product_key=None))


def test_the_drivers_are_looked_for_on_every_cd_and_for_this_windows_alone() -> None:
    wanted = {
        rf"{letter}:\{driver}\2k22\amd64"
        for letter in "DEFG"
        for driver in ("viostor", "vioscsi", "NetKVM", "vioserial", "Balloon")
    }
    root = answer_file(SETTINGS[1])
    [drivers] = root.iter(f"{NAMESPACE}DriverPaths")
    assert {path.text for path in drivers.iter(f"{NAMESPACE}Path")} == wanted
    assert not list(answer_file(SETTINGS[0]).iter(f"{NAMESPACE}DriverPaths"))


def test_only_a_machine_without_a_tpm_tells_setup_not_to_look_for_one() -> None:
    def bypassed(settings: ClusterSettings) -> bool:
        return any("BypassTPMCheck" in (path.text or "") for path in answer_file(settings).iter(f"{NAMESPACE}Path"))

    assert bypassed(SETTINGS[0])
    assert not bypassed(SETTINGS[1])


def test_the_license_is_accepted_by_the_callers_own_word() -> None:
    [accepted] = answer_file().iter(f"{NAMESPACE}AcceptEula")
    assert accepted.text == "true"
    annotations = objects()["DataVolume/sample"]["metadata"]["annotations"]
    assert annotations["goldenpipe.io/accept-eula"] == "true"


def test_the_empty_disk_boots_first_and_then_the_installer() -> None:
    for settings in SETTINGS:
        vm = objects(settings)["VirtualMachine/sample"]
        devices = vm["spec"]["template"]["spec"]["domain"]["devices"]
        assert {disk["name"]: disk.get("bootOrder") for disk in devices["disks"]} | {"drivers": None} == {
            "rootdisk": 1,
            "installer": 2,
            "drivers": None,
            "sysprep": None,
        }
        names = [volume["name"] for volume in vm["spec"]["template"]["spec"]["volumes"]]
        assert names == [disk["name"] for disk in devices["disks"]]


def test_a_machine_has_virtio_only_where_it_gets_the_drivers() -> None:
    for settings, bus, card in ((SETTINGS[0], "sata", "e1000e"), (SETTINGS[1], "virtio", "virtio")):
        devices = objects(settings)["VirtualMachine/sample"]["spec"]["template"]["spec"]["domain"]["devices"]
        assert devices["disks"][0]["disk"]["bus"] == bus
        assert devices["interfaces"][0]["model"] == card
    assert "DataVolume/sample-00000-drivers" in objects(SETTINGS[1])
    assert "DataVolume/sample-00000-drivers" not in objects(SETTINGS[2])


def test_secure_boot_and_tpm_are_as_the_settings_say() -> None:
    for settings in SETTINGS:
        domain = objects(settings)["VirtualMachine/sample"]["spec"]["template"]["spec"]["domain"]
        assert domain["firmware"]["bootloader"]["efi"]["secureBoot"] is settings.windows_secure_boot
        assert ("smm" in domain["features"]) is settings.windows_secure_boot  # KubeVirt refuses one without the other
        assert ("tpm" in domain["devices"]) is settings.windows_tpm
