"""The checksum of a base image, worked out by ourselves where CDI does not know the field `checksum` (before 1.65)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.errors import Permanent, Temporary
from goldenpipe_steps.kit.imports import Wanted, wrong_checksum
from goldenpipe_steps.kit.log import size
from goldenpipe_steps.kit.sources import PAUSES, Source, opened, read_head, redacted, source_of
from goldenpipe_steps.kit.step import Step

CHUNK_BYTES = 1 << 20
CHECKED_VERSION = "checked_version"
"""The fact by which download_iso tells create_vm what it checked, where the import comes only then."""


def is_left_to_us(wanted: Wanted, volume: Object) -> bool:
    """Whether the API server has dropped the checksum from the DataVolume, as it does with fields that CDI lacks."""
    http = (volume["spec"].get("source") or {}).get("http")
    return bool(wanted.checksum) and http is not None and not http.get("checksum")


async def verify(step: Step, wanted: Wanted, volume: Object) -> Source:
    """Read the whole file once more and compare; what its server says of it, to see later whether it has changed."""
    first = await read_head(wanted.url, step.log)
    much = f" of {size(first.total)}" if first.total else ""
    step.say(f"This cluster's CDI does not check checksums (1.65 does): checking it here, by a second download{much}")
    _unchanged_since(wanted, first, volume)
    algorithm, _, expected = wanted.checksum.partition(":")
    source, found = await _hashed(step, wanted.url, algorithm)
    if found != expected.lower():
        raise wrong_checksum(wanted.url, f"expected {wanted.checksum}, got {algorithm}:{found}")
    same_version(wanted, first.version, source.version)
    step.say(f"The checksum is right: {wanted.checksum}")
    if not source.version.rpartition(" ")[0]:
        step.say("Warning: the server tells neither ETag nor Last-Modified: a change of the same size goes unnoticed")
    return source


def same_version(wanted: Wanted, before: str, after: str) -> None:
    """Two looks at one file; what was checked must be what was downloaded."""
    if before != after:
        raise _changed(wanted, f"{before or 'unknown'}, then {after or 'unknown'}")


def _unchanged_since(wanted: Wanted, source: Source, volume: Object) -> None:
    """A later attempt of the step must not check a newer file than the one that an earlier one has downloaded."""
    began = datetime.fromisoformat(volume["metadata"]["creationTimestamp"]).timestamp()
    if source.changed_at is not None and source.changed_at > began:
        raise _changed(wanted, "its server says that it is newer than the disk")


def _changed(wanted: Wanted, how: str) -> Permanent:
    message = f"{redacted(wanted.url)} changed while it was downloaded ({how}), so its checksum proves nothing"
    return Permanent(message, hint="Build again; an address with a version in it does not change.")


async def _hashed(step: Step, url: str, algorithm: str) -> tuple[Source, str]:
    """A download that breaks off begins again: what was hashed cannot be taken up."""
    for pause in (*PAUSES, None):
        try:
            return await (_hash_file(step, url, algorithm) if url.startswith("file:") else _hash(url, algorithm))
        except Temporary as error:
            if pause is None:
                raise
            step.say(f"{error.message}; checking again in {pause:.0f} s")
            await asyncio.sleep(pause)
    message = "unreachable"
    raise AssertionError(message)


async def _hash(url: str, algorithm: str) -> tuple[Source, str]:
    digest = hashlib.new(algorithm)
    async with opened(url) as answer:
        async for chunk in _chunks(answer.content.iter_chunked(CHUNK_BYTES)):
            # hashlib lets other threads run meanwhile, and the import is followed by the loop
            await asyncio.to_thread(digest.update, chunk)
        return source_of(answer), digest.hexdigest()


async def _chunks(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Fewer and larger ones: each costs a change of threads."""
    gathered = bytearray()
    async for part in parts:
        gathered += part
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def _hash_file(step: Step, url: str, algorithm: str) -> tuple[Source, str]:
    def work() -> str:
        with Path(unquote(urlsplit(url).path)).open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    found = await asyncio.to_thread(work)
    return await read_head(url, step.log), found
