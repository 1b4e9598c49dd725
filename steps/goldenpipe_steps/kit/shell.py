"""Builds POSIX shell text that is sent to the guest over stdin, so that nothing of it shows in a process list."""

from __future__ import annotations

import base64
import shlex
import textwrap

STATE = "/var/lib/goldenpipe"
"""The build's folder in the guest: markers of finished work and running jobs; sealing removes it."""
_MARK = "END_OF_GOLDENPIPE_DATA"


def quote(text: str) -> str:
    return shlex.quote(text)


def words(texts: list[str]) -> str:
    return " ".join(map(shlex.quote, texts))


def feed(command: str, data: bytes) -> str:
    """Shell text that gives the bytes to `command` on stdin, in base64, whatever they contain."""
    lines = textwrap.wrap(base64.b64encode(data).decode(), 4000)
    return "\n".join([f"{command} <<'{_MARK}'", *lines, _MARK, ""])


def write_file(path: str, data: bytes, mode: int) -> str:
    """Shell text that writes a file of the build's own (its folder exists)."""
    return feed(f"base64 -d >{quote(path)}", data) + f"chmod {mode:04o} {quote(path)}\n"


def mark_done(key: str) -> str:
    """Shell text that notes a finished unit, for a second run of the step to see."""
    return f"mkdir -p {STATE}/done && : >{STATE}/done/{quote(key)}\n"
