"""`screenshot`: what the VM of an image shows, as a PNG file."""

from __future__ import annotations

from pathlib import Path

import click

from goldenpipe.cli.app import Options, client_command
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import size

_PNG = b"\x89PNG\r\n"


@click.command()
@click.argument("name")
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put the PNG; replaced if it exists.",
)
@client_command
def screenshot(options: Options, name: str, out: Path) -> None:
    """Save what an image's VM shows, as a PNG.

    Of a build that failed while its VM ran, what that showed last.
    """
    picture = options.client().screenshot(name)
    if not picture.startswith(_PNG):
        raise CliError(f"what the server sent as screenshot of {name} is no PNG; is the address right?")
    part = out.with_name(out.name + ".part")
    try:
        part.write_bytes(picture)
        part.rename(out)
    except OSError as error:
        raise CliError(f"cannot write {out}: {(error.strerror or str(error)).lower()}.") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{out}: {size(len(picture))}", err=True)
