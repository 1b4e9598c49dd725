"""One machine from its start to its end: started, adopted, watched, started again where that helps, and ended.

Its folder holds all there is to know, so that an agent that was killed can go on where it was:
`plan.json` how to run it, `process` which QEMU it is, `result.json` how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from goldenpipe_local.node.files import private_folder, read_json, sync_file, write_json
from goldenpipe_local.node.inotify import FolderWatch
from goldenpipe_local.node.processes import ProcessId
from goldenpipe_local.node.vms import monitor, process
from goldenpipe_local.node.vms.accelerator import AcceleratorChoice, kvm_fault
from goldenpipe_local.node.vms.hardware import Hardware
from goldenpipe_local.node.vms.qemu import EFI_VARIABLES, SERIAL_LOG, Launch, command_line, efi_files
from goldenpipe_local.node.vms.serial import SerialWatch

log = logging.getLogger(__name__)

KVM_TRIAL_SECONDS = 60.0
"""How long after its start a machine's fault is KVM's: a host whose KVM is broken shows it while the guest boots."""
QUIT_SECONDS = 30.0
BUTTON_SECONDS = 5.0
"""Seconds between two presses of the power button: a guest that still boots does not hear the first."""
SCREENSHOT = "screen.png"
_RECORD_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the machine is run; written down before it is."""

    accelerator: str
    emulation_reason: str | None = None
    panic: str | None = None
    """The kernel panic after which the machine was given a single vCPU."""
    ssh_port: int = 0
    serial_offset: int = 0
    started: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """How the machine ended."""

    clean: bool
    message: str


@dataclass(frozen=True, kw_only=True)
class View:
    """What can be told of the machine."""

    plan: Plan | None = None
    running: bool = False
    result: Result | None = None


class _KvmBroken(Exception):
    """The guest cannot run on this host's KVM."""


class _Panicked(Exception):
    """The guest's kernel panicked."""


class Machine:
    """One run of a virtual machine, from start to end."""

    def __init__(
        self,
        folder: Path,
        hardware: Hardware,
        choice: AcceleratorChoice,
        on_change: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._hardware = hardware
        self._choice = choice
        self._on_change = on_change
        self._deadline: float | None = None
        self._stop_asked = asyncio.Event()
        self._qmp: monitor.Monitor | None = None
        self._connected = asyncio.Event()
        self._drawing = asyncio.Lock()
        self.view = View()

    @property
    def folder(self) -> Path:
        return self._folder

    @staticmethod
    def kill_leftover(folder: Path) -> None:
        """Kill the QEMU of a folder that is to be removed."""
        leftover = process.recorded(folder)
        if leftover:
            leftover.send_signal(signal.SIGKILL)

    def stop(self, seconds: float) -> None:
        """Press the power button; what still runs after so many seconds is ended."""
        self._deadline = time.monotonic() + max(seconds, 0.0)
        self._stop_asked.set()

    async def screenshot(self) -> bytes | None:
        """PNG of what the machine shows; None while it does not run, or where it has no display."""
        path = self._folder / SCREENSHOT
        async with self._drawing:
            if self._qmp is None:
                return None
            try:
                await self._qmp.screenshot(SCREENSHOT)
                return path.read_bytes()
            except (monitor.QMPError, OSError) as error:
                log.info("no screenshot of %s: %s", self._hardware.name, error)
                return None
            finally:
                path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Run until the machine has ended; may be called again for the same folder after a restart of the agent."""
        private_folder(self._folder)
        plan = self._recorded_plan()
        result = self._recorded_result()
        if result is None:
            result = await self._run(plan)
        else:
            await self._let_go(result)
        self._set(result=result, running=False)

    async def _run(self, plan: Plan | None) -> Result:
        adopted = process.recorded(self._folder) if plan else None
        plan = plan or self._first_plan()
        while True:
            try:
                if adopted is None:
                    plan = self._start(plan)
                running = adopted or await self._find_process()
                return await self._finish(await self._watch(running, plan))
            except _KvmBroken as fault:
                plan = self._without_kvm(self.view.plan or plan, str(fault))
            except _Panicked as panic:
                retry = self._with_one_vcpu(self.view.plan or plan, str(panic))
                if retry is None:
                    return await self._finish(Result(clean=False, message=f"the guest's kernel panicked: {panic}"))
                plan = retry
            except process.QemuMissing as missing:
                return await self._finish(Result(clean=False, message=str(missing)))
            await self._kill()
            write_json(self._folder / "plan.json", asdict(plan))
            adopted = None

    def _first_plan(self) -> Plan:
        accelerator = self._choice.choose()
        return Plan(accelerator=accelerator.name, emulation_reason=accelerator.reason)

    def _without_kvm(self, plan: Plan, fault: str) -> Plan:
        reason = f"guests do not survive on this host's KVM: {fault}"
        log.warning("%s; machines run under software emulation until the host boots again", reason)
        self._choice.remember_broken(reason)
        return replace(plan, accelerator="tcg", emulation_reason=reason)

    def _with_one_vcpu(self, plan: Plan, panic: str) -> Plan | None:
        """Some kernels panic under emulation with several vCPUs and boot with one."""
        if plan.accelerator != "tcg" or plan.panic or self._hardware.vcpus == 1:
            return None
        log.warning("the guest's kernel panicked, it is started once more with a single vCPU: %s", panic)
        return replace(plan, panic=panic)

    def _start(self, plan: Plan) -> Plan:
        if self._hardware.firmware.efi and not (self._folder / EFI_VARIABLES).exists():
            shutil.copyfile(efi_files(self._hardware.firmware)[1], self._folder / EFI_VARIABLES)
        serial = self._folder / SERIAL_LOG
        serial.touch(mode=0o600)
        plan = replace(plan, serial_offset=serial.stat().st_size, started=time.time())
        write_json(self._folder / "plan.json", asdict(plan))
        # whoever knows the port of the run before need not learn another one
        port = plan.ssh_port if _is_free(plan.ssh_port) else 0
        launch = Launch(accelerator=plan.accelerator, single_vcpu=plan.panic is not None, ssh_port=port)
        with monitor.listen(self._folder) as sock:
            process.start(self._folder, command_line(self._hardware, launch, self._folder), sock)
        self._set(plan=plan)
        return plan

    async def _find_process(self) -> ProcessId:
        with FolderWatch(self._folder) as watch:
            async with asyncio.timeout(_RECORD_SECONDS):
                while (found := process.recorded(self._folder)) is None:
                    await watch.changed()
        return found

    async def _watch(self, running: ProcessId, plan: Plan) -> Result:
        """Wait for whatever ends this run first."""
        serial = SerialWatch(self._folder / SERIAL_LOG, plan.serial_offset)
        self._set(plan=plan)
        tasks = [
            asyncio.create_task(self._until_exit(running, plan), name="exit"),
            asyncio.create_task(self._until_final_state(plan), name="state"),
            asyncio.create_task(self._until_panic(serial), name="panic"),
            asyncio.create_task(self._until_stopped(), name="stop"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # in the order of the list: an exit says more than the broken connection it causes
            return next(task for task in tasks if task.done()).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _until_exit(self, running: ProcessId, plan: Plan) -> Result:
        code = await running.ended()
        known = self._recorded_result()
        if known:
            return known  # the guest was off before; QEMU did what it was told
        words = process.words_of(self._folder)
        killed = code in (-signal.SIGKILL, -signal.SIGTERM)
        fault = kvm_fault(words) if plan.accelerator == "kvm" and _is_young(plan) and not killed else None
        if fault:
            raise _KvmBroken(fault)
        return Result(clean=False, message=_describe_exit(code, words))

    async def _until_final_state(self, plan: Plan) -> Result:
        try:
            async with monitor.connected(self._folder) as self._qmp:
                self._connected.set()
                return await self._follow(self._qmp, plan)
        except monitor.MonitorLost as lost:
            # QEMU is about to end, which another task waits for; if it does not, it is deaf and of no use
            await asyncio.sleep(QUIT_SECONDS)
            return Result(clean=False, message=f"QEMU does not answer any more: {lost}")
        finally:
            self._qmp = None
            self._connected.clear()

    async def _follow(self, qmp: monitor.Monitor, plan: Plan) -> Result:
        state = await qmp.state()
        port = await qmp.ssh_port()
        if port and port != plan.ssh_port:
            plan = replace(plan, ssh_port=port)
            write_json(self._folder / "plan.json", asdict(plan))
        while True:
            if state == "shutdown":
                return await self._power_off(qmp)
            if state == "internal-error":
                words = process.words_of(self._folder)
                if plan.accelerator == "kvm" and _is_young(plan):
                    raise _KvmBroken(kvm_fault(words) or "KVM internal error")
                return Result(clean=False, message=f"QEMU stopped the guest after an internal error: {words}")
            if state == "io-error":
                return Result(clean=False, message=self._describe_io_error())
            if state == "guest-panicked":
                raise _Panicked("reported by the guest's panic device")
            if state == "running" and not (self.view.running and self.view.plan == plan):
                self._set(plan=plan, running=True)
            state = await qmp.next_state()

    async def _power_off(self, qmp: monitor.Monitor) -> Result:
        """The guest has powered itself off; that is written down before QEMU is let go, which cannot be asked again."""
        result = Result(clean=True, message="the guest powered itself off")
        write_json(self._folder / "result.json", asdict(result))
        with contextlib.suppress(monitor.QMPError, OSError):
            await qmp.quit()
        return result

    async def _until_panic(self, serial: SerialWatch) -> Result:
        line = await serial.panic()
        if serial.came_up:
            return Result(clean=False, message=f"the guest's kernel panicked: {line}")
        raise _Panicked(line)

    async def _until_stopped(self) -> Result:
        await self._stop_asked.wait()
        assert self._deadline is not None
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._deadline - began):
                while True:
                    await self._connected.wait()
                    await self._press_power_button()
                    await asyncio.sleep(BUTTON_SECONDS)
        seconds = round(time.monotonic() - began)
        return Result(clean=False, message=f"the guest did not power off within {seconds} s of being asked to")

    async def _press_power_button(self) -> None:
        with contextlib.suppress(monitor.QMPError):
            if self._qmp:
                await self._qmp.press_power_button()

    async def _finish(self, result: Result) -> Result:
        write_json(self._folder / "result.json", asdict(result))
        await self._let_go(result)
        if result.clean:
            disks = [drive.image.path for drive in self._hardware.drives if not drive.image.read_only]
            await asyncio.to_thread(_sync_all, disks)
        return result

    async def _let_go(self, result: Result) -> None:
        """End QEMU, and remove what it needed and nobody else should find: the disks with answer files and keys."""
        if result.clean:
            await self._quit()
        await self._kill()
        for path in self._folder.glob("*.iso"):
            path.unlink()

    async def _quit(self) -> None:
        """Let a QEMU whose guest is off end by itself, so that it writes all it holds."""
        running = process.recorded(self._folder)
        if running is None or not running.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIT_SECONDS):
                with contextlib.suppress(monitor.MonitorLost):
                    async with monitor.connected(self._folder) as qmp:
                        await qmp.quit()
                await running.ended()

    async def _kill(self) -> None:
        running = process.recorded(self._folder)
        if running:
            running.send_signal(signal.SIGKILL)
            await running.ended()
            process.forget(self._folder)

    def _describe_io_error(self) -> str:
        free = shutil.disk_usage(self._folder).free
        return (
            f"the host could not write to the machine's disk ({free} bytes are free in {self._folder.parent.parent}); "
            "make room there and start the build again"
        )

    def _recorded_plan(self) -> Plan | None:
        document: dict[str, Any] | None = read_json(self._folder / "plan.json")
        return Plan(**document) if document else None

    def _recorded_result(self) -> Result | None:
        document: dict[str, Any] | None = read_json(self._folder / "result.json")
        return Result(**document) if document else None

    def _set(self, **changes: Any) -> None:
        self.view = replace(self.view, **changes)
        self._on_change()


def _sync_all(paths: Sequence[Path]) -> None:
    for path in paths:
        sync_file(path)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_young(plan: Plan) -> bool:
    return time.time() - plan.started < KVM_TRIAL_SECONDS


def _describe_exit(code: int | None, words: str) -> str:
    if code is not None and code < 0:
        how = f"QEMU was killed by signal {-code} ({signal.Signals(-code).name})"
    elif code:
        how = f"QEMU ended with exit code {code}"
    else:
        how = "QEMU ended before the guest powered off"
    return f"{how}: {words}" if words else how
