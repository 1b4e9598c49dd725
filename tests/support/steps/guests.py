"""A guest for the tests: a real Debian with its own OpenSSH server, in namespaces of its own, on a loopback port.

The root file system is made once by mmdebstrap and kept in the cache folder; each guest writes to an overlay of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

PACKAGES = ["openssh-server", "sudo", "e2fsprogs", "procps", "ca-certificates"]
USER = "goldenpipe"
_SETUP = f"""
set -e
useradd -m -s /bin/bash {USER}
usermod -p '*' {USER}
mkdir -p /run/sshd
rm -f /etc/ssh/ssh_host_*
printf '#!/bin/sh\\nkill 1\\n' >/usr/sbin/poweroff
chmod 0755 /usr/sbin/poweroff
{{ echo '# User rules for {USER}'; echo '{USER} ALL=(ALL) NOPASSWD:ALL'; }} >/etc/sudoers.d/90-cloud-init-users
chmod 0440 /etc/sudoers.d/90-cloud-init-users
"""
_START = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$HERE/upper,workdir=$HERE/work" "$HERE/root"
mount -t proc proc "$HERE/root/proc"
mount --bind "$HERE/boot_id" "$HERE/root/proc/sys/kernel/random/boot_id"
mount -t tmpfs tmpfs "$HERE/root/run"
mkdir -p "$HERE/root/run/sshd"
if [ -d "$HERE/share" ]; then mkdir "$HERE/root/run/share"; mount --bind "$HERE/share" "$HERE/root/run/share"; fi
hostname guest
if [ -z "$SSHD" ]; then exec chroot "$HERE/root" sh -c 'echo Server listening to nobody >&2; exec sleep infinity'; fi
exec chroot "$HERE/root" /usr/sbin/sshd -D -e -p "$PORT" -o ListenAddress=127.0.0.1 -o UsePAM=no -o MaxStartups=50
"""


def missing_tools() -> str:
    """Why there can be no guest on this machine; empty if there can."""
    if os.geteuid() != 0:
        return "needs root (namespaces, chroot)"
    for tool in ("mmdebstrap", "unshare", "nsenter"):
        if not shutil.which(tool):
            return f"needs {tool}"
    return ""


def base_folder() -> Path:
    """The cached root file system, made if it is not there."""
    suite, mirror = _host_debian()
    recipe = hashlib.sha256(repr((PACKAGES, _SETUP, suite, mirror)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goldenpipe-tests"
    cache.mkdir(parents=True, exist_ok=True)
    base = cache / f"{suite}-{recipe}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "etc/os-release").exists():
            new = cache / f"new-{uuid.uuid4().hex[:8]}"
            _make_base(new, suite, mirror)
            new.rename(base)
    return base


def _make_base(folder: Path, suite: str, mirror: str) -> None:
    options = ["--variant=minbase", "--mode=root", "--quiet", f"--include={','.join(PACKAGES)}"]
    options += ["--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"']
    try:
        subprocess.run(["mmdebstrap", *options, suite, str(folder), mirror], check=True)
        subprocess.run(["chroot", str(folder), "sh", "-c", _SETUP], check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")


def _host_debian() -> tuple[str, str]:
    """The suite and mirror that the host's own apt uses."""
    release = Path("/etc/os-release").read_text()
    suite = next(line.partition("=")[2] for line in release.splitlines() if line.startswith("VERSION_CODENAME="))
    policy = subprocess.run(["apt-cache", "policy"], capture_output=True, text=True, check=True).stdout
    for line in policy.splitlines():
        parts = line.split()
        if len(parts) > 3 and parts[2] == f"{suite}/main" and "security" not in parts[1]:
            return suite, parts[1]
    message = f"apt on this machine knows no mirror of {suite}: run apt-get update"
    raise RuntimeError(message)


@dataclass
class Guest:
    """One running guest."""

    base: Path
    here: Path
    port: int = field(default_factory=lambda: _free_port())
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    process: asyncio.subprocess.Process | None = None
    _draining: asyncio.Task[bytes] | None = None

    @property
    def root(self) -> Path:
        """What the guest wrote; its unchanged files are in `base`."""
        return self.here / "upper"

    @property
    def ssh_folder(self) -> Path:
        return self.here / "ssh"

    async def start(self, *, sshd: bool = True) -> None:
        """Boot: a new boot id, a new set of namespaces, the same disk."""
        if not self.root.exists():
            self._prepare()
        (self.here / "boot_id").write_text(f"{uuid.uuid4()}\n")
        environ = {**os.environ, "BASE": str(self.base), "HERE": str(self.here), "PORT": str(self.port)}
        environ["SSHD"] = "yes" if sshd else ""
        self.process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-c", _START),
            env=environ,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while b"Server listening" not in (line := await self.process.stderr.readline()):
                assert line, "the guest's SSH server ended"
        self._draining = asyncio.create_task(self.process.stderr.read())

    async def stop(self) -> None:
        """Pull the plug: everything in the guest is killed at once."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
            assert self._draining is not None
            await self._draining
        self.process = None

    async def powered_off(self) -> None:
        """Wait until the guest ends by itself."""
        assert self.process is not None
        async with asyncio.timeout(60):
            await self.process.wait()

    async def reboot(self) -> None:
        await self.stop()
        await self.start()

    async def run(self, command: str) -> str:
        """Run a command as root inside, not by SSH; its output."""
        done = await asyncio.create_subprocess_exec(
            *(
                "nsenter",
                "-a",
                "-t",
                str(await self._pid_one()),
                "chroot",
                str(self.here / "root"),
                "sh",
                "-c",
                command,
            ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await done.communicate()
        assert done.returncode == 0, out.decode()
        return out.decode()

    async def cut_connections(self) -> None:
        """Kill the guest's SSH sessions, but neither its server nor what they started."""
        await self.run("pkill -KILL -f '^sshd: ' || true")

    def read(self, path: str) -> str:
        for root in (self.root, self.base):
            if os.path.lexists(found := root / path.lstrip("/")):
                return found.read_text()
        raise FileNotFoundError(path)

    def _prepare(self) -> None:
        for name in ("upper", "work", "root", "ssh"):
            (self.here / name).mkdir(parents=True)
        (self.ssh_folder / "ssh-privatekey").write_bytes(self.key.export_private_key())
        (self.ssh_folder / "host-public-key").write_bytes(self.host_key.export_public_key())
        etc = self.root / "etc/ssh"
        etc.mkdir(parents=True)
        (self.root / "etc").chmod(0o755)
        (etc / "ssh_host_ed25519_key").write_bytes(self.host_key.export_private_key())
        (etc / "ssh_host_ed25519_key").chmod(0o600)
        keys = self.root / "home" / USER / ".ssh"
        keys.mkdir(parents=True)
        (keys / "authorized_keys").write_bytes(self.key.export_public_key())
        for path in (keys.parent, keys, keys / "authorized_keys"):
            os.chown(path, 1000, 1000)
            path.chmod(0o700)

    async def _pid_one(self) -> int:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
