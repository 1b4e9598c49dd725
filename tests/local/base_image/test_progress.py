"""The progress lines of a base disk: always forward, and the names of what is being installed."""

from __future__ import annotations

import re

from goldenpipe_local.base_image.progress import Progress

OUTPUT = """\
I: running apt-get update...
Get:1 http://mirror.example/debian bookworm InRelease [151 kB]
I: downloading packages with apt...
I: extracting archives...
I: installing essential packages...
Setting up base-files (12.4+deb12u11) ...
I: installing remaining packages inside the chroot...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Unpacking tree (2.1.0-1) ...
Unpacking less (590-2.1) ...
Setting up tree (2.1.0-1) ...
Setting up less (590-2.1) ...
update-initramfs: Generating /boot/initrd.img-6.1.0-37-cloud-amd64
"""


def test_progress_never_goes_back_and_names_packages() -> None:
    said: list[str] = []
    progress = Progress(said.append)
    for line in OUTPUT.splitlines():
        progress.read(line)
    matches = [re.fullmatch(r"\[\s*(\d{1,3})%\] (.+)", line) for line in said]
    assert all(matches)
    percents = [int(match[1]) for match in matches if match]
    assert percents == sorted(percents)
    assert said[-2].endswith("Setting up less (590-2.1)")
    assert said[-1].endswith("Making the initramfs")
