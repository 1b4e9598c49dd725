"""The serial console of a machine as lines, from its beginning and as they come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from goldenpipe_kube import Kube, KubeError
from goldenpipe_steps.kit.cluster import CONSOLE

AGAIN_SECONDS = 2.0
"""Nothing tells when a log that has not begun, or whose stream broke, is there."""
SILENCE_SECONDS = 2.0
"""After so long without a byte, what has come of a line is a line."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>78DEHM])")
_LONGEST_LINE = 4096


async def console_lines(kube: Kube, vmi_uid: str) -> AsyncGenerator[str | None]:
    """Every line once, without what only moves the cursor; None whenever the log that is there was read to its end."""
    told = 0
    while True:
        at, rest = 0, ""
        with suppress(KubeError):
            for pod in await kube.list("Pod", labels=f"kubevirt.io/created-by={vmi_uid}"):
                stream = kube.logs(pod["metadata"]["name"], container=CONSOLE, follow=True)
                async for chunk in _with_silences(stream):
                    fresh = chunk[max(0, told - at) :]
                    at += len(chunk)
                    told = max(told, at)
                    *lines, rest = plain(rest + fresh.decode(errors="replace")).split("\n")
                    if not chunk:
                        lines, rest = [*lines, rest], ""  # a prompt ends in no line break
                    for line in lines:
                        if clean := line.strip():
                            yield clean[:_LONGEST_LINE]
        if clean := rest.strip():
            yield clean
        yield None
        await asyncio.sleep(AGAIN_SECONDS)


async def _with_silences(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The stream's chunks, and an empty one for every pause between them."""
    coming = asyncio.ensure_future(anext(stream, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=SILENCE_SECONDS)
            if not done:
                yield b""
                await asyncio.wait({coming})
            chunk = coming.result()
            if chunk is None:
                return
            yield chunk
            coming = asyncio.ensure_future(anext(stream, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def plain(text: str) -> str:
    """The text without escape sequences; what a carriage return begins anew is a line of its own."""
    text = _ESCAPES.sub("", text).replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or char.isprintable())
