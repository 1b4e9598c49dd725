"""`lint`: checks templates, built-in and laid over them, and names the file and line of each fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from goldenpipe.cli.app import Options, debug_option, output_option
from goldenpipe.cli.output import count, print_json


@click.command()
@click.argument("folders", nargs=-1, metavar="[DIR]...", type=click.Path(exists=True, file_okay=False, path_type=Path))
@output_option
@debug_option
@click.pass_obj
def lint(_: Options, folders: tuple[Path, ...], output: str) -> None:
    """Check templates before they are used: the built-in ones with each DIR laid over them.

    Exits 1 if there is a fault.
    """
    from goldenpipe.lint import lint as find_faults

    findings = find_faults(folder.absolute() for folder in folders)
    if output == "json":
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
            click.echo(f"{place}: {finding.message}")
        click.echo(f"{count(len(findings), 'fault')}." if findings else "No faults.", err=True)
    if findings:
        click.get_current_context().exit(1)
