"""What stands in for Windows: the Debian guest with its real OpenSSH server and SFTP, whose login shell hands what it
is told to the test, which plays PowerShell.

Before it plays, it holds every call against what a real Windows would need: the command line word for word, a file that
Windows PowerShell 5.1 reads as UTF-8, and a text without a syntax error.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goldenpipe_steps.kit.windows import powershell
from goldenpipe_steps.kit.windows.powershell import RUN, STATE, source
from support.powershell import syntax_faults
from support.steps.guests import USER, Guest

_SHELL = """\
#!/bin/sh
case $2 in */sftp-server) exec $2;; esac
here=/run/share
call=$$-$(date +%N)
mkfifo -m 0600 "$here/$call.out" "$here/$call.err" "$here/$call.rc"
printf '%s' "$2" >"$here/$call.command"
echo "$call" >"$here/calls"
cat "$here/$call.err" >&2 &
cat "$here/$call.out"
read -r code <"$here/$call.rc"
wait
exit "$code"
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One PowerShell file that was run in the guest."""

    name: str
    given: dict[str, Any]


@dataclass
class Answer:
    """What PowerShell says to it."""

    out: bytes = b""
    err: bytes = b""
    code: int = 0

    def record(self, text: str) -> Answer:
        self.out += f"\x1e{text}\r\n".encode()
        return self


@dataclass
class Job:
    """A scheduled task: what it writes, and how it ends; None as long as it runs."""

    out: bytes = b""
    code: str | None = None
    boot: str = ""
    command: str = ""


@dataclass
class Windows(Guest):
    """A running guest. `plays` are the test's own answers by name; the rest answers as a Windows that works."""

    boot_moment: int = 1
    chocolatey: str = ""
    winget: str = ""
    done: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    plays: dict[str, Callable[[Call], Answer]] = field(default_factory=dict)
    ends: Callable[[str, str], Job] | None = None
    """What becomes of a task, by its key and its program's text."""
    faults: list[str] = field(default_factory=list)
    _serving: asyncio.Task[None] | None = None
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, name: str) -> list[Call]:
        """The calls of one of the kit's files so far."""
        return [call for call in self.calls if call.name == name]

    async def hears(self, name: str) -> Call:
        """Wait until one of the kit's files has been run."""
        async with asyncio.timeout(30):
            while not (found := self.of(name)):
                self._heard.clear()
                await self._heard.wait()
        return found[-1]

    @property
    def boot(self) -> str:
        return str(self.boot_moment)

    @property
    def share(self) -> Path:
        return self.here / "share"

    def _prepare(self) -> None:
        super()._prepare()
        self.share.mkdir()
        self.share.chmod(0o777)
        os.mkfifo(self.share / "calls")
        (self.share / "calls").chmod(0o666)
        shell = self.root / "usr/local/bin/powershell"
        shell.parent.mkdir(parents=True)
        shell.write_text(_SHELL)
        shell.chmod(0o755)
        lines = (self.base / "etc/passwd").read_text().splitlines()
        text = "".join(re.sub(rf"^({USER}:.*:)[^:]*$", r"\1/usr/local/bin/powershell", line) + "\n" for line in lines)
        (self.root / "etc/passwd").write_text(text)
        folder = self.root / "C:"
        folder.mkdir()
        os.chown(folder, 1000, 1000)

    async def start(self, *, sshd: bool = True) -> None:
        await super().start(sshd=sshd)
        self._serving = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        if self._serving:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        await super().stop()

    async def reboot(self) -> None:
        self.boot_moment += 1
        await super().reboot()

    async def _serve(self) -> None:
        async with _lines(self.share / "calls") as lines, asyncio.TaskGroup() as group:
            async for line in lines:
                group.create_task(self._answer(line))

    async def _answer(self, call: str) -> None:
        try:
            answer = self._play((self.share / f"{call}.command").read_text())
        except Exception as error:  # a fault of the call: the test looks at `faults`
            self.faults.append(repr(error))
            answer = Answer(err=repr(error).encode(), code=99)
        for name, data in (("out", answer.out), ("err", answer.err), ("rc", b"%d\n" % (answer.code & 255))):
            with contextlib.suppress(BrokenPipeError):
                await asyncio.to_thread((self.share / f"{call}.{name}").write_bytes, data)

    def _play(self, command: str) -> Answer:
        call = self._read(command)
        self.calls.append(call)
        self._heard.set()
        if call.name in self.plays:
            return self.plays[call.name](call)
        usual: Callable[[Call], Answer] | None = getattr(self, f"_{call.name}", None)
        return usual(call) if usual else Answer()

    def _read(self, command: str) -> Call:
        usual = re.escape(RUN.format(path=rf"{STATE}\run\NAME.ps1")).replace("NAME", "([0-9a-f]{32})")
        found = re.fullmatch(usual, command)
        assert found, f"no Windows would be told {command!r}"
        data = (self.root / f"C:/ProgramData/goldenpipe/run/{found[1]}.ps1").read_bytes()
        assert data.startswith(codecs.BOM_UTF8), "Windows PowerShell would read this in the system's own code page"
        assert data.count(b"\n") == data.count(b"\r\n"), "a line does not end as Windows' lines do"
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        assert not syntax_faults(text), syntax_faults(text)
        return call_of(text)

    def _look(self, _call: Call) -> Answer:
        facts = {
            "boot": self.boot,
            "caption": "Microsoft Windows Server 2022 Standard",
            "version": "10.0.20348",
            "chocolatey": self.chocolatey,
            "winget": self.winget,
            "done": sorted(self.done),
        }
        return Answer().record(json.dumps(facts))

    def _mark(self, call: Call) -> Answer:
        self.done.add(call.given["key"])
        self.jobs.pop(call.given["key"], None)
        return Answer()

    def _forget(self, call: Call) -> Answer:
        self.jobs.pop(call.given["key"], None)
        return Answer()

    def _follow(self, call: Call) -> Answer:
        key = call.given["key"]
        if key not in self.jobs:
            assert set(call.given["files"]) == {"command.ps1", "job.ps1", "run.cmd"}, "there is nothing to start"
            program = base64.b64decode(call.given["files"]["command.ps1"]).decode("utf-8-sig").replace("\r\n", "\n")
            job = self.ends(key, program) if self.ends else Job(code="0")
            self.jobs[key] = job
            job.command, job.boot = program, job.boot or self.boot
        job = self.jobs[key]
        answer = Answer(out=job.out[call.given["start"] :])
        past = job.boot != self.boot
        if job.code is not None:
            answer.out += b"\n\x1eexit " + (job.code.removesuffix(" stopping") if past else job.code).encode() + b"\n"
        elif past:
            answer.out += b"\n\x1eexit rebooted\n"
        return answer


def call_of(text: str) -> Call:
    """Which of the kit's files this is, and what it was given."""
    found = re.search(r"FromBase64String\('([A-Za-z0-9+/=]*)'\)", text)
    assert found
    rest = text[text.index(source("common")) + len(source("common")) :]
    folder = Path(powershell.__file__).parent
    name = next(path.stem for path in folder.glob("*.ps1") if path.read_text() == rest)
    return Call(name=name, given=json.loads(base64.b64decode(found[1])))


@contextlib.asynccontextmanager
async def _lines(fifo: Path) -> AsyncIterator[AsyncIterator[str]]:
    """The lines that anybody writes into the pipe, for as long as we hold it open."""
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)

    async def lines() -> AsyncIterator[str]:
        while line := await reader.readline():
            yield line.decode().strip()

    try:
        yield lines()
    finally:
        transport.close()
