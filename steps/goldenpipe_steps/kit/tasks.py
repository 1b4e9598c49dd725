"""Two things at the same time, where the end of one is the end of the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def first_of(work: Coroutine[Any, Any, A], alarm: Coroutine[Any, Any, NoReturn]) -> A:
    """The result of the work, unless the alarm is raised before."""
    async with _both_running(work, alarm) as (working, watching):
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else watching.result()


async def all_of(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of both; the first failure ends the other."""
    async with _both_running(first, second) as (one, other):
        await asyncio.wait({one, other}, return_when=asyncio.FIRST_EXCEPTION)
        for task in (one, other):
            if task.done():
                task.result()
        return one.result(), other.result()


@asynccontextmanager
async def _both_running(
    first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]
) -> AsyncIterator[tuple[asyncio.Task[A], asyncio.Task[B]]]:
    one, other = asyncio.create_task(first), asyncio.create_task(second)
    try:
        yield one, other
    finally:
        one.cancel()
        other.cancel()
        await asyncio.gather(one, other, return_exceptions=True)
