"""EFI boot images of a medium that hold a menu of their own: small FAT file systems, changed with mtools."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso import menus
from goldenpipe_steps.kit.iso.reading import Tree

_IMAGES = ("boot/x86_64/efi", "boot/grub/efi.img", "EFI/BOOT/efiboot.img")
_MENUS = ("EFI/BOOT/grub.cfg", "boot/grub/grub.cfg")
_LARGEST = 64 << 20
PROGRAMS = ("mtype", "mcopy")


async def changed_images(tree: Tree, work: Path, words: str) -> dict[str, bytes]:
    """The images in which a menu had to change; most hold only a few lines that lead to the medium's own menu."""
    changes = {}
    for number, path in enumerate(_IMAGES):
        content = tree.read(path, _LARGEST)
        if content is None:
            continue
        image = work / f"efi-{number}.img"
        image.write_bytes(content)
        if await _change(image, words):
            changes[path] = image.read_bytes()
        image.unlink()
    return changes


async def _change(image: Path, words: str) -> bool:
    changed = False
    for menu in _MENUS:
        code, text = await _mtools("mtype", image, f"::/{menu}")
        if code or not menus.is_grub_menu(text):
            continue
        entry = menus.grub_entry(text)
        if entry is None:
            continue
        file = image.with_suffix(".cfg")
        file.write_text(menus.with_grub_default(text, entry, words), errors="surrogateescape")
        code, said = await _mtools("mcopy", image, "-o", str(file), f"::/{menu}")
        file.unlink()
        if code:
            message = f"the menu {menu} in an EFI boot image could not be changed: {said.strip() or 'mcopy failed'}"
            raise Permanent(message, hint="Is there room in the image? Report this with the name of the ISO.")
        changed = True
    return changed


async def _mtools(program: str, image: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(program, "-i", str(image), *arguments),
        env={**os.environ, "MTOOLS_SKIP_CHECK": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode(errors="surrogateescape")
