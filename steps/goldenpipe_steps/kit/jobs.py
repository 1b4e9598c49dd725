"""Long work in the guest: started once, detached from the connection, followed by reading its output file.

A job is a folder under the build's state folder. `started` is made by `ln`, so that only one start wins; `rc` appears
when the job has ended. Lines of the output that begin with the ASCII record separator are messages for the step.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass

import asyncssh

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Guest
from goldenpipe_steps.kit.shell import STATE, quote, write_file
from goldenpipe_steps.kit.ssh import GuestLost

SILENCE_SECONDS = 60.0
"""After so long without output the job is asked after: its shell may have been killed, and then nothing more comes."""
LONGEST_LINE = 8192
RECORD = b"\x1e"
_CLOSED = "the connection closed"

_WRAPPER = """\
cd {folder} || exit
echo $$ >pid
(cd work && exec env -i {environ} ../command) >>out 2>&1 </dev/null
code=$?
if [ -d /run/systemd/system ] && [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then
    [ $code != 0 ] || echo '0 stopping' >rc
    [ $code = 0 ] || exit
else
    echo $code >rc.new
    mv rc.new rc
fi
read -r code <rc
printf '\\n\\036exit %s\\n' "$code" >>out
"""
"""A job that fails while the guest goes down was killed by that: it leaves no exit code and counts as interrupted."""

_FOLLOW = """\
cd {folder} || exit 3
read -r boot </proc/sys/kernel/random/boot_id
echo "$boot" >claim.$$
state=running
if ln claim.$$ started 2>/dev/null; then
    setsid sh wrapper >/dev/null 2>&1 </dev/null &
elif [ ! -e rc ]; then
    read -r then <started
    tries=0
    while [ ! -s pid ] && [ "$then" = "$boot" ] && [ $tries -lt 20 ]; do sleep 0.25; tries=$((tries+1)); done
    pid=
    [ ! -s pid ] || read -r pid <pid
    if [ "$then" != "$boot" ]; then state=rebooted
    elif [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then state=killed; fi
fi
rm -f claim.$$
[ ! -e rc ] || state=ended
echo "$state"
: >>out
if [ $state = running ]; then
    tail -c +{start} -f out &
    read -r hangup
    kill $!
    exit 0
fi
tail -c +{start} out
if [ $state = ended ]; then read -r code <rc; else code=$state; fi
printf '\\n\\036exit %s\\n' "$code"
"""
_CHECK = """\
cd {folder} || exit 0
[ ! -s pid ] || read -r pid <pid
if [ -e rc ] || kill -0 "$pid" 2>/dev/null; then echo alive; else echo dead; fi
"""


class End(enum.Enum):
    """How a job ended."""

    EXITED = "exited"
    STOPPING = "exited while the guest was going down"
    REBOOTED = "interrupted by a reboot"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a job; `code` means something only if it exited by itself."""

    end: End
    code: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A program for the guest, with the environment it gets and nothing else."""

    key: str
    program: bytes
    environ: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> str:
        return f"{STATE}/jobs/{self.key}"

    def install(self) -> str:
        """Shell text that puts the job into the guest, unless it is there."""
        wrapper = _WRAPPER.format(folder=self.folder, environ=_environ(self.environ))
        return (
            f"if [ ! -e {self.folder}/ready ]; then\n"
            f"mkdir -p -m 0700 {self.folder}/work\n"
            f"{write_file(f'{self.folder}/command', self.program, 0o700)}"
            f"{write_file(f'{self.folder}/wrapper', wrapper.encode(), 0o600)}"
            f": >{self.folder}/ready\nfi || exit\n"
        )

    def forget(self) -> str:
        """Shell text that removes every trace, so that the job can be installed and run afresh."""
        return f"rm -rf {self.folder}\n"


async def run_job(
    guest: Guest, job: Job, on_line: Callable[[str], None], *, reboot_seconds: float, on_record: Callable[[str], None]
) -> Ended:
    """Start the job or go on with it, and follow it to its end, over lost connections and reboots."""
    reader = Reader(on_line, on_record)
    while True:
        try:
            return await _follow(guest, job, reader)
        except GuestLost:
            reader.drop_partial()
        try:
            await guest.reconnect(reboot_seconds)
        except GuestLost as error:
            message = f"the guest went away and did not come back: {error.message}"
            hint = "Did something in the guest power it off or break its network? Its console log may tell."
            raise Permanent(message, hint=hint) from error


async def _follow(guest: Guest, job: Job, reader: Reader) -> Ended:
    process = await guest.open(_FOLLOW.format(folder=quote(job.folder), start=reader.offset + 1))
    try:
        state = (await process.stdout.readline()).strip().decode(errors="replace")
        if not state:
            words = (await process.stderr.read()).decode(errors="replace").strip()
            if process.exit_status:
                message = f"the job {job.key} is not in the guest any more: {words}"
                raise Permanent(message)
            raise GuestLost(words or _CLOSED)
        while reader.ended is None:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    data = await process.stdout.read(65536)
            except TimeoutError:
                await _ask_after(guest, job)
                continue
            if not data:
                raise GuestLost(_CLOSED)
            reader.feed(data)
        return reader.ended
    except (OSError, asyncssh.Error) as error:
        raise GuestLost(str(error)) from error
    finally:
        process.stdin.write_eof()
        process.close()


async def _ask_after(guest: Guest, job: Job) -> None:
    answer = await guest.sh(_CHECK.format(folder=quote(job.folder)))
    if answer.out.strip() == "dead":
        message = "the job's shell is gone"
        raise GuestLost(message)


class Reader:
    """Cuts the output into lines and records, and knows how far it got."""

    def __init__(self, on_line: Callable[[str], None], on_record: Callable[[str], None]) -> None:
        self._on_line, self._on_record = on_line, on_record
        self._buffer = bytearray()
        self._blank = False
        self.offset = 0
        self.ended: Ended | None = None

    def drop_partial(self) -> None:
        """The rest of a broken line is read again with the line."""
        self._buffer.clear()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self.ended is None and (end := self._buffer.find(b"\n") + 1):
            self._take(bytes(self._buffer[:end]))
            del self._buffer[:end]
        if len(self._buffer) > LONGEST_LINE:
            self._take(bytes(self._buffer))
            self._buffer.clear()

    def _take(self, raw: bytes) -> None:
        self.offset += len(raw)
        line = raw.rstrip(b"\r\n").rsplit(b"\r", 1)[-1]
        if line.startswith(RECORD):
            self._blank = False
            self._record(line[1:].decode(errors="replace"))
            return
        if self._blank:
            self._on_line("")
        self._blank = not line
        if line:
            self._on_line(line.decode(errors="replace"))

    def _record(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word != "exit":
            self._on_record(text)
        elif rest in ("rebooted", "killed"):
            self.ended = Ended(end=End[rest.upper()])
        else:
            code, _, stopping = rest.partition(" ")
            self.ended = Ended(end=End.STOPPING if stopping else End.EXITED, code=int(code))


def _environ(values: tuple[tuple[str, str], ...]) -> str:
    base = (
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("LANG", "C.UTF-8"),
    )
    return " ".join(f"{key}={quote(value)}" for key, value in (*base, *values))
