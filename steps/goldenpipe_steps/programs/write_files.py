"""Writes the request's files into the guest, each whole or not at all.

A file that exists keeps its owner and mode. A new one belongs to root and has mode 0644; 0755 if it begins with `#!`,
0600 in a `.ssh` folder. `mode` and `owner` of an entry win over all this.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import failure
from goldenpipe_steps.kit.inputs import InputFault, Params
from goldenpipe_steps.kit.log import size, some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import feed, quote
from goldenpipe_steps.kit.step import Step

_PUT = """\
place() {  # path, mode, owner, keep: the new content is on stdin
    path=$1
    doing=$1
    if [ -L "$path" ]; then
        path=$(readlink -f "$path") || { echo "it is a link that leads nowhere" >&2; return 1; }
    fi
    [ ! -d "$path" ] || { echo "there is a folder of that name" >&2; return 1; }
    [ -d "${path%/*}/" ] || mkdir -p "${path%/*}/" || return
    new=$path.goldenpipe-new
    if [ -e "$path" ] && [ "$4" = keep ]; then cp -p "$path" "$new" || return
    else rm -f "$new"; (umask 077; : >"$new") || return; fi
    base64 -d >"$new" || { rm -f "$new"; return 1; }
    if [ ! -e "$path" ] || [ "$4" != keep ]; then
        chown "$3" "$new" && chmod "$2" "$new" || { rm -f "$new"; return 1; }
    fi
    mv -f "$new" "$path"
    [ ! -x /sbin/restorecon ] || restorecon "$path"
}
trap '[ $? = 0 ] || echo "failed: $doing"' EXIT
set -e
"""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the request."""

    path: str
    content: bytes
    mode: str
    owner: str
    keep: bool


async def run(step: Step) -> Report:
    files = [_file(entry) for entry in step.params.items("files")]
    if not files:
        return step.done("There are no files to write", files=0)
    total = size(sum(len(file.content) for file in files))
    script = _PUT + "".join(map(_place, files))
    async with step.guest() as guest:
        step.progress(30, f"Writing {len(files)} files ({total})" if len(files) > 1 else f"Writing {files[0].path}")
        answer = await guest.sh(script)
        if answer.code:
            doing = f"writing {answer.out.partition('failed: ')[2].strip() or 'the files'}"
            raise failure(doing, answer)
    for file in files:
        step.say(f"{file.path}  {size(len(file.content))}")
    return step.done(f"Wrote {some([file.path for file in files])}", files=len(files))


def _file(entry: Params) -> File:
    path = entry.get("path", str)
    if not path.startswith("/") or path.endswith("/") or posixpath.normpath(path) != path or "\0" in path:
        message = f"{path!r} is no absolute path of a file"
        raise Permanent(message, hint="Give paths like /etc/motd: absolute, without `..` or a slash at the end.")
    content = entry.get("content", str).encode()
    mode = entry.get("mode", str, "")
    if mode and not (mode.isdigit() and set(mode) <= set("01234567") and 3 <= len(mode) <= 4):
        message = f"{entry.place}.mode is {mode!r}, not octal digits such as 0644"
        raise InputFault(message)
    owner = entry.get("owner", str, "")
    return File(
        path=path,
        content=content,
        mode=mode or _usual_mode(path, content),
        owner=owner or "root:root",
        keep=not (mode or owner),
    )


def _usual_mode(path: str, content: bytes) -> str:
    if posixpath.basename(posixpath.dirname(path)) == ".ssh":
        return "0600"
    return "0755" if content.startswith(b"#!") else "0644"


def _place(file: File) -> str:
    keep = "keep" if file.keep else "set"
    return feed(f"place {quote(file.path)} {file.mode} {quote(file.owner)} {keep}", file.content)
