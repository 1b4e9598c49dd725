"""`doctor`: what this machine or cluster can and cannot do, each line with its remedy."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from goldenpipe.cli.app import Options, debug_option, output_option
from goldenpipe.cli.checks.finding import Finding, Level
from goldenpipe.cli.listen import listen_option
from goldenpipe.cli.output import print_json
from goldenpipe.cli.paths import data_dir as default_data_dir

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=default_data_dir, help="Where `serve` keeps its data."
)
@listen_option
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Look at this cluster instead of this machine.",
)
@output_option
@debug_option
@click.pass_obj
def doctor(_: Options, data_dir: Path, listen: tuple[str, int], kubeconfig: str | None, output: str) -> None:
    """Tell what this machine or cluster can and cannot do, and what to do about it.

    Exits 1 if something that GoldenPipe needs is missing.
    """
    findings = []
    for finding in _cluster(kubeconfig) if kubeconfig else _machine(data_dir, listen):
        findings.append(finding)
        if output == "table":
            _print(finding)
    if output == "json":
        print_json([dataclasses.asdict(finding) for finding in findings])
    if any(finding.level is Level.FAIL for finding in findings):
        click.get_current_context().exit(1)


def _cluster(kubeconfig: str) -> list[Finding]:
    from goldenpipe.cli.checks.cluster import check_cluster

    return asyncio.run(check_cluster(kubeconfig))


def _machine(data_dir: Path, listen: tuple[str, int]) -> Iterator[Finding]:
    from goldenpipe.cli.checks import machine
    from goldenpipe.cli.checks.kvm import check_kvm

    checks: list[Callable[[], list[Finding]]] = [
        machine.check_python,
        machine.check_programs,
        check_kvm,
        machine.check_uefi,
        machine.check_memory,
        functools.partial(machine.check_disk, data_dir),
        functools.partial(machine.check_port, *listen),
        machine.check_base_image,
        machine.check_mirror,
    ]
    with ThreadPoolExecutor() as pool:
        for findings in pool.map(lambda check: check(), checks):
            yield from findings


def _print(finding: Finding) -> None:
    mark = click.style(f"{finding.level:<4}", fg=_COLOURS[finding.level], bold=finding.level is not Level.OK)
    click.echo(f"{mark}  {finding.subject}: {finding.message}")
    if finding.remedy:
        click.echo(f"      {finding.remedy}")
