"""The disk's layout, told by sfdisk and by GRUB's own images."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from goldenpipe_local.base_image import grub
from goldenpipe_local.base_image.layout import MIB, SECTOR, plan_layout
from goldenpipe_local.base_image.recipe import overlay, recipe_for
from goldenpipe_local.base_image.tools import SEARCH_PATH

SFDISK = shutil.which("sfdisk", path=SEARCH_PATH)
LAYOUT = plan_layout("debian-12", 2048 * MIB)


@pytest.mark.skipif(SFDISK is None, reason="sfdisk is not installed")
def test_sfdisk_writes_the_partitions_that_were_planned(tmp_path: Path) -> None:
    assert SFDISK is not None
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as raw:
        raw.truncate(LAYOUT.size)
    subprocess.run([SFDISK, "--quiet", disk], input=LAYOUT.script(), text=True, check=True)
    table = json.loads(subprocess.run([SFDISK, "--json", disk], capture_output=True, check=True).stdout)
    written = {part["name"]: (part["start"], part["size"]) for part in table["partitiontable"]["partitions"]}
    planned = {
        part.name: (part.start // SECTOR, part.size // SECTOR) for part in (LAYOUT.bios, LAYOUT.efi, LAYOUT.root)
    }
    assert written == planned


def test_the_root_partition_can_grow_since_nothing_is_behind_it() -> None:
    ends = [part.start + part.size for part in (LAYOUT.bios, LAYOUT.efi)]
    assert max(ends) <= LAYOUT.root.start
    assert LAYOUT.size - MIB == LAYOUT.root.start + LAYOUT.root.size


def test_the_same_disk_has_the_same_ids_when_made_again() -> None:
    assert plan_layout("debian-12", 2048 * MIB) == LAYOUT
    assert plan_layout("debian-13", 2048 * MIB).root_filesystem != LAYOUT.root_filesystem


def test_the_boot_sector_points_at_the_core_image_and_leaves_the_partition_table_alone() -> None:
    code = grub.boot_code(bytes(SECTOR), LAYOUT)
    assert len(code) == 440
    assert struct.unpack_from("<Q", code, 0x5C) == (LAYOUT.bios.start // SECTOR,)


def test_the_core_image_knows_where_the_rest_of_it_lies() -> None:
    core = grub.core_image(bytes(10 * SECTOR + 1), LAYOUT)
    assert struct.unpack_from("<QH", core, SECTOR - 12) == (LAYOUT.bios.start // SECTOR + 1, 10)


def test_a_core_image_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than its partition"):
        grub.core_image(bytes(LAYOUT.bios.size + 1), LAYOUT)


def test_the_disk_is_mounted_by_the_ids_it_is_made_with() -> None:
    with tarfile.open(fileobj=io.BytesIO(overlay(LAYOUT))) as archive:
        members = {member.name: member for member in archive}
        fstab = archive.extractfile("etc/fstab")
        assert fstab is not None
        assert f"UUID={LAYOUT.root_filesystem} / ext4" in fstab.read().decode()
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert members["etc/fstab"].mode == 0o644
    assert members["etc/initramfs-tools/hooks/base_image"].mode == 0o755


def test_a_cached_disk_is_not_used_for_another_recipe() -> None:
    assert recipe_for("debian-12").fingerprint != recipe_for("debian-13").fingerprint
