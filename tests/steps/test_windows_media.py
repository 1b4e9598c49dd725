"""Windows media: which Windows is on them, and that they boot without a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso.looking import look_at_file
from goldenpipe_steps.kit.iso.reading import open_local, open_tree
from goldenpipe_steps.kit.iso.windows import boot_without_key, images_of, look
from support.steps.running import Run, Runner
from support.windows_medium import (
    STARTS,
    WAITS,
    Edition,
    WindowsMedium,
    booted,
    make_medium,
    missing,
    missing_to_boot,
    talking_loaders,
)

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}")
PRO = Edition(name="Windows 11 Pro", edition="Professional", kind="Client", build="26100")


def make(tmp_path: Path, medium: WindowsMedium) -> Path:
    (tmp_path / "tree").mkdir()
    return make_medium(tmp_path / "disk.img", medium, tmp_path / "tree")


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return make(tmp_path, WindowsMedium())


def test_a_medium_of_windows_is_recognized_by_its_own_files(iso: Path) -> None:
    medium = look_at_file(iso, "the ISO").medium
    assert (medium.distribution, medium.installer, medium.arch) == ("windows", "windows-setup", "amd64")
    assert medium.firmware == ("bios", "uefi")
    assert not medium.refusal


def test_every_edition_is_read_from_the_catalogue(iso: Path) -> None:
    with open_local(iso) as media:
        _, tree = open_tree(media)
        images = images_of(media, tree)
    assert [(image.index, image.edition, image.kind, image.build) for image in images] == [
        (1, "ServerStandard", "Server Core", 20348),
        (2, "ServerStandard", "Server", 20348),
        (3, "ServerDatacenter", "Server", 20348),
    ]
    assert images[0].languages == ("en-US",)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("", 2), ("serverstandard", 2), ("ServerDatacenter", 3), ("Windows Server 2022 SERVERSTANDARDCORE", 1), ("1", 1)],
)
def test_an_edition_is_chosen_by_name_id_or_number(iso: Path, wanted: str, index: int) -> None:
    assert look(iso, wanted, "en-US")["iso_image_index"] == index


def test_an_edition_that_is_not_there_is_refused_with_those_that_are(iso: Path) -> None:
    with pytest.raises(Permanent, match="holds no edition 'Professional'") as caught:
        look(iso, "Professional", "en-US")
    assert "Windows Server 2022 SERVERDATACENTER" in caught.value.hint


def test_a_language_that_is_not_there_is_refused_before_setup_asks_for_one(iso: Path) -> None:
    with pytest.raises(Permanent, match="has the language en-US, not de-DE"):
        look(iso, "", "de-DE")


@pytest.mark.parametrize(
    ("edition", "release", "drivers"),
    [
        (PRO, "Windows 11", "w11"),
        (Edition(name="a", edition="a", build="26100"), "Windows Server 2025", "2k25"),
        (Edition(name="a", edition="a", build="17763"), "Windows Server 2019", "2k19"),
        (Edition(name="a", edition="a", kind="Client", build="19045"), "Windows 10", "w10"),
    ],
)
def test_each_release_has_its_own_drivers(tmp_path: Path, edition: Edition, release: str, drivers: str) -> None:
    facts = look(make(tmp_path, WindowsMedium(editions=(edition,))), "", "en-US")
    assert (facts["iso_version"], facts["iso_drivers"]) == (release, drivers)


def test_only_four_bytes_of_the_medium_change(iso: Path) -> None:
    before = iso.read_bytes()
    assert boot_without_key(iso)
    after = iso.read_bytes()
    changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed
    assert changed[-1] - changed[0] < 4
    assert not boot_without_key(iso)
    assert iso.read_bytes() == after


@pytest.mark.parametrize(
    ("medium", "words"),
    [
        (WindowsMedium(without=("efisys_noprompt.bin",)), "waits for a key"),
        (WindowsMedium(loaders={"efisys_noprompt.bin": b"\0" * 4096}), "is no boot image"),
    ],
)
def test_a_medium_that_cannot_boot_without_a_key_says_so(tmp_path: Path, medium: WindowsMedium, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        boot_without_key(make(tmp_path, medium))


def test_a_catalogue_that_is_no_catalogue_is_refused(iso: Path) -> None:
    data = iso.read_bytes()
    iso.write_bytes(data.replace(b"MSWIM\0\0\0\xd0", b"NOWIM\0\0\0\xd0"))
    with pytest.raises(Permanent, match="does not begin with MSWIM"):
        look(iso, "", "en-US")
    iso.write_bytes(data.replace("<IMAGE".encode("utf-16-le"), "<<MAGE".encode("utf-16-le")))
    with pytest.raises(Permanent, match=r"catalogue of sources/install\.wim cannot be read"):
        look(iso, "", "en-US")


async def _step(steps: Runner, name: str, folder: Path, **params: Any) -> Run:
    document = {"os_type": "windows", "timeout_seconds": 120, "params": params}
    return await steps.run(name, document, GOLDENPIPE_ISO=str(folder))


async def test_the_steps_look_inside_and_prepare_the_volume_in_its_place(
    iso: Path, tmp_path: Path, steps: Runner
) -> None:
    looked = await _step(steps, "inspect_iso", tmp_path, os_type="windows", locale="en-US")
    assert looked.message.startswith("The ISO is Windows Server 2022 SERVERSTANDARD, build 20348"), looked.log
    assert looked.facts["iso_image_index"] == 2
    assert looked.facts["iso_recipe"] == ""
    prepared = await _step(steps, "prepare_iso", tmp_path, iso="web-iso")
    assert prepared.message == "The ISO boots without a key being pressed"
    assert prepared.facts["boot_iso"] == "web-iso"
    again = await _step(steps, "prepare_iso", tmp_path, iso="web-iso")
    assert again.message == "The ISO boots without a key already"
    assert iso.is_file()


@pytest.mark.iso
@pytest.mark.skipif(bool(missing_to_boot()), reason=f"needs {', '.join(missing_to_boot())}")
async def test_uefi_starts_the_loader_that_waits_for_nobody_once_the_medium_is_prepared(tmp_path: Path) -> None:
    iso = make(tmp_path, WindowsMedium(loaders=talking_loaders(tmp_path)))
    before = await booted(iso)
    assert WAITS in before
    assert boot_without_key(iso)
    after = await booted(iso)
    assert STARTS in after
    assert WAITS not in after
