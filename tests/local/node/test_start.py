"""The start of a node agent on an API that is not as it ought to be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from goldenpipe_local.api.resources import BY_KEY
from goldenpipe_local.node import NodeAgent, reconciling
from goldenpipe_local.node.reconciling import KindMissing

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]
EXPORTS = "virtualmachineexports.export.kubevirt.io"


async def test_a_kind_that_the_api_does_not_know_is_named_and_does_not_hang_the_node(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(BY_KEY, EXPORTS)
    monkeypatch.setattr(reconciling, "MISSING_SECONDS", 0.5)
    with caplog.at_level(logging.WARNING), pytest.raises(KindMissing) as caught:
        async with asyncio.timeout(20), start_agent():
            pass
    assert "does not serve virtualmachineexports (export.kubevirt.io/v1beta1)" in str(caught.value)
    assert "VirtualMachineExport cannot be listed" in caplog.text


async def test_a_kind_that_the_api_learns_a_moment_later_is_waited_for(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = BY_KEY[EXPORTS]
    monkeypatch.delitem(BY_KEY, EXPORTS)

    class WhenTold(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "VirtualMachineExport cannot be listed" in record.getMessage():
                monkeypatch.setitem(BY_KEY, EXPORTS, served)

    caplog.set_level(logging.WARNING)
    log = logging.getLogger(reconciling.__name__)
    handler = WhenTold()
    log.addHandler(handler)
    try:
        async with asyncio.timeout(20), start_agent():
            pass
    finally:
        log.removeHandler(handler)
    assert "VirtualMachineExport cannot be listed" in caplog.text
