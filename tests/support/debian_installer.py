"""A bootable ISO of Debian's own installer, put together from Debian's packages.

Debian packages the installer for network boot: a kernel, and an initrd that fetches the installer's other components
(udebs) from a mirror. Not every mirror has them all, so here they are put into the initrd, as in Debian's "monolithic"
builds. Two things come from ordinary packages instead: the kernel's modules, which must fit the kernel exactly, and
the programs of e2fsprogs.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from goldenpipe_local.base_image import mirror

CODENAME, RELEASE = "trixie", "13"
TOOLS = ("apt-get", "cpio", "depmod", "dpkg-deb", "modprobe", "xorriso", "xz")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
_LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
_COMPONENTS = (
    *("base-installer", "bootstrap-base", "debootstrap-udeb", "apt-setup-udeb", "apt-mirror-setup", "pkgsel"),
    *("user-setup-udeb", "tzsetup-udeb", "clock-setup", "disk-detect", "finish-install", "grub-installer"),
    *("partman-base", "partman-auto", "partman-target", "partman-partitioning", "partman-basicfilesystems"),
    *("partman-basicmethods", "partman-ext3", "partman-efi", "partman-utils"),
)
_ABSENT = ("e2fsprogs-udeb", "ntfs-3g-udeb")
"""Put in from the package e2fsprogs, and not wanted."""
_NOT_WANTED = ("anna", "download-installer", "net-retriever")
"""What would fetch components; here they are all there."""
_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng", "ahci", "ata_piix", "sd_mod", "sr_mod"),
    *("isofs", "ext4", "vfat", "nls_ascii", "nls_cp437", "nls_utf8", "efivarfs", "loop"),
)
_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_LIBRARIES = ("libext2fs2t64", "libcom-err2", "libss2", "libuuid1")

Paragraph = Mapping[str, str]


async def make_iso(folder: Path) -> Path:
    """The ISO, in a folder that is empty or not there; it downloads about 270 MB of packages."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = await mirror.find_sources(CODENAME)
    apt = _Apt(folder / "apt", mirror.deb822(sources), await mirror.find_options())
    netboot = apt.unpacked(f"debian-installer-{RELEASE}-netboot-amd64")
    images = next(netboot.glob("usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64"))
    initrd = folder / "initrd"
    _unpack_initrd(images / "initrd.gz", initrd)
    uri = next(source.uri for source in sources if source.suite == CODENAME)
    _add_components(initrd, _index(uri), uri)
    _drop_translations(initrd)
    _add_modules(initrd, apt)
    _add_filesystem_tools(initrd, apt)
    return _write_iso(folder, initrd, images / "linux")


class _Apt:
    """apt with a state of its own, for a release that this machine is not."""

    def __init__(self, folder: Path, sources: str, options: Iterable[str]) -> None:
        self._folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "sources", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "sources" / "debian.sources").write_text(sources)
        (folder / "status").touch()
        own = {
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": folder / "sources",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "APT::Sandbox::User": "root",
        }
        (folder / "apt.conf").write_text("\n".join([*(f'{key} "{value}";' for key, value in own.items()), *options]))
        self._get("update")

    def unpacked(self, package: str) -> Path:
        """The package's files."""
        self._get("download", package)
        found = max((self._folder / "debs").glob(f"{package}_*.deb"))
        target = self._folder / "unpacked" / package
        target.mkdir(parents=True)
        _run("dpkg-deb", "-x", found, target)
        found.unlink()
        return target

    def _get(self, *words: str) -> None:
        environment = {"APT_CONFIG": str(self._folder / "apt.conf"), **_PATH}
        subprocess.run(["apt-get", "-qq", *words], cwd=self._folder / "debs", env=environment, check=True)


def _unpack_initrd(image: Path, folder: Path) -> None:
    folder.mkdir()
    with gzip.open(image) as archive:
        subprocess.run(["cpio", "-idm", "--quiet"], cwd=folder, input=archive.read(), check=True)


def _index(uri: str) -> dict[str, Paragraph]:
    with urllib.request.urlopen(f"{uri}/dists/{CODENAME}/main/debian-installer/binary-amd64/Packages.xz") as answer:
        text = lzma.decompress(answer.read()).decode()
    return {found["Package"]: found for found in _paragraphs(text)}


def _paragraphs(text: str) -> Iterator[Paragraph]:
    for paragraph in text.strip().split("\n\n"):
        lines = (line for line in paragraph.splitlines() if not line.startswith((" ", "\t")))
        yield {name: value for name, _, value in (line.partition(": ") for line in lines)}


def _add_components(initrd: Path, index: Mapping[str, Paragraph], uri: str) -> None:
    """As Debian's own build does it: unpacked, their control files beside them, and noted as unpacked."""
    status = initrd / "var/lib/dpkg/status"
    there = [found for found in _paragraphs(status.read_text()) if found["Package"] not in _NOT_WANTED]
    downloads = initrd.parent / "udebs"
    downloads.mkdir()
    for name in _needed(index, {found["Package"] for found in there}):
        udeb = _download(index[name], uri, downloads)
        control = downloads / name
        _unpack_over(udeb, initrd)
        _run("dpkg-deb", "-e", udeb, control)
        for file in control.iterdir():
            if file.name != "control":
                shutil.copy(file, initrd / f"var/lib/dpkg/info/{name}.{file.name}")
        there.append({**next(_paragraphs((control / "control").read_text())), "Status": "install ok unpacked"})
    for name in _ABSENT:
        there.append({"Package": name, "Status": "install ok installed", "Version": "0", "Architecture": "amd64"})
    provided = ", ".join(f"{kind}-modules" for kind in ("ext2", "ext3", "ext4", "efi", "scsi", "md"))
    modules = {"Package": "kernel-modules", "Status": "install ok installed", "Version": "0", "Provides": provided}
    text = "\n".join("".join(f"{key}: {value}\n" for key, value in found.items()) for found in [*there, modules])
    status.write_text(text)


def _unpack_over(udeb: Path, folder: Path) -> None:
    """Where the folder has a link to another (lib to usr/lib), files go there; dpkg-deb -x would replace the link."""
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", udeb], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", folder], input=archive, check=True)


def _drop_translations(initrd: Path) -> None:
    """Nine tenths of a text that is read before the installer starts; low memory mode drops them, too."""
    for file in initrd.glob("var/lib/dpkg/info/*.templates"):
        kept, keep = [], True
        for line in file.read_text().splitlines(keepends=True):
            if not line.startswith((" ", "\t")):
                keep = not re.match(r"[A-Za-z]+-[A-Za-z_@]+\.UTF-8:", line)
            if keep:
                kept.append(line)
        file.write_text("".join(kept))


def _needed(index: Mapping[str, Paragraph], there: set[str]) -> list[str]:
    found: list[str] = []
    todo = list(_COMPONENTS)
    while todo:
        name = todo.pop(0)
        if name in found or name in there or name in _ABSENT or name not in index:
            continue  # what the index does not have is a virtual package, or the kernel's modules
        found.append(name)
        todo += re.findall(r"(?:^|, )([a-z0-9.+-]+)", index[name].get("Depends", ""))
    return found


def _download(udeb: Paragraph, uri: str, folder: Path) -> Path:
    path = folder / Path(udeb["Filename"]).name
    with urllib.request.urlopen(f"{uri}/{udeb['Filename']}") as answer:
        data = answer.read()
    assert hashlib.sha256(data).hexdigest() == udeb["SHA256"], f"{udeb['Filename']} is not what the index says"
    path.write_bytes(data)
    return path


def _add_modules(initrd: Path, apt: _Apt) -> None:
    """Those of the package of the very kernel, with all that they need."""
    release = next((initrd / "usr/lib/modules").iterdir()).name
    package = apt.unpacked(f"linux-image-{release}")
    whole = package / "modules"
    (whole / "lib").mkdir(parents=True)
    (whole / "lib/modules").symlink_to(package / "usr/lib/modules")
    _run("depmod", "-b", whole, release)
    source, target = package / "usr/lib/modules" / release, initrd / "usr/lib/modules" / release
    for name in _MODULES:
        asked = ["modprobe", "-d", str(whole), "-S", release, "-D", name]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        for path in re.findall(rf"^insmod \S*/{re.escape(release)}/(\S+)", answer, re.MULTILINE):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, target / path)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, target / name)
    _run("depmod", "-b", initrd, release)


def _add_filesystem_tools(initrd: Path, apt: _Apt) -> None:
    tools = apt.unpacked("e2fsprogs")
    for name in ("mke2fs", "e2fsck", "tune2fs", "resize2fs"):
        shutil.copy(next(tools.glob(f"**/{name}")), initrd / "usr/sbin" / name)
    for kind in ("ext2", "ext3", "ext4"):
        (initrd / f"usr/sbin/mkfs.{kind}").symlink_to("mke2fs")
        (initrd / f"usr/sbin/fsck.{kind}").symlink_to("e2fsck")
    shutil.copy(tools / "etc/mke2fs.conf", initrd / "etc/mke2fs.conf")
    for package in _LIBRARIES:
        for file in apt.unpacked(package).glob("usr/lib/x86_64-linux-gnu/*.so.*"):
            shutil.copy(file, initrd / "usr/lib/x86_64-linux-gnu" / file.name, follow_symlinks=True)


def _write_iso(folder: Path, initrd: Path, kernel: Path) -> Path:
    """The layout of Debian's mini.iso: kernel and initrd in the top folder, isolinux to boot them."""
    tree = folder / "iso"
    (tree / ".disk").mkdir(parents=True)
    (tree / ".disk/mini-info").write_text(f'Debian GNU/Linux {RELEASE} "{CODENAME}" mini.iso amd64\n')
    shutil.copy(kernel, tree / "linux")
    with (tree / "initrd.gz").open("wb") as file:
        listing = subprocess.Popen(["find", "."], cwd=initrd, stdout=subprocess.PIPE)
        words = ["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"]
        archive = subprocess.Popen(words, cwd=initrd, stdin=listing.stdout, stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-n", "-5"], stdin=archive.stdout, stdout=file, check=True)
        assert (listing.wait(), archive.wait()) == (0, 0)
    for file_ in (ISOLINUX, _LDLINUX):
        shutil.copy(file_, tree / file_.name)
    (tree / "isolinux.cfg").write_text("prompt 0\ntimeout 0\ndefault install\ninclude txt.cfg\n")
    (tree / "txt.cfg").write_text(
        "label install\n\tmenu label ^Install\n\tkernel linux\n\tappend vga=788 initrd=initrd.gz --- quiet\n"
    )
    image = folder / "debian-installer.iso"
    boot = ("-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    _run("xorriso", "-as", "mkisofs", "-quiet", "-o", image, "-r", "-J", "-V", f"Debian {RELEASE} n", *boot, tree)
    return image


def _run(*words: str | Path) -> None:
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_PATH)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}: {done.stderr[-2000:]}"
