"""Templates for tests: pipelines whose steps are shell commands, run as real containers by the real node agent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml

_START = """
import asyncio, sys
from goldenpipe_kube import Kube, Event
async def main(vm):
    async with await Kube.connect() as kube:
        await kube.act("VirtualMachine", vm, "start")
        async for event in kube.watch("VirtualMachineInstance"):
            if isinstance(event, Event) and event.object.get("status", {}).get("phase") == "Running":
                return
asyncio.run(main(sys.argv[1]))
"""


class Overlay:
    """A folder to lay over the built-in templates, with the steps of a test in the place of the real ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self._steps: list[str] = []
        (folder / "templates" / "steps").mkdir(parents=True)
        (folder / "templates" / "pipelines").mkdir()

    @property
    def templates(self) -> Path:
        return self.folder / "templates"

    def step(self, name: str, script: str = "true", **head: Any) -> Overlay:
        """A step that notes that it ran, then runs this shell script."""
        document = {
            "name": name,
            "summary": f"Run {name}",
            "retries": 0,
            "command": ["sh", "-c", f"echo {name} >> {self.runs}\n{script}"],
            **head,
        }
        self.write(f"steps/{name}.yaml", document)
        if name not in self._steps:
            self._steps.append(name)
        self._write_pipeline()
        return self

    def boot(self) -> Overlay:
        """The steps up to a running VM that nobody logs in to."""
        self.use("download_iso")
        manifests = ["ssh-keys.yaml", "cloud-init.yaml", "build-vm.yaml"]
        command = [sys.executable, "-c", _START, "{{ build.vm }}"]
        account = "goldenpipe-step-create-vm"
        return self.step("boot", needs_vm=True, api=True, service_account=account, manifests=manifests, command=command)

    def clear(self) -> Overlay:
        """The next build has none of the steps so far."""
        self._steps.clear()
        return self

    def use(self, *names: str) -> Overlay:
        """Built-in steps, as they are."""
        self._steps += names
        self._write_pipeline()
        return self

    def _write_pipeline(self) -> None:
        pipeline = {"name": "linux-disk", "summary": "Of a test", "when": "true", "steps": self._steps}
        self.write("pipelines/linux-disk.yaml", pipeline)

    def write(self, path: str, document: dict[str, Any]) -> None:
        (self.templates / path).write_text(yaml.safe_dump(document, sort_keys=False))

    def gate(self, name: str) -> Gate:
        """Something a step can wait for: `read _ < {gate}` in its script."""
        path = self.folder / name
        os.mkfifo(path)
        return Gate(path)

    def ran(self) -> list[str]:
        """Names of the steps that have started, in order; twice if twice."""
        return self.runs.read_text().split() if self.runs.exists() else []


class Gate:
    """A named pipe: the step blocks until the test opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def open(self) -> None:
        """Let one waiting step go on; blocks until there is one."""
        self._path.write_text("\n")
