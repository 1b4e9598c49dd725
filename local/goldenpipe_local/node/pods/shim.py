"""The process between the node agent and one container, as containerd-shim is: it outlives the agent.

Runs as `python -I -S shim.py FOLDER` and imports little, so that it starts within some 20 ms. FOLDER holds
`container.json` (argv, env, cwd; deleted when read, as env may hold secrets). The shim writes `process.json` before the
command runs, `container.log` line by line with times, and `exit.json` at the end. File descriptor 3 is closed once the
command runs or cannot.
"""

# ruff: noqa: PTH104, PTH108, PTH110, PTH123, SIM105  (pathlib and contextlib would double the start time)

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_LINE = 16384
"""Bytes; a longer line is written in parts, as the container runtimes do."""


def main(folder: str) -> None:
    os.chdir(folder)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another shim runs this container
    if os.path.exists("process.json"):
        return  # it has run; a container never runs twice
    with open("container.json") as file:
        plan = json.load(file)
    os.unlink("container.json")
    kills = out_of_memory_kills()
    started = now()
    pid, output, failure = start(plan, started)
    release(3)
    code = 128 if failure else copy_until_end(pid, output)
    report = {"exitCode": code, "startedAt": started, "finishedAt": now()}
    if failure:
        report.update(reason="StartError", message=failure)
    elif code == 137 and out_of_memory_kills() > kills:
        report.update(reason="OOMKilled")
    write("exit.json", report)


def start(plan: dict[str, Any], started: str) -> tuple[int, int, str]:
    """Start the command, but let it run only once its pid is on disk."""
    output, child_output = os.pipe()
    go, child_go = os.pipe()[::-1]
    failed, child_failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        run_command(plan, child_output, child_go, child_failed)
    for descriptor in (child_output, child_go, child_failed):
        os.close(descriptor)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # the child was faster
    write("process.json", {"shim": identity(os.getpid()), "container": identity(pid), "startedAt": started})
    os.write(go, b"g")
    os.close(go)
    failure = os.read(failed, 4096).decode()
    if failure:
        os.waitpid(pid, 0)
    return pid, output, failure


def run_command(plan: dict[str, Any], output: int, go: int, failed: int) -> None:
    try:
        os.setpgid(0, 0)
        os.read(go, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
        release(3)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(plan["cwd"])
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        os.write(failed, explain(plan, error).encode()[:4096])
    finally:
        os._exit(128)


def explain(plan: dict[str, Any], error: OSError) -> str:
    command = plan["argv"][0]
    if error.filename == plan["cwd"]:
        words = f"chdir to cwd ({plan['cwd']}): {error.strerror}"
    elif error.errno == errno.ENOENT and "/" not in command:
        words = f'exec: "{command}": executable file not found in $PATH'
    else:
        words = f'exec: "{command}": {error.strerror}'
    return "unable to start container process: " + words


def copy_until_end(pid: int, output: int) -> int:
    """Copy what the command writes into the log until it ends; its children end with it, as in a container."""
    log = os.open("container.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    ended = os.pidfd_open(pid)
    os.set_blocking(output, False)
    watch = select.poll()
    watch.register(ended, select.POLLIN)
    watch.register(output, select.POLLIN)
    rest, running = b"", True
    while running:
        events = dict(watch.poll())
        if output in events:
            rest, open_ = drain(output, log, rest)
            if not open_:
                watch.unregister(output)
        running = ended not in events
    end_group(pid)
    rest, _ = drain(output, log, rest)
    if rest:
        write_lines(log, [(b"F", rest)])
    status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def drain(output: int, log: int, rest: bytes) -> tuple[bytes, bool]:
    while True:
        try:
            data = os.read(output, 65536)
        except BlockingIOError:
            return rest, True
        if not data:
            return rest, False
        *lines, rest = (rest + data).split(b"\n")
        parts = [part for line in lines for part in split_line(line)]
        while len(rest) > LONGEST_LINE:
            parts.append((b"P", rest[:LONGEST_LINE]))
            rest = rest[LONGEST_LINE:]
        write_lines(log, parts)


def split_line(line: bytes) -> list[tuple[bytes, bytes]]:
    parts = []
    while len(line) > LONGEST_LINE:
        parts.append((b"P", line[:LONGEST_LINE]))
        line = line[LONGEST_LINE:]
    return [*parts, (b"F", line)]


def write_lines(log: int, parts: list[tuple[bytes, bytes]]) -> None:
    stamp = now().encode()
    data = b"".join(b"%s stdout %s %s\n" % (stamp, tag, text) for tag, text in parts)
    while data:
        try:
            data = data[os.write(log, data) :]
        except OSError:
            return  # a full disk must not stop the step; its log has a hole then


def end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def identity(pid: int) -> dict[str, Any]:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return {"pid": pid, "start": int(fields[19])}


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since boot."""
    with open("/proc/vmstat") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))


def now() -> str:
    moment = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10**9)) + f".{moment % 10**9:09d}Z"


def write(name: str, document: dict[str, Any]) -> None:
    with open("." + name, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename("." + name, name)


def release(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass


if __name__ == "__main__":
    main(sys.argv[1])
