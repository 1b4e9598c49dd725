"""Tasks that must never end: if one does, that is said at once and the service stops."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


def guard(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run for ever; an end that nobody asked for stops the process, for a restart is better than a silent half."""

    async def guarded() -> None:
        try:
            await work
            log.critical("task %s ended, which it never should; stopping", name)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.critical("task %s failed; stopping", name, exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)

    return asyncio.create_task(guarded(), name=name)
