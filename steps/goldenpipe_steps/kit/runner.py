"""Runs one step program from banner to exit code: signals, time limit, failures in words, termination message."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TextIO

from goldenpipe_steps.kit import report
from goldenpipe_steps.kit.errors import Permanent, StepError, Temporary
from goldenpipe_steps.kit.inputs import Input, read_input
from goldenpipe_steps.kit.log import Log, duration
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step

Program = Callable[[Step], Awaitable[Report]]

BUG = 1
"""The exit code of what no step does on purpose."""
SPARE_SECONDS = 3.0
"""A step ends this long before the Job's own limit, so that it can still say what it was doing."""


def run_step(name: str, program: Program, environ: Mapping[str, str], out: TextIO) -> int:
    """Run to the end and return the exit code; every way out leaves a termination message."""
    log = Log(out)
    try:
        step_input = read_input(Path(environ.get("GOLDENPIPE_INPUT", "/goldenpipe/step/input.json")))
        log.say(_banner(name, step_input))
        step = Step(input=step_input, log=log, environ=environ)
        done = asyncio.run(_run(program, step))
    except StepError as error:
        log.say(f"Failed after {log.elapsed}: {error.message}")
        if error.hint:
            log.say(f"What to do: {error.hint}")
        _leave(Report(message=error.message, hint=error.hint), environ, log)
        return error.exit_code
    except Exception as error:
        log.say(traceback.format_exc())
        message = f"the step program {name} has a bug: {type(error).__name__}: {error}"
        log.say(f"Failed after {log.elapsed}: {message}")
        hint = "Please report this with the step's log; it is not the fault of the request."
        _leave(Report(message=message, hint=hint), environ, log)
        return BUG
    log.say(f"[100%] {done.message}")
    log.say(f"Done in {log.elapsed}.")
    _leave(done, environ, log)
    return 0


async def _run(program: Program, step: Step) -> Report:
    task = asyncio.create_task(_within_time(program, step))
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        message = "the step was told to stop (SIGTERM) before it was done"
        raise Temporary(message, hint="Run again, it goes on where it was; a cancelled build needs nothing.") from None


async def _within_time(program: Program, step: Step) -> Report:
    limit = step.input.timeout_seconds
    timer = asyncio.timeout(max(limit - SPARE_SECONDS, limit * 0.8))
    try:
        async with timer:
            return await program(step)
    except TimeoutError:
        if not timer.expired():
            raise
        doing = f"; it was at: {step.log.doing}" if step.log.doing else ""
        message = f"the step did not finish within its time limit of {duration(limit)}{doing}"
        raise Permanent(message, hint="Raise the step's timeout in its template if the guest is merely slow.") from None


def _banner(name: str, given: Input) -> str:
    parts = [f"{name}: image {given.image}", f"build {given.build}"]
    if given.guest:
        parts.append(f"guest {given.guest.user}@{given.guest.host}:{given.guest.port}")
    return ", ".join(parts)


def _leave(message: Report, environ: Mapping[str, str], log: Log) -> None:
    place = environ.get("GOLDENPIPE_TERMINATION_LOG")
    with contextlib.ExitStack() as stack:
        stack.callback(log.out.flush)
        try:
            report.write(message, Path(place) if place else None)
        except OSError as error:
            log.say(f"The termination message could not be written to {place}: {error}")
