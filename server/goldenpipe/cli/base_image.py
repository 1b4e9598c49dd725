"""`base-image`: a bootable Debian cloud disk from the distribution's own packages."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import click

from goldenpipe.cli.app import Options, debug_option
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.progress import Display, View, display
from goldenpipe_local.base_image import DISTRIBUTIONS, BaseImageError, Distribution, build

T = TypeVar("T")
_LINE = re.compile(r"^\[\s*(\d{1,3})%\] (.*)$")


@click.command("base-image")
@click.argument("distribution", type=click.Choice(DISTRIBUTIONS))
@click.option(
    "--out", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Where to put it."
)
@debug_option
@click.pass_obj
def base_image(_: Options, distribution: Distribution, out: Path) -> None:
    """Make a bootable Debian cloud disk to build upon.

    Made from the distribution's own packages in two to three minutes; boots by BIOS and UEFI; holds cloud-init, an SSH
    server and the QEMU guest agent.
    """
    with display(sys.stderr) as shown:
        made(build(distribution, out, say=teller(distribution, shown)))
    click.echo(f"Use it in a request: base_iso_url: {out.absolute().as_uri()}", err=True)


def made(work: Coroutine[None, None, T]) -> T:
    """Runs the work; its own error becomes ours, which the command line prints."""
    try:
        return asyncio.run(work)
    except BaseImageError as error:
        raise CliError(str(error), hint="What this machine lacks: goldenpipe doctor") from error


def teller(title: str, shown: Display) -> Callable[[str], None]:
    """Takes lines such as `[ 42%] Installing packages` and shows one for each percent of them."""
    told: set[int] = set()

    def say(line: str) -> None:
        if (match := _LINE.match(line)) and (percent := int(match[1])) not in told:
            told.add(percent)
            shown.show(View(title=title, percent=percent, message=match[2]))

    return say
