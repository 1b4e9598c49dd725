"""The programs of a control plane: where they are, and one of them as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_STOP_SECONDS = 20
_ASSETS = "KUBEBUILDER_ASSETS"
_NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of the programs."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    kubectl: Path

    @classmethod
    def find(cls) -> Self:
        found = {name: _find(name) for name in _NAMES}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            message = f"{', '.join(missing)} not found in ${_ASSETS} or on the PATH: run make test-cluster"
            raise FileNotFoundError(message)
        etcd, apiserver, controller_manager, kubectl = [path for path in found.values() if path]
        return cls(etcd=etcd, apiserver=apiserver, controller_manager=controller_manager, kubectl=kubectl)


def missing_programs() -> str:
    """Why no control plane can be started here; empty if one can."""
    try:
        Programs.find()
    except FileNotFoundError as error:
        return str(error)
    return ""


def _find(name: str) -> Path | None:
    folder = os.environ.get(_ASSETS, "")
    found = (shutil.which(name, path=folder) if folder else None) or shutil.which(name)
    return Path(found) if found else None


class Program:
    """One program that can be stopped, killed and started again; its output goes to a file."""

    def __init__(self, argv: list[str], log: Path, is_ready: Callable[[], bool]) -> None:
        self.log = log
        self.is_ready = is_ready
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def check(self) -> None:
        """Raise with the program's last words if it has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            words = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            message = f"{Path(self._argv[0]).name} ended with {code}:\n{words}"
            raise RuntimeError(message)

    def stop(self) -> None:
        """End it as one ends a program of a cluster, by force if that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
